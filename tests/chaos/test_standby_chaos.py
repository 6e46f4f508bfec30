"""A scorer of two is stopped, later the other is killed, on Apache Kafka: whoever is left answers, once and in time.

The deadline is a third of the session for which Kafka waits: without a standby most parts of these lines were late.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from real_kafka import without_kafka

from neverblink.brokers.apache import KafkaUnavailable, LocalKafka
from neverblink.events import Decision, Reason, Verdict
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.scorer.standby.answer_follower import BY_STANDBY
from rigs.chaos_audit import Expected
from rigs.chaos_run import Chaos, ChaosLine, Outcome, answered, warm
from rigs.scored_line import fit_striped
from rigs.supervised_scorer import SupervisedScorer

LEFT_S = 3.0
EVERY_S = 0.125
NEARLY_ALL = 0.9

pytestmark = [pytest.mark.slow, pytest.mark.plant]


@dataclass
class Happened:
    """What was sent, what the topic holds of it in its order, and who was hit when."""

    stopped_log: list[dict[str, object]] = field(default_factory=list)
    sent: list[Expected] = field(default_factory=list)
    verdicts: dict[str, list[tuple[Verdict, bool]]] = field(default_factory=dict)
    """The verdicts of each frame, and whether a standby sent them."""
    stopped_at: float = 0.0
    killed_at: float = 0.0
    ended_at: float = 0.0

    def due(self, begin: float, end: float) -> list[tuple[Verdict, bool]]:
        """Return the first verdict of each frame that was due in that time."""
        return [self.verdicts[one.frame][0] for one in self.sent if begin <= one.deadline.timestamp() < end]


async def feed(line: ChaosLine, producer: EventProducer, sent: list[Expected], seconds: float) -> None:
    """Send frames, each in its turn, for so long."""
    until = time.monotonic() + seconds
    at = time.monotonic()
    while at < until:
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        sent.append(await line.publish(producer, len(sent), LEFT_S))
        at += EVERY_S


async def run(artifacts: Path, folder: Path) -> Happened:
    """Stop one scorer, let it go on, then kill the other."""
    chaos, found = Chaos(frames=1, faults=0, nodes=1, budget_s=LEFT_S), Happened()
    async with AsyncExitStack() as stack:
        kafka = await stack.enter_async_context(LocalKafka(1, heap_mib=320))
        line = ChaosLine(kafka, artifacts, folder, chaos)
        await ensure_topics(line.kafka)
        producer = await stack.enter_async_context(line.camera())
        outcome = Outcome(chaos, 0.0, 0.0, [])
        following = asyncio.create_task(line.follow(outcome.arrivals))
        async with AsyncExitStack() as running:
            members = [SupervisedScorer(f"scorer-{number}", line.plant, folder) for number in range(2)]
            for member in members:
                await running.enter_async_context(member)
            await asyncio.gather(*(member.ready() for member in members))
            await warm(line, producer, outcome)
            await feed(line, producer, found.sent, 2)
            found.stopped_at = time.time()
            members[0].stop()
            await feed(line, producer, found.sent, 8)
            members[0].go_on()
            await feed(line, producer, found.sent, 4)
            found.killed_at = time.time()
            members[1].kill()
            await feed(line, producer, found.sent, 7)
            found.ended_at = time.time()
            await answered(outcome, found.sent, 30)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        for record in await line.whole("verdicts"):
            verdict, envelope = record.read(Verdict)
            found.verdicts.setdefault(verdict.frame_id, []).append((verdict, envelope.source.endswith(BY_STANDBY)))
        found.stopped_log = members[0].entries()
    return found


def test_whoever_is_left_answers_in_time_and_once_and_who_comes_back_has_nothing_to_add(tmp_path: Path) -> None:
    try:
        happened = asyncio.run(run(fit_striped(tmp_path), tmp_path))
    except KafkaUnavailable as error:
        without_kafka(error)
    for one in happened.sent:
        assert {verdict.id for verdict, _ in happened.verdicts[one.frame]} == {one.verdict}
        first, _ = happened.verdicts[one.frame][0]
        if first.decision is not Decision.UNSCORED:
            assert (first.decision is Decision.REJECT) == (one.picture % 5 == 0)
    for begin, end in (
        (happened.stopped_at, happened.stopped_at + 8),
        (happened.killed_at, happened.ended_at + LEFT_S),
    ):
        due = happened.due(begin, end)
        assert sum(by_standby for _, by_standby in due) >= 5
        assert sum(first.decision is not Decision.UNSCORED for first, _ in due) >= NEARLY_ALL * len(due)
    # Nothing that has a verdict is told as late: not on the topic, where it would be counted too, and not in the log.
    firsts = [told[0][0] for told in happened.verdicts.values()]
    late = {first.frame_id for first in firsts if first.reason == Reason.LATE}
    again = {one.frame_id for told in happened.verdicts.values() for one, _ in told if one.reason == Reason.LATE}
    assert again == late
    late_parts = {first.part for first in firsts if first.frame_id in late}
    said = [str(entry) for entry in happened.stopped_log if "is not scored" in str(entry)]
    assert all(any(part in entry for part in late_parts) for entry in said)
