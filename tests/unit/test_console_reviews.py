"""What the page for reviewers keeps: keys that do one thing each, and how many answers were given."""

from datetime import timedelta
from typing import Any

import pytest
from console_desk import MORNING, Console
from hypothesis import given
from hypothesis import strategies as st

from neverblink.console.access.roles import Role
from neverblink.console.pages.parts import told_to
from neverblink.console.reviews.asked import AskedError, answer_of, before_of
from neverblink.console.reviews.bench import groups_of
from neverblink.console.reviews.given import Given
from neverblink.console.reviews.keys import FIRST, KeysError, checked
from neverblink.console.visitors import Form
from neverblink.events import Judgement, Review
from neverblink.records.questions.part_story import ReviewOf
from neverblink.records.questions.review_queue import WaitingCount
from neverblink.records.review_severity import Severity

pytestmark = pytest.mark.usefixtures("quick_hashing")


def form(**fields: str) -> Form:
    return Form(tuple({"verdict": "v-1", **fields}.items()))


def said(verdict: str, minute: float = 0, *, withdrawn: bool = False, reviewer: str = "ann") -> Review:
    fields: dict[str, Any] = {
        "id": f"{verdict}-{minute}", "verdict": verdict, "frame_id": "f", "line": "l", "station": "s", "product": "p",
        "part": "1", "judgement": "inconclusive" if withdrawn else "normal", "reviewer": reviewer,
        "at": MORNING + timedelta(minutes=minute), "withdrawn": withdrawn,
    }  # fmt: skip
    return Review.model_validate(fields)


def test_the_first_keys_do_one_thing_each_and_all_lie_on_the_numeric_pad() -> None:
    assert checked(FIRST) == FIRST
    assert {keys[0] for keys in FIRST.values()} == {*"0123456789.+-", "Enter"}


@pytest.mark.parametrize(
    ("action", "keys", "why"),
    [
        ("normal", ["3"], "would do two things"),
        ("normal", [""], "every action needs a key"),
        ("normal", ["a", "b", "e"], "two keys at most"),
        ("normal", ["Tab"], "cannot be a key"),
        ("normal", ["<script>"], "cannot be a key"),
        ("normal", ["X" * 40], "cannot be a key"),
    ],
)
def test_keys_that_would_not_do_are_refused(action: str, keys: list[str], why: str) -> None:
    with pytest.raises(KeysError, match=why):
        checked({**FIRST, action: keys})


@given(st.dictionaries(st.sampled_from(sorted(FIRST)), st.lists(st.text(max_size=6), max_size=3)))
def test_whatever_keys_are_chosen_no_key_does_two_things(chosen: dict[str, list[str]]) -> None:
    try:
        found = checked({**FIRST, **chosen})
    except KeysError:
        return
    every = [key for own in found.values() for key in own]
    assert len(every) == len(set(every))
    assert found.keys() == FIRST.keys()
    assert checked({action: " ".join(own).split(" ") for action, own in found.items()}) == found, "as they are kept"


async def test_an_account_has_its_own_keys_and_may_go_back_to_the_first(console: Console) -> None:
    console.account("ann", Role.REVIEWER)
    console.account("bob", Role.REVIEWER)
    ann, bob = console.browser(), console.browser()
    await ann.sign_in("ann")
    await bob.sign_in("bob")
    fields = {f"key:{action}": keys[0] for action, keys in FIRST.items()}

    await ann.get("/review/keys")
    assert (await ann.post("/review/keys", {**fields, "key:normal": "3"})).status_code == 422
    assert "would do two things" in ann.seen
    assert (await ann.post("/review/keys", {**fields, "key:normal": "F"})).status_code == 303
    assert '"normal": ["f"]' in (await ann.get("/review")).text
    assert '"normal": ["1", "g"]' in (await bob.get("/review")).text

    await ann.get("/review/keys")
    assert (await ann.post("/review/keys", {"first": "1"})).status_code == 303
    assert '"normal": ["1", "g"]' in (await ann.get("/review")).text


def test_answers_are_counted_once_a_part_and_not_when_taken_back() -> None:
    given = Given()
    for review in (said("a"), said("b"), said("a", 1), said("c"), said("c", 2, withdrawn=True), said("x", -5)):
        given.note(review)
    given.note(said("y", reviewer="bob"))
    assert given.count("ann", MORNING, {}) == 2
    assert given.count("ann", MORNING, {"a": False, "c": True, "d": True}) == 3, "what was said last holds"
    assert given.count("bob", MORNING, {}) == 1


def test_holdouts_and_what_else_passed_wait_in_one_group_and_nothing_says_which_is_which() -> None:
    counts = [WaitingCount(severity, 1, severity is Severity.HOLDOUT) for severity in Severity]
    assert [(one.word, one.count, one.more) for one in groups_of(counts)] == [
        ("challenge-miss", 1, False), ("reject", 1, False), ("unscored", 1, False), ("look", 4, True),
    ]  # fmt: skip


def test_an_answer_has_its_regions_type_and_comment() -> None:
    answer = answer_of(form(judgement="defect", regions="1,2,3,4;5,6,7,8", type="scratch", comment=" a hair "))
    assert (answer.judgement, answer.defect_type, answer.comment) == (Judgement.DEFECT, "scratch", "a hair")
    assert [(box.x, box.height) for box in answer.regions] == [(1, 4), (5, 8)]
    assert answer_of(form(judgement="defect", type="scratch", other="burr")).defect_type == "burr"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"judgement": "normal", "regions": "1,2,3,4"}, "of a defect alone"),
        ({"judgement": "normal", "type": "scratch"}, "of a defect alone"),
        ({"judgement": "perhaps"}, "cannot be read"),
        ({"judgement": "defect", "regions": "1,2"}, "cannot be read"),
        ({"judgement": "defect", "regions": ";".join(["1,2,3,4"] * 65)}, "64 regions are the most"),
        ({"judgement": "normal", "verdict": "../x"}, "take a part first"),
    ],
)
def test_an_answer_that_contradicts_itself_is_refused_in_words(fields: dict[str, str], why: str) -> None:
    with pytest.raises(AskedError, match=why):
        answer_of(form(**fields))


def test_what_a_page_says_it_has_done_is_read_with_care() -> None:
    assert before_of(form(done="a b", passed="")).done == ("a", "b")
    with pytest.raises(AskedError):
        before_of(form(done="a <b>"))


async def test_without_records_the_page_says_so_and_shows_what_it_can(console: Console) -> None:
    console.account("ann", Role.REVIEWER)
    ann = console.browser()
    await ann.sign_in("ann")
    shown = await ann.get("/review")
    assert shown.status_code == 200
    assert "The records cannot be read now" in shown.text
    taken = await ann.post("/review/take")
    assert taken.status_code == 503
    assert "no answer was sent" in taken.text
    wrong = await ann.get("/review?line=nowhere")
    assert wrong.status_code == 422
    assert "there is no line nowhere" in wrong.text


def answered(verdict: str, reviewer: str, look: str | None) -> ReviewOf:
    return ReviewOf(
        f"{verdict}-{reviewer}",
        verdict,
        "top",
        "normal",
        None,
        reviewer,
        "only dust",
        MORNING,
        withdrawn=False,
        round=look,
    )


def test_a_parts_page_tells_nobody_of_an_answer_for_which_a_second_is_waited() -> None:
    single, first = answered("v-1", "ann", None), answered("v-2", "ann", "first")
    assert told_to("ann", [single, first]) == (single, first)
    assert told_to("bob", [single, first]) == (single,)
    second = answered("v-2", "bob", "second")
    assert told_to("eve", [single, first, second]) == (single, first, second)
