"""What a bridge finds that begins where another one ended: parts that have their outcome, and parts that lack it.

The record is the topic of actuations. Verdicts younger than a line's last outcome are read again, so that every part
gets one; those that are overdue are only reported, never written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from neverblink import telemetry
from neverblink.events import Actuation, EventError
from neverblink.kafka import EventConsumer, KafkaError, Record
from neverblink.kafka.topic_span import TopicSpan
from neverblink.plant import Kafka, Line
from neverblink.service_life.time_limit import time_limit

TAIL = 2000  # records of a partition: 25 s of four lines at 10 parts/s, and more than is ever under way at once
READ_AGAIN_S = 120.0  # 40 parts/s of 4 lines are read again in a second or two; live verdicts wait for that
SKEW_S = 1.0
WITHIN_S = 5.0

_log = telemetry.logger("bridge")


@dataclass(frozen=True, slots=True)
class Inheritance:
    """One line's share: verdicts published before `since` are none of ours; `told` have their outcome, oldest first."""

    since: datetime
    told: tuple[Actuation, ...] = ()


async def inheritance(kafka: Kafka, lines: Sequence[Line], now: datetime) -> dict[str, Inheritance]:
    """Return each line's share. A topic that cannot be read leaves each line to begin one lead time ago."""
    names = [line.name for line in lines]
    found: list[tuple[bool, list[Record]]] = []
    try:
        async with (
            time_limit(WITHIN_S),
            EventConsumer(kafka, Actuation.TOPIC, client_id="neverblink-bridge-record", keys=names) as consumer,
        ):
            for place, end in (await consumer.ends()).items():
                start = max(0, end - TAIL)
                consumer.read_alone((place, start))
                span, records = TopicSpan(consumer, {place: end}), list[Record]()
                while some := await span.take():
                    records += some
                found.append((start == 0, records))
    except (KafkaError, TimeoutError) as error:
        _log.warning(
            "what the bridge before this one has told cannot be read, so parts that it had under way may get no "
            f"outcome: {str(error) or 'no answer in time'}"
        )
        found = []
    shares: dict[str, Inheritance] = {}
    for whole, records in found:
        shares |= _shares(records, whole, lines, now)
    return {line.name: shares.get(line.name) or Inheritance(_live(line, now)) for line in lines}


def _shares(records: Sequence[Record], whole: bool, lines: Iterable[Line], now: datetime) -> Mapping[str, Inheritance]:
    told: dict[str, list[Actuation]] = {line.name: [] for line in lines}
    for record in records:
        if record.key in told:
            try:
                event, _ = record.read(Actuation)
            except EventError:
                continue  # another version's; the ledger sets it aside
            if event.stage == "told":
                told[record.key].append(event)
    begins = None if whole or not records else records[0].time
    return {
        line.name: Inheritance(_since(line, told[line.name][-1].at, begins, now), tuple(told[line.name]))
        for line in lines
        if told[line.name]
    }


def _since(line: Line, last: datetime, begins: datetime | None, now: datetime) -> datetime:
    """Return from when on verdicts may lack an outcome: of what is younger than the last outcome, all may."""
    since = max(last - timedelta(seconds=line.timing.lead_s + SKEW_S), now - timedelta(seconds=READ_AGAIN_S))
    # What was told before the records that we read is not known, and must not be told again as unknown.
    return min(since if begins is None else max(since, begins), _live(line, now))


def _live(line: Line, now: datetime) -> datetime:
    """Return one lead time ago: an older verdict is for a part that has passed the gate."""
    return now - timedelta(seconds=line.timing.lead_s)
