"""A scorer answers for one that is silent: in time, once, and the one that comes back has nothing to add."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from neverblink.bridge.part_tracking import Effect, PartTracking
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import Decision, Evidence, Frame, Reason, Verdict
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventConsumer, EventProducer, Record, ensure_topics, partition_of
from neverblink.kafka.group_progress import GroupProgress, Progress
from neverblink.kafka.membership import Membership
from neverblink.scorer.commands import followed_models
from neverblink.scorer.fetcher import Fetcher
from neverblink.scorer.service import Scorer
from neverblink.scorer.slot_follower import Freshness
from neverblink.scorer.standby.answer_follower import BY_STANDBY, AnswerFollower
from neverblink.scorer.standby.hedging import Hedging
from neverblink.scorer.standby.standby import Standby
from neverblink.scorer.standby.standing_by import group_of, standing_by
from rigs.scored_line import ScoredLine, sent

LEFT_S = 120.0
LINES = ("line-1", "line-2", "line-3", "line-4")


def member(line: ScoredLine, name: str) -> EventConsumer:
    """A member of the scorers' group that is never taken for dead while the test lasts."""
    membership = Membership(name, session_s=300, heartbeat_s=0.2)
    return EventConsumer(line.kafka, "frames", client_id=name, group=group_of(line.plant), membership=membership)


@contextlib.asynccontextmanager
async def scoring(
    line: ScoredLine, name: str, *, consumer: EventConsumer | None = None
) -> AsyncIterator[EventConsumer]:
    """Run a scorer that stands by for others, as `neverblink scorer` does; gives its membership."""
    stop, freshness, plant = asyncio.Event(), Freshness(), line.plant
    answers = AnswerFollower.of(plant, client_id=name)
    consumer = consumer or member(line, name)
    async with (
        followed_models(plant, client_id=f"{name}-models", freshness=freshness) as models,
        EventProducer(line.kafka, source="/test/scorer", client_id=name) as producer,
        consumer,
    ):
        scorer = Scorer(consumer, producer, models, plant.scorer, answers=answers)
        async with standing_by(plant, name, scorer, answers, freshness, own=lambda: consumer.assignment):
            work = asyncio.create_task(scorer.run(stop))
            try:
                yield consumer
            finally:
                stop.set()
                await work


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def holding_its_partitions_in_silence(silent: EventConsumer) -> AsyncIterator[None]:
    """Be a member that gives signs of life to its group and scores nothing."""

    async def keep() -> None:
        while True:
            await silent.poll(1, 0.05, pause=frozenset(silent.assignment))

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def told(line: ScoredLine, enough: Callable[[list[Record]], bool]) -> list[Record]:
    """Return the verdicts' records, each partition in order."""
    found: list[Record] = []
    async with EventConsumer(line.kafka, "verdicts", client_id="test-reader") as reader, asyncio.timeout(90):
        while not enough(found):
            found += await reader.poll()
    return found


def by_standby(record: Record) -> bool:
    return record.read(Verdict)[1].source.endswith(BY_STANDBY)


async def test_a_silent_scorers_parts_are_answered_once_and_whoever_takes_over_has_nothing_to_add(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it took so long to score a frame: it is begun at once, and it has time in plenty.
    monkeypatch.setattr(Hedging, "needs_s", lambda _: LEFT_S)
    # And what it has been given is its own at once: a slow machine is silent while it finds its place there.
    monkeypatch.setattr(Standby, "_at_work", lambda self: {number: sys.maxsize for _, number in self._own()})
    async with DevelopmentBroker() as broker:
        line = ScoredLine(broker.bootstrap, artifacts, lines=LINES, partitions=4)
        await ensure_topics(line.kafka)
        async with line.producer() as producer, scoring(line, "scorer-b") as stands_by:
            await until(lambda: len(stands_by.assignment) == 4)
            async with member(line, "scorer-a") as silent, holding_its_partitions_in_silence(silent):
                await until(lambda: len(silent.assignment) == len(stands_by.assignment) == 2)
                frames = [line.frame(n, line=name, left_s=LEFT_S) for n in range(1, 6) for name in LINES]
                await sent(producer, *frames)
                theirs = {one.id for one in frames if _partition(one) in silent.assignment}
                assert 0 < len(theirs) < len(frames)
                verdicts = await told(line, lambda found: len(found) >= len(frames))
            # It has gone, nothing of its frames is committed, and the other one has them all now.
            await until(lambda: len(stands_by.assignment) == 4)
            more = [line.frame(n, line=name, left_s=LEFT_S) for n in range(6, 8) for name in LINES]
            await sent(producer, *more)
            verdicts = await told(line, lambda found: len({one.read(Verdict)[0].id for one in found}) >= 28)
            pictures = {identity for one in verdicts for identity in one.read(Verdict)[0].evidence}
            evidence = await line.read(Evidence, lambda found: {one.id for one in found} >= pictures)
            # As one that stood still in the middle of a batch would say now.
            late = {"decision": Decision.UNSCORED, "reason": Reason.LATE, "late": True}
            stale = [one.read(Verdict)[0].model_copy(update=late) for one in verdicts]
            await sent(producer, *stale)
            log = await told(line, lambda found: len(found) >= 2 * len(verdicts))
    events = [one.read(Verdict)[0] for one in verdicts]
    assert sorted(one.id for one in events) == sorted(verdict_id(frame.id) for frame in (*frames, *more))
    assert {one.read(Verdict)[0].frame_id for one in verdicts if by_standby(one)} == theirs
    for one in events:
        assert one.decision is (Decision.REJECT if one.seq % 5 == 0 else Decision.PASS)
        assert one.times.emitted is not None
        assert one.times.emitted < one.deadline
    assert len(evidence) == len(pictures)
    assert told_to_the_plc(log) == {one.id: one.decision for one in events}


def told_to_the_plc(log: list[Record]) -> dict[str, Decision]:
    """Return what a bridge makes of the verdicts, in the order in which they lie."""
    parts, decisions = {name: PartTracking(("top",), budget_s=LEFT_S) for name in LINES}, dict[str, Decision]()
    for record in log:
        said, _ = record.read(Verdict)
        effect, decision = parts[said.line].add(said, said.deadline.timestamp(), {})
        assert effect is (Effect.DUPLICATE if said.id in decisions else Effect.DECIDED)
        if decision is not None:
            decisions[said.id] = decision.decision
    return decisions


def _partition(frame: Frame) -> tuple[str, int]:
    return "frames", partition_of(frame.key, 4)


async def test_while_the_group_is_shared_out_anew_and_nobody_reads_frames_are_answered_all_the_same(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reads_nothing(_: Fetcher) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Hedging, "needs_s", lambda _: LEFT_S)
    monkeypatch.setattr(Fetcher, "run", reads_nothing)
    async with DevelopmentBroker() as broker:
        line = ScoredLine(broker.bootstrap, artifacts, lines=LINES[:1], partitions=1)
        await ensure_topics(line.kafka)
        async with line.producer() as producer, scoring(line, "scorer") as alone:
            await until(lambda: len(alone.assignment) == 1)
            await sent(producer, *(line.frame(number, left_s=LEFT_S) for number in range(1, 4)))
            verdicts = await told(line, lambda found: len(found) >= 3)
    assert [by_standby(one) for one in verdicts] == [True] * 3


async def test_records_are_read_again_from_where_it_is_asked_for(tmp_path: Path) -> None:
    async with DevelopmentBroker() as broker:
        line = ScoredLine(broker.bootstrap, tmp_path, lines=("line-1",), partitions=1)
        await ensure_topics(line.kafka)
        async with line.producer() as producer:
            await sent(producer, *(line.frame(number, body=b"frame") for number in range(5)))
        async with GroupProgress(line.kafka, "frames", "nobody", client_id="test") as progress, asyncio.timeout(60):
            assert await progress.look([0]) == {0: Progress(0, 5)}
            for begin in (0, 3, 0):
                found: list[int] = []
                while not found:
                    found = [one.offset for one in await progress.read({0: begin}, most=2, within_s=0.1)]
                assert found[0] == begin
                assert await progress.read({}, most=2, within_s=0) == []
