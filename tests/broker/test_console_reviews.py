"""The page for reviewers over a running ledger: what is taken, answered and taken back there is an event."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from console_desk import Browser, Console, quick_hashes
from review_page import HTMX, console_of, keep_pictures
from review_plant import plant_file, reviewed_plant, scored, until

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.access import audit
from neverblink.console.access.roles import Role
from neverblink.console.reviews import bench
from neverblink.events import Review, Verdict
from neverblink.events.identity import verdict_id
from neverblink.kafka import LatestEvents
from neverblink.plant import Plant
from neverblink.records.part_tables import PartRow
from neverblink.records.reading import ReadOnlyRecords


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


@asynccontextmanager
async def reviewers(
    broker: DevelopmentBroker, folder: Path, *verdicts: Verdict, **reviewing: Any
) -> AsyncIterator[tuple[Plant, Console]]:
    """Run a plant whose parts wait, and its console with three reviewers, one of line-2 alone."""
    file = plant_file(broker.bootstrap, folder, **reviewing)
    async with reviewed_plant(file, *verdicts) as plant, console_of(plant, folder) as console:
        console.account("ann", Role.REVIEWER)
        console.account("bob", Role.REVIEWER)
        console.account("lin", Role.REVIEWER, ("line-2",))
        yield console.plant, console


class Reviewer:
    """A browser at the page for reviewers: its scripts' requests, and the part that is on the bench."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.bench = ""

    async def press(self, what: str, **fields: str) -> httpx.Response:
        """Do what a key does, with the bench's own fields."""
        answer = await self.browser.post(f"/review/{what}", {**self.fields, **fields}, **HTMX)
        if "hx-retarget" not in answer.headers:
            self.bench = answer.text
        self.browser.seen = self.bench
        return answer

    @property
    def fields(self) -> dict[str, str]:
        """Return the hidden fields of the bench."""
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.bench))

    @property
    def part(self) -> str | None:
        """Return the part to judge."""
        found = re.search(r'class="review-head">\s*<h2>([^<]+)</h2>', self.bench)
        return found.group(1) if found else None


async def at_page(console: Console, name: str) -> Reviewer:
    browser = console.browser()
    await browser.sign_in(name)
    page = Reviewer(browser)
    page.bench = (await browser.get("/review")).text
    return page


async def reviews(plant: Plant) -> list[Review]:
    async with LatestEvents(plant.kafka, Review, client_id="test") as events:
        return [event for _, event in await events.to_the_end(10) if event is not None]


def judged(part: str, judgement: str | None) -> Any:
    def holds(records: ReadOnlyRecords) -> bool:
        with records.asking() as session:
            found = session.query(PartRow.judgement).filter(PartRow.part == part).scalar()
            return bool(found == judgement)

    return holds


async def test_a_reject_is_overturned_corrected_and_taken_back_and_the_account_has_said_it(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    verdicts = [scored(1), scored(2)]
    async with reviewers(development, tmp_path, *verdicts) as (plant, console):
        keep_pictures(plant, verdicts)
        ann = await at_page(console, "ann")
        assert "rejects" in ann.bench
        assert ann.part is None, "nobody has it for looking at the page"
        await ann.press("take")
        assert ann.part == "line-1-SN-1"
        assert re.search(r'class="review-picture" src="/pictures/[0-9a-f]{64}"', ann.bench)

        given = await ann.press("answer", judgement="normal", comment="a hair on the lens")
        assert given.headers["hx-trigger"] == "reviewed"
        assert ann.part == "line-1-SN-2", "the next comes by itself"
        assert "line-1-SN-1: <b>good</b>" in ann.bench
        await until(plant, judged("1-1", "normal"))

        await ann.press("undo")
        assert ann.part == "line-1-SN-1", "to be judged again"
        assert "is taken back" in ann.bench
        await until(plant, judged("1-1", None))
        refused = await ann.press("undo")
        assert (refused.status_code, refused.headers["hx-retarget"]) == (422, "#review-fault")
        assert "no answer of this page to take back" in refused.text

        await ann.press("answer", judgement="defect", type="scratch", regions="10,20,30,40", looked="1")
        assert ann.part == "line-1-SN-2", "what one has already comes first"
        await until(plant, judged("1-1", "defect"))
        assert '<b class="review-given">1</b>' in (await ann.browser.get("/review/queue")).text

        told = [(one.reviewer, one.judgement, one.withdrawn, one.defect_type) for one in await reviews(plant)]
        assert told == [
            ("ann", "normal", False, None), ("ann", "inconclusive", True, None), ("ann", "defect", False, "scratch"),
        ]  # fmt: skip
        with console.access.reading() as connection:
            entries = [one for one in audit.entries(connection) if one.action.startswith("review.")]
        assert [(one.who, one.action) for one in entries] == [
            ("ann", "review.answer"), ("ann", "review.undo"), ("ann", "review.answer"),
        ]  # fmt: skip
        assert orjson.loads(entries[-1].detail)["looked"] is True, "whether the machine was asked first stays on record"


@pytest.mark.plant
async def test_of_two_browsers_one_has_the_part_and_the_other_is_told(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    async with reviewers(development, tmp_path, scored(1), scored(2), scored(3, line="line-2")) as (plant, console):
        ann, bob, lin = [await at_page(console, name) for name in ("ann", "bob", "lin")]
        await ann.press("take")
        await bob.press("take")
        assert (ann.part, bob.part) == ("line-1-SN-1", "line-1-SN-2")
        refused = await bob.press("answer", judgement="normal", verdict=verdict_id("line-1-1"))
        assert refused.status_code == 409
        assert "Somebody else has this part now." in refused.text
        refused = await lin.press("take", named=verdict_id("line-1-1"))
        assert refused.status_code == 409
        assert "do not count" in refused.text
        await lin.press("take")
        assert lin.part == "line-2-SN-3"
        await until(plant, _claims(3))
        shown = (await lin.browser.get("/review")).text
        assert "line-1" not in shown, "nothing of lines on which the account does not judge"

        await ann.press("skip")
        assert ann.part is None, "what it has left to others is not given to it again"
        assert "Nothing waits for you now" in ann.bench
        await bob.press("take", named=verdict_id("line-1-1"))
        assert bob.part == "line-1-SN-1"
        assert await reviews(plant) == []


def _claims(wanted: int) -> Any:
    def holds(records: ReadOnlyRecords) -> bool:
        with records.asking() as session:
            return int(session.connection().exec_driver_sql("SELECT count(*) FROM claims").scalar_one()) >= wanted

    return holds


@pytest.mark.plant
async def test_a_holdout_looks_like_any_other_part_and_a_second_reviewer_sees_nothing_of_the_first(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    verdicts = [scored(1), scored(2, "pass", holdout=True), scored(3, "pass", unsure=True)]
    async with reviewers(development, tmp_path, *verdicts, second={"plate": {"of": "rejects"}}) as (plant, console):
        ann = await at_page(console, "ann")
        seen = {}
        for verdict in verdicts:
            await ann.press("take", named=verdict.id)
            seen[verdict.decision, verdict.holdout] = _without_names(ann.bench, verdict)
        assert len(set(seen.values())) == 1, "neither the decision nor why it waits can be seen"
        assert "holdout" not in (await ann.browser.get("/review")).text.lower()

        await ann.press("take", named=verdicts[0].id)
        await ann.press("answer", judgement="normal", comment="only dust of the Tuesday kind")
        bob = await at_page(console, "bob")
        await bob.press("take", named=verdicts[0].id)
        assert "ann" not in re.findall(r"\w+", bob.bench)
        whole = (await bob.browser.get("/review")).text
        assert [word for word in ("Tuesday", "second") if word in whole] == []
        assert _without_names(bob.bench, verdicts[0]) == seen["reject", False]
        await bob.press("answer", judgement="defect")
        assert {one.round for one in await reviews(plant)} == {"first", "second"}


def _without_names(html: str, verdict: Verdict) -> str:
    html = re.sub(r'(name="csrf" value|data-left|data-action="undo")="?[^" ]*"?', "", html)
    for name in (verdict.id, verdict.identity.serial if verdict.identity else "", str(verdict.times.captured)):
        html = html.replace(str(name), "…")
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d\d:\d\d:\d\d", "…", html)


async def test_with_kafka_away_no_answer_is_shown_as_taken_and_what_was_typed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with DevelopmentBroker() as broker, reviewers(broker, tmp_path, scored(1), scored(2)) as (plant, console):
        ann = await at_page(console, "ann")
        monkeypatch.setattr(bench, "ACT_S", 15.0)
        await ann.press("take")
        held = ann.bench
        await broker.stop()
        monkeypatch.setattr(bench, "ACT_S", 1.0)
        refused = await ann.press("answer", judgement="normal")
        assert (refused.status_code, refused.headers["hx-retarget"]) == (503, "#review-fault")
        assert "no answer counts as given" in refused.text
        assert ann.bench == held, "the part stays on the bench"
        plain = await ann.browser.post("/review/answer", {**ann.fields, "judgement": "normal"})
        assert plain.status_code == 503
        assert "no answer counts as given" in plain.text
        with console.access.reading() as connection:
            assert not [one for one in audit.entries(connection) if one.action == "review.answer"]
        assert '<b class="review-given">0</b>' in (await ann.browser.get("/review/queue")).text
        await broker.start()
        monkeypatch.setattr(bench, "ACT_S", 15.0)
        ann.browser.seen = held
        await ann.press("answer", judgement="normal")
        assert ann.part == "line-1-SN-2"
        assert plant.site == "test"


async def test_an_answer_counts_although_the_next_part_cannot_be_taken(
    development: DevelopmentBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reviewers(development, tmp_path, scored(1), scored(2)) as (plant, console):
        ann = await at_page(console, "ann")
        await ann.press("take")

        async def away(*_: Any, **__: Any) -> Any:
            raise TimeoutError

        monkeypatch.setattr("neverblink.reviewing.desk.Desk.take", away)
        answered = await ann.press("answer", judgement="normal")
        assert answered.status_code == 200
        assert "line-1-SN-1: <b>good</b>" in ann.bench
        assert "Kafka is away" in ann.bench
        await until(plant, judged("1-1", "normal"))
        assert len(await reviews(plant)) == 1
