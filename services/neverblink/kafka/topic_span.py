"""What topics hold up to an end that is known: read without a group, and nothing is committed."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from neverblink.events import EventError
from neverblink.events.envelope import E
from neverblink.kafka.connection import KafkaError
from neverblink.kafka.consumer import EventConsumer
from neverblink.kafka.record import Partition, Record
from neverblink.plant import Kafka

SILENT_S = 60.0
"""So long without a record, though there are more: the broker is away."""

_AT_ONCE = 500
_LOOK_S = 0.2


class TopicSpan:
    """What a consumer's partitions hold before `ends`, in each partition's order; one that `ends` lacks is not read.

    Offsets may be missing at the end (deleted, or a transaction's marks), so the position says when all is read, not
    the last record.
    """

    def __init__(
        self,
        consumer: EventConsumer,
        ends: Mapping[Partition, int],
        *,
        at_once: int = _AT_ONCE,
        silent_s: float = SILENT_S,
    ) -> None:
        self._consumer, self._ends = consumer, ends
        self._at_once, self._silent_s = at_once, silent_s

    async def take(self) -> list[Record]:
        """Return the next records, none when all is read. Raises KafkaError when no more come, though there are."""
        clock = asyncio.get_running_loop().time
        heard, before = clock(), dict[Partition, int]()
        while True:
            positions = await self._consumer.positions()
            read = frozenset(place for place, position in positions.items() if position >= self._ends.get(place, 0))
            if len(read) == len(positions):
                return []
            if positions != before:
                heard, before = clock(), positions
            elif clock() - heard > self._silent_s:
                raise KafkaError(
                    f"Kafka at {self._consumer.bootstrap} has sent nothing for {self._silent_s:.0f} s; is it running? "
                    "The same command goes on"
                )
            records = await self._consumer.poll(self._at_once, _LOOK_S, pause=read)
            found = [one for one in records if one.offset < self._ends.get((one.topic, one.partition), 0)]
            if found:
                return found


async def events_since(kafka: Kafka, kind: type[E], keys: Sequence[str], since: datetime, *, client_id: str) -> list[E]:
    """Return the events of the partitions that hold `keys`, from an instant on to the topic's end, each one's in order.

    Raises KafkaError.
    """
    found: list[E] = []
    async with EventConsumer(kafka, kind.TOPIC, client_id=client_id, keys=keys) as consumer:
        ends = await consumer.ends()
        await consumer.seek_to_time(since)
        span = TopicSpan(consumer, ends)
        while records := await span.take():
            for record in records:
                try:
                    found.append(record.read(kind)[0])
                except EventError:
                    continue  # not ours to judge: who publishes what is none is told by its other readers
    return found
