"""What all answers about a verdict come to, who holds it meanwhile, and which verdicts wait for a person."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.events import Decision
from neverblink.plant import Reviewer, Reviewing, SecondLook
from neverblink.records.claims import LONGEST, ClaimFacts, holders
from neverblink.records.review_severity import Severity, VerdictFacts, severity_of
from neverblink.records.review_state import (
    ReviewFacts,
    ReviewState,
    counting,
    judgement_of,
    round_of,
    shown_to,
    standing_of,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def answer(
    reviewer: str,
    judgement: str,
    minute: float = 0,
    look: str | None = None,
    *,
    back: bool = False,
    counted: bool = True,
) -> ReviewFacts:
    at = NOON + timedelta(minutes=minute)
    said = "inconclusive" if back else judgement
    return ReviewFacts(f"{reviewer}@{minute}", reviewer, said, at, withdrawn=back, round=look, counted=counted)


ANSWERS = st.lists(
    st.builds(
        answer,
        st.sampled_from("abc"),
        st.sampled_from(["normal", "defect", "inconclusive"]),
        st.integers(0, 30),
        st.sampled_from([None, "first", "second", "final", "a later word"]),
        back=st.booleans(),
        counted=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)


@given(ANSWERS, st.booleans(), st.randoms(use_true_random=False))
def test_what_answers_come_to_does_not_depend_on_how_they_arrive(
    answers: list[ReviewFacts], second: bool, random: object
) -> None:
    shuffled = [*answers, *answers]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert standing_of(shuffled, second) == standing_of(answers, second)


@given(ANSWERS, st.booleans())
def test_what_does_not_count_changes_nothing(answers: list[ReviewFacts], second: bool) -> None:
    listed = [one for one in answers if one.counted]
    assert standing_of(answers, second) == standing_of(listed, second)


@given(ANSWERS, st.booleans())
def test_taking_everything_back_leaves_the_verdict_open(answers: list[ReviewFacts], second: bool) -> None:
    undone = [answer(one.reviewer, "", 60, back=True) for one in answers]
    standing = standing_of([*answers, *{one.id: one for one in undone}.values()], second)
    assert (standing.state, standing.judgement, standing.wants) == (ReviewState.OPEN, None, "first")


@given(ANSWERS)
def test_where_a_second_is_wanted_one_voice_alone_never_holds(answers: list[ReviewFacts]) -> None:
    standing = standing_of(answers, second_wanted=True)
    if standing.judgement not in (None, "disputed"):
        said = Counter(one.judgement for one in standing.answers)
        settled = standing.state is ReviewState.SETTLED
        assert said[standing.judgement] >= 2 or (settled and len(standing.answers) >= 3)


@given(ANSWERS, st.booleans())
def test_nothing_is_told_of_an_answer_while_a_second_one_is_waited_for(
    answers: list[ReviewFacts], second: bool
) -> None:
    standing = standing_of(answers, second)
    if standing.wants == "second":
        (only,) = standing.answers
        assert standing.judgement is None
        assert shown_to("somebody else", standing) == shown_to(None, standing) == ()
        assert shown_to(only.reviewer, standing) == (only,)


@given(ANSWERS, st.booleans())
def test_an_answer_in_the_round_that_is_asked_for_brings_the_verdict_on(
    answers: list[ReviewFacts], second: bool
) -> None:
    before = standing_of(answers, second)
    look = round_of("a new one", answers, second)
    after = standing_of([*answers, answer("a new one", "defect", 60, look)], second)
    if before.wants == "final":
        assert (after.state, after.judgement) == (ReviewState.SETTLED, "defect")
    elif before.wants == "second":
        assert after.state in (ReviewState.AGREED, ReviewState.DISPUTED)
    elif before.wants == "first":
        assert after.state is (ReviewState.NEEDS_SECOND if second else ReviewState.ANSWERED)


def test_without_a_second_the_latest_answer_holds_whosever_it_is() -> None:
    said = [answer("a", "defect", 1), answer("b", "normal", 2)]
    assert judgement_of(said) == "normal"
    assert judgement_of([*said, answer("a", "inconclusive", 3)]) == "inconclusive"
    assert judgement_of([*said, answer("b", "", 3, back=True)]) == "defect"


def test_two_who_disagree_are_kept_until_a_third_settles_it() -> None:
    said = [answer("a", "defect", 1, "first"), answer("b", "normal", 2, "second")]
    for order in permutations(said):
        assert standing_of(order).state is ReviewState.DISPUTED
        assert judgement_of(order) == "disputed"
    assert round_of("c", said, second_wanted=True) == "final"
    settled = standing_of([*said, answer("c", "normal", 3, "final")])
    assert (settled.state, settled.judgement) == (ReviewState.SETTLED, "normal")
    assert [one.reviewer for one in settled.answers] == ["a", "b", "c"]


def test_who_has_judged_already_cannot_settle_a_dispute() -> None:
    said = [answer("a", "defect", 1, "first"), answer("b", "normal", 2, "second")]
    assert round_of("a", said, second_wanted=True) == "first"
    assert standing_of([*said, answer("a", "normal", 3, "final")]).state is ReviewState.AGREED
    assert standing_of([*said, answer("a", "defect", 3, "final")]).state is ReviewState.DISPUTED


def test_a_second_answer_of_one_person_is_no_second_reviewer() -> None:
    said = [answer("a", "defect", 1, "first"), answer("a", "normal", 2, "second")]
    assert standing_of(said).state is ReviewState.NEEDS_SECOND
    assert [one.judgement for one in counting(said)] == ["normal"]


# Claims


def claim(reviewer: str, minute: float, minutes: float = 15, *, back: bool = False, verdict: str = "v") -> ClaimFacts:
    at = NOON + timedelta(minutes=minute)
    return ClaimFacts(f"{reviewer}@{minute}", verdict, reviewer, at, at + timedelta(minutes=minutes), released=back)


def holder(*claims: ClaimFacts, at: float) -> str | None:
    held = holders(claims, NOON + timedelta(minutes=at)).get("v")
    return None if held is None else held.reviewer


def test_the_first_of_two_claims_in_their_partition_stands_whatever_their_clocks_say() -> None:
    assert holder(claim("a", 0.02), claim("b", 0.01), at=1) == "a"
    assert holder(claim("b", 0.01), claim("a", 0.02), at=1) == "b"


def test_a_claim_that_lost_does_not_come_to_life_when_the_winner_ends() -> None:
    assert holder(claim("a", 0), claim("b", 10), at=16) is None
    assert holder(claim("a", 0), claim("b", 10), claim("b", 16), at=17) == "b"


def test_a_claim_ends_by_itself_and_by_its_holders_word_alone() -> None:
    assert holder(claim("a", 0), at=15) is None
    assert holder(claim("a", 0), claim("b", 5, back=True), at=6) == "a"
    assert holder(claim("a", 0), claim("a", 5, back=True), at=6) is None
    assert holder(claim("a", 0), claim("a", 10), at=20) == "a"


def test_no_claim_holds_a_part_for_good() -> None:
    assert holder(claim("a", 0, 10**6), at=LONGEST.total_seconds() / 60) is None
    assert holder(claim("a", 10**6), claim("b", 1), at=2) == "b"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.integers(1, 30), st.booleans()), max_size=12),
    st.integers(0, 90),
)
def test_a_verdict_is_held_by_a_claim_that_is_there_and_has_not_ended(
    told: list[tuple[str, int, int, bool]], minute: int
) -> None:
    claims = [claim(reviewer, at, minutes, back=back) for reviewer, at, minutes, back in told]
    now = NOON + timedelta(minutes=minute)
    held = holders(claims, now).get("v")
    if held is not None:
        assert held in claims
        assert not held.released
        assert held.until > now


# What waits


@pytest.mark.parametrize(
    ("verdict", "severity"),
    [
        (VerdictFacts(Decision.PASS), None),
        (VerdictFacts(Decision.PASS, challenge=True), Severity.CHALLENGE_MISS),
        (VerdictFacts(Decision.REJECT, challenge=True), None),
        (VerdictFacts(Decision.UNSCORED, challenge=True), Severity.UNSCORED),
        (VerdictFacts(Decision.REJECT), Severity.REJECT),
        (VerdictFacts(Decision.REJECT, holdout=True), Severity.REJECT),
        (VerdictFacts(Decision.UNSCORED), Severity.UNSCORED),
        (VerdictFacts(Decision.PASS, unsure=True, holdout=True), Severity.UNSURE),
        (VerdictFacts(Decision.PASS, holdout=True, shadows=("reject",)), Severity.HOLDOUT),
        (VerdictFacts(Decision.PASS, shadows=("pass", "reject")), Severity.SHADOW_DISAGREEMENT),
        (VerdictFacts(Decision.PASS, shadows=("unscored",)), None),
    ],
)
def test_the_worst_that_can_be_said_of_a_verdict_is_why_it_waits(
    verdict: VerdictFacts, severity: Severity | None
) -> None:
    assert severity_of(verdict) is severity


# Who may, and where two are wanted


def test_answers_count_on_the_lines_and_until_the_day_that_the_list_says() -> None:
    listed = Reviewing(
        reviewers=(Reviewer(name="a"), Reviewer(name="b", lines=("line-1",)), Reviewer(name="c", until=NOON))
    )
    assert listed.counts("a", "line-2", NOON)
    assert listed.counts("b", "line-1", NOON)
    assert not listed.counts("b", "line-2", NOON)
    assert listed.counts("c", "line-2", NOON - timedelta(seconds=1))
    assert not listed.counts("c", "line-2", NOON)
    assert not listed.counts("d", "line-1", NOON)
    assert Reviewing().counts("whoever", "line-1", NOON)


def test_a_share_of_second_looks_is_that_share_and_the_same_every_time() -> None:
    look = SecondLook(of="share", share=0.2)
    chosen = [number for number in range(5000) if look.wants("pass", f"verdict-{number}")]
    assert len(chosen) == pytest.approx(1000, abs=120)
    assert chosen == [number for number in range(5000) if look.wants("reject", f"verdict-{number}")]
    assert [SecondLook(of="rejects").wants(word, "v") for word in ("pass", "reject", "unscored")] == [
        False,
        True,
        False,
    ]
