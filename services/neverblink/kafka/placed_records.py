"""Single records of a topic, by partition and offset: read without a group, and nothing is committed."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from neverblink.kafka.connection import KafkaError
from neverblink.kafka.consumer import EventConsumer
from neverblink.kafka.record import Record
from neverblink.kafka.trouble import Trouble
from neverblink.plant import Kafka

SILENT_S: Final = 10.0
"""So long without the record, though the topic holds it: the broker is away."""

_LOOK_S = 0.5


class PlacedRecords:
    """Reads a topic where it is told to. To be used as a context manager, by one task at a time.

    Each jump to another place asks the broker anew and it sends up to a block of 1 MiB: offsets that rise spare some.
    """

    def __init__(self, kafka: Kafka, topic: str, *, client_id: str, silent_s: float = SILENT_S) -> None:
        # With one key it takes one partition when it starts, instead of all, none of which is wanted yet.
        self._consumer = EventConsumer(kafka, topic, client_id=client_id, keys=[""])
        self._topic = topic
        self._silent_s = silent_s
        self._next: tuple[int, int] | None = None

    async def __aenter__(self) -> Self:
        """Connect. Raises KafkaError."""
        await self._consumer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    @property
    def trouble(self) -> Trouble | None:
        """Return what cannot be read now, and since when."""
        return self._consumer.trouble

    async def at(self, partition: int, offset: int) -> Record | None:
        """Return the record there, None when the topic holds it no longer. Raises KafkaError."""
        known = self._consumer.partitions
        if not known:
            # A broker that has just begun may not know its topics yet: nothing is gone for that.
            raise KafkaError(f"Kafka at {self._consumer.bootstrap} does not know the topic {self._topic} now")
        if partition not in known:
            return None
        if self._next != (partition, offset):
            self._next = None
            self._consumer.read_alone(((self._topic, partition), offset))
        begin, end = (await self._consumer.span())[self._topic, partition]
        if not begin <= offset < end:
            self._next = None
            return None
        clock = asyncio.get_running_loop().time
        give_up = clock() + self._silent_s
        while clock() < give_up:
            found: Sequence[Record] = await self._consumer.poll(1, _LOOK_S)
            for record in found:
                if record.partition == partition:
                    self._next = (partition, record.offset + 1)
                    # Beyond it: retention deleted it between the two questions.
                    return record if record.offset == offset else None
        self._next = None
        raise KafkaError(
            f"Kafka at {self._consumer.bootstrap} has not sent record {offset} of {self._topic}[{partition}] for"
            f" {self._silent_s:.0f} s, though it holds it; is it running?"
        )
