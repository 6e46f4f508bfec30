"""The Faust table of station states, which writes what a batch of verdicts has changed as few records together.

Faust writes a change of a table as a record of its own, with a promise, a task's turn and a request of its own: as much
work as counting the verdict. Here a batch's changes of a partition travel as one Kafka record batch, which is kept
whole or not at all, or as several one after the other.
"""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import faust
from faust.streams import _current_event
from faust.types import TP, EventT

from neverblink.drift.changelog import is_table_key

BATCH_BYTES = 512 * 1024
"""Half of what a broker takes as one record batch unless it is told otherwise (`message.max.bytes`)."""


class StationTable(faust.Table[bytes, bytes]):
    """A plain table of bytes that is changed by `keep` alone."""

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Take what the changelog says, but for records under a key that nobody here writes: anybody may have."""
        super().apply_changelog_batch([event for event in batch if is_table_key(event.key)])

    async def keep(self, changes: Mapping[bytes, bytes | None], event: EventT[Any]) -> None:
        """Write changes of the event's partition in their order, and return once Kafka has them; None deletes.

        What does not fit into one record batch is written when Kafka has what comes before it. Raises what aiokafka
        raises when Kafka does not take it.
        """
        wanted = {raw: value for raw, value in changes.items() if value is not None or raw in self.data}
        producer = self.app.producer._ensure_producer()  # type: ignore[attr-defined]
        place = TP(self.changelog_topic.get_topic_name(), event.message.partition)
        batch, held = producer.create_batch(), dict[bytes, bytes | None]()
        for raw, value in wanted.items():
            if batch.append(timestamp=None, key=raw, value=value) is None:
                await self._send(producer, batch, place, held, event)
                batch, held = producer.create_batch(), {}
                batch.append(timestamp=None, key=raw, value=value)
            held[raw] = value
        if held:
            await self._send(producer, batch, place, held, event)

    async def _send(
        self, producer: Any, batch: Any, place: TP, held: Mapping[bytes, bytes | None], event: EventT[Any]
    ) -> None:
        sent = await (await producer.send_batch(batch, place.topic, partition=place.partition))
        if not is_current(event):
            return  # what the table holds by now was read from the changelog
        # A store on disk asks whose event it is, to know the partition.
        token = _current_event.set(weakref.ref(event))
        try:
            for raw, value in held.items():
                if value is not None:
                    self.data[raw] = value
                else:
                    del self.data[raw]
        finally:
            _current_event.reset(token)
        self.data.set_persisted_offset(place, sent.offset + len(held) - 1)


def is_current(event: EventT[Any]) -> bool:
    """Say whether an event was read since partitions were last assigned: it is ours to count."""
    is_ours: bool = event.message.generation_id == event.app.consumer_generation_id
    return is_ours
