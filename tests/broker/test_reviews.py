"""Reviews from the queue to the figures: claims and answers are events, and everybody decides a race alike."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from review_plant import plant_file, publish, reviewed_plant, scored, until
from sqlalchemy import select

from neverblink.brokers.development import DevelopmentBroker
from neverblink.cli import main
from neverblink.events import Judgement, Review
from neverblink.events.identity import derived_id, verdict_id
from neverblink.kafka import LatestEvents
from neverblink.plant import Plant
from neverblink.records.part_tables import PartRow, RollupRow
from neverblink.records.reading import ReadOnlyRecords
from neverblink.records.review_state import ReviewState
from neverblink.reviewing import Answer, Desk, ReviewError, topics
from neverblink.reviewing.desk import Where


def told(capsys: pytest.CaptureFixture[str], file: Path, *words: str) -> tuple[int, str]:
    """Run `neverblink review` as a shell would; returns its exit code and what it says."""
    before, sys.argv = sys.argv, ["neverblink", "review", *words, "--plant", str(file)]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return code, said.out + said.err


def figures(records: ReadOnlyRecords) -> tuple[int, int, int]:
    """Return how many parts were judged, found normal although rejected, and found defective."""
    with records.asking() as session:
        rows = list(session.scalars(select(RollupRow).where(RollupRow.station == "")))
    return (
        sum(row.reviewed for row in rows),
        sum(row.false_rejects for row in rows),
        sum(row.judged_defect for row in rows),
    )


def judgement(part: str) -> Callable[[ReadOnlyRecords], str | None]:
    """Return the question what holds about a part."""

    def asked(records: ReadOnlyRecords) -> str | None:
        with records.asking() as session:
            return session.scalar(select(PartRow.judgement).where(PartRow.part == part))

    return asked


async def test_a_reject_is_taken_answered_corrected_and_taken_back_by_commands_and_the_figures_follow(
    development: DevelopmentBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = plant_file(development.bootstrap, tmp_path)

    async def run(*words: str) -> Any:
        code, said = await asyncio.to_thread(told, capsys, file, *words, "--by", "a", "--json")
        assert code == 0, said
        return orjson.loads(said)

    async with reviewed_plant(file, scored(1), scored(2, "pass", unsure=True), scored(3, "pass")) as plant:
        listed = await run("list")
        assert [(row["severity"], row["part"]) for row in listed["waiting"]] == [("reject", "1-1"), ("unsure", "1-2")]
        assert listed["counts"] == {"reject": {"count": 1, "more": False}, "unsure": {"count": 1, "more": False}}

        taken = (await run("take", "--minutes", "5"))["taken"]
        assert (taken["part"], taken["wants"]) == ("1-1", "first")
        assert (await run("take"))["taken"]["part"] == "1-1", "what one holds comes first"
        answered = await run("answer", taken["verdict"], "normal", "--comment", "a hair on the lens")
        (review,) = (one["review"] for one in answered["answered"])
        assert review["identity"] == {"serial": "line-1-SN-1", "lot": "L7", **_nothing_else(review["identity"])}
        assert (await run("take"))["taken"]["part"] == "1-2", "asked of Kafka: the ledger may not know the answer yet"
        await until(plant, lambda records: figures(records) == (1, 1, 0))

        await run("answer", "line-1-SN-1", "DEFECT", "--type", "scratch", "--region", "310,116,70,25")
        await until(plant, lambda records: figures(records) == (1, 0, 1))
        seen = await run("show", "line-1-SN-1")
        assert [(one["judgement"], one["type"]) for one in seen["answers"]] == [("defect", "scratch")]

        await run("undo", "1-1")
        await until(plant, lambda records: figures(records) == (0, 0, 0))
        assert [row["part"] for row in (await run("list"))["waiting"]] == ["1-1", "1-2"]
        history = await _reviews(plant)
        assert [(one.judgement, one.withdrawn) for one in history] == [
            (Judgement.NORMAL, False),
            (Judgement.DEFECT, False),
            (Judgement.INCONCLUSIVE, True),
        ]


def _nothing_else(identity: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in identity.items() if not value}


async def _reviews(plant: Plant) -> list[Review]:
    async with LatestEvents(plant.kafka, Review, client_id="test") as events:
        return [event for _, event in await events.to_the_end(10) if event is not None]


async def test_of_two_who_take_the_same_part_at_once_the_first_in_the_partition_has_it(
    development: DevelopmentBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plant_file(development.bootstrap, tmp_path)
    both_published = asyncio.Barrier(2)
    read = topics.claims_now

    async def read_after_both(*about: Any) -> Any:
        await asyncio.wait_for(both_published.wait(), 20)
        return await read(*about)

    async with reviewed_plant(file, scored(1), scored(2, line="line-2")) as plant:
        monkeypatch.setattr(topics, "claims_now", read_after_both)
        verdict = verdict_id("line-1-1")
        outcomes = await asyncio.gather(
            Desk(plant, "a").take_named(verdict), Desk(plant, "b").take_named(verdict), return_exceptions=True
        )
        monkeypatch.setattr(topics, "claims_now", read)
        (lost,) = (outcome for outcome in outcomes if isinstance(outcome, ReviewError))
        assert "taken by somebody else at the same time" in str(lost)
        winner, loser = ("a", "b") if isinstance(outcomes[1], ReviewError) else ("b", "a")

        # Whoever asks is told the same: from Kafka, and from the records once they have it.
        seen = await Desk(plant, "c").show(verdict)
        assert seen.held_by == winner
        await until(plant, lambda records: _claims(records) == 2)
        page, _ = await Desk(plant, "c").waiting(Where(lines=("line-1",)), 10)
        assert [row.held_by for row in page.rows] == [winner]

        with pytest.raises(ReviewError, match=f"{winner} holds 1-1 of line-1/top until"):
            await Desk(plant, loser).answer([Answer(verdict, Judgement.NORMAL)])
        other = await Desk(plant, loser).take(Where())
        assert other is not None
        assert other.judged.key == "line-2/top"
        assert await Desk(plant, loser).take(Where(lines=("line-1",))) is None
        await Desk(plant, winner).put_back(verdict)
        free = await Desk(plant, loser).take(Where(lines=("line-1",)))
        assert free is not None
        assert free.judged.verdict == verdict


def _claims(records: ReadOnlyRecords) -> int:
    with records.asking() as session:
        return int(session.connection().exec_driver_sql("SELECT count(*) FROM claims").scalar_one())


async def test_a_claim_ends_by_itself_and_the_part_is_free_again(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    file = plant_file(development.bootstrap, tmp_path, claim_minutes=10)
    async with reviewed_plant(file, scored(1)) as plant:
        assert await Desk(plant, "a").take(Where()) is not None
        assert await Desk(plant, "b").take(Where()) is None
        assert await Desk(plant, "b", lambda: datetime.now(UTC) + timedelta(minutes=9)).take(Where()) is None
        later = Desk(plant, "b", lambda: datetime.now(UTC) + timedelta(minutes=11))
        taken = await later.take(Where())
        assert taken is not None
        assert taken.judged.part == "1-1"


async def test_the_second_reviewer_sees_nothing_of_the_first_and_a_third_settles_what_they_disagree_on(
    development: DevelopmentBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = plant_file(development.bootstrap, tmp_path, second={"plate": {"of": "rejects"}})
    async with reviewed_plant(file, scored(1), scored(2, "pass", unsure=True)) as plant:
        (first,) = await Desk(plant, "anna").answer(
            [Answer("line-1-SN-1", Judgement.NORMAL, comment="only dust of the Tuesday kind")]
        )
        assert (first.review.round, first.state, first.judgement) == ("first", ReviewState.NEEDS_SECOND, None)
        (single,) = await Desk(plant, "anna").answer([Answer("line-1-SN-2", Judgement.NORMAL)])
        assert (single.review.round, single.state) == (None, ReviewState.ANSWERED)
        await until(plant, lambda records: judgement("1-2")(records) == "normal")
        await until(plant, lambda records: judgement("1-1")(records) is None)

        assert await Desk(plant, "anna").take(Where()) is None, "nobody is the second to oneself"
        for words in (
            ("list",),
            ("take",),
            ("show", "line-1-SN-1"),
            ("show", "line-1-SN-1", "--json"),
            ("list", "--json"),
        ):
            code, said = await asyncio.to_thread(told, capsys, file, *words, "--by", "bert")
            assert code == 0, said
            assert "1-1" in said
            assert not any(word in said.lower() for word in ("anna", "normal,", "dust", "normal:", '"normal"')), said

        (second,) = await Desk(plant, "bert").answer([Answer("line-1-SN-1", Judgement.DEFECT, "scratch")])
        assert (second.review.round, second.state, second.judgement) == ("second", ReviewState.DISPUTED, "disputed")
        await until(plant, lambda records: judgement("1-1")(records) == "disputed")
        for name in ("anna", "bert"):
            assert await Desk(plant, name).take(Where()) is None
        taken = await Desk(plant, "chris").take(Where())
        assert taken is not None
        assert taken.wants == "final"
        seen = await Desk(plant, "chris").show("line-1-SN-1")
        assert [(one.facts.reviewer, one.facts.judgement) for one in seen.answers] == [
            ("anna", "normal"),
            ("bert", "defect"),
        ]
        (final,) = await Desk(plant, "chris").answer([Answer("line-1-SN-1", Judgement.DEFECT, "scratch")])
        assert (final.review.round, final.state, final.judgement) == ("final", ReviewState.SETTLED, "defect")
        await until(plant, lambda records: judgement("1-1")(records) == "defect")


async def test_who_is_not_on_the_list_is_refused_and_what_such_a_person_publishes_counts_for_nothing(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    reviewers = [{"name": "a", "lines": ["line-1"]}, {"name": "left", "until": "2026-01-01T00:00:00Z"}]
    file = plant_file(development.bootstrap, tmp_path, reviewers=reviewers)
    async with reviewed_plant(file, scored(1), scored(1, line="line-2")) as plant:
        for name, verdict, why in (
            ("stranger", "line-1-1", "stranger is not among records.reviewing.reviewers"),
            ("a", "line-2-1", "a judges parts of line-1 alone, and not of line-2"),
            ("left", "line-1-1", "answers of left no longer count since 2026-01-01"),
        ):
            with pytest.raises(ReviewError, match=why):
                await Desk(plant, name).answer([Answer(verdict_id(verdict), Judgement.NORMAL)])
            with pytest.raises(ReviewError, match=why):
                await Desk(plant, name).take_named(verdict_id(verdict))
        with pytest.raises(ReviewError, match="stranger is not among"):
            await Desk(plant, "stranger").take(Where())
        page, _ = await Desk(plant, "a").waiting(Where(), 10)
        assert [row.judged.key for row in page.rows] == ["line-1/top"]

        await publish(plant, _review("stranger", "normal"), _review("a", "defect"))
        await until(plant, lambda records: judgement("1-1")(records) == "defect")
        seen = await Desk(plant, "a").show(verdict_id("line-1-1"))
        assert [one.facts.reviewer for one in seen.answers] == ["a"]
        assert len(await _reviews(plant)) == 2, "the history keeps both"


def _review(reviewer: str, said: str) -> Review:
    return Review(
        id=derived_id("test", reviewer), verdict=verdict_id("line-1-1"), frame_id="line-1-1", line="line-1",
        station="top", product="plate", part="1-1", judgement=Judgement(said), reviewer=reviewer, at=datetime.now(UTC),
    )  # fmt: skip


async def test_an_account_takes_and_answers_on_its_own_lines_alone_and_leaves_what_it_passes_over_to_others(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    file = plant_file(development.bootstrap, tmp_path)
    async with reviewed_plant(file, scored(1), scored(2), scored(1, line="line-2")) as plant:
        began = datetime.now(UTC)
        mine = Desk(plant, "a", lines=("line-2",))
        foreign = verdict_id("line-1-1")
        for work in (
            mine.take_named(foreign),
            mine.answer([Answer(foreign, Judgement.NORMAL)]),
            mine.undo(foreign),
            mine.take(Where(lines=("line-1",))),
            mine.waiting(Where(lines=("line-1",)), 10),
        ):
            with pytest.raises(ReviewError, match="does not judge parts of line-1") as refused:
                await work
            assert refused.value.kind == "refused"
        page, _ = await mine.waiting(Where(), 10)
        assert [row.judged.key for row in page.rows] == ["line-2/top"]
        taken = await mine.take(Where())
        assert taken is not None
        assert taken.judged.key == "line-2/top"
        assert await mine.take(Where(), without=[taken.judged.verdict]) is None

        await mine.answer([Answer(taken.judged.verdict, Judgement.NORMAL)])
        await until(plant, lambda records: _reviews_kept(records) == 1)
        assert await mine.given(began) == {taken.judged.verdict: True}
        await mine.undo(taken.judged.verdict)
        await until(plant, lambda records: _reviews_kept(records) == 2)
        assert await mine.given(began) == {taken.judged.verdict: False}
        assert await mine.given(datetime.now(UTC)) == {}
        assert await Desk(plant, "b").given(began) == {}


def _reviews_kept(records: ReadOnlyRecords) -> int:
    with records.asking() as session:
        return int(session.connection().exec_driver_sql("SELECT count(*) FROM reviews").scalar_one())


async def test_many_answers_come_from_a_file_and_one_mistake_in_it_sends_none(
    development: DevelopmentBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = plant_file(development.bootstrap, tmp_path)
    table = tmp_path / "answers.csv"
    async with reviewed_plant(file, *(scored(number) for number in range(1, 6))) as plant:
        rows = ["serial;judgement;type;region", "line-1-SN-1;Normal;;", "line-1-SN-2;DEFECT;dent;1,2,3,4"]
        table.write_text("\ufeff" + "\r\n".join([*rows, "SN-9;NORMAL;;"]))
        code, said = await asyncio.to_thread(told, capsys, file, "answer", "--from", str(table), "--by", "a")
        assert code == 2
        assert "the ledger has no verdict, serial number or part 'SN-9'" in " ".join(said.split())
        assert await _reviews(plant) == []

        table.write_text("\ufeff" + "\r\n".join(rows))
        code, said = await asyncio.to_thread(told, capsys, file, "answer", "--from", str(table), "--by", "a")
        assert (code, said.strip()) == (0, "2 answers were published")
        found = {one.part: one for one in await _reviews(plant)}
        assert {part: one.judgement for part, one in found.items()} == {"1-1": "normal", "1-2": "defect"}
        assert found["1-2"].regions[0].width == 3
