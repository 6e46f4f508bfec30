"""Reads a compacted topic: first to its end, which is the state of things, then what changes."""

from collections.abc import Sequence
from types import TracebackType
from typing import Generic, Self

from neverblink import telemetry
from neverblink.events import EventError
from neverblink.events.envelope import E
from neverblink.kafka.connection import KafkaError, explained
from neverblink.kafka.consumer import EventConsumer
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.record import Record
from neverblink.kafka.topic_span import TopicSpan
from neverblink.kafka.trouble import Trouble
from neverblink.plant import Kafka
from neverblink.service_life.time_limit import time_limit

_AT_ONCE = 500


class LatestEvents(Generic[E]):
    """The events of a compacted topic, with their keys, from its beginning on; None is a key that was deleted.

    A record that cannot be read is logged as an error and left out: what its key had before goes on to hold.
    """

    def __init__(self, kafka: Kafka, kind: type[E], *, client_id: str) -> None:
        self._kafka = kafka
        self._kind = kind
        self._consumer = EventConsumer(kafka, kind.TOPIC, client_id=client_id)
        self._log = telemetry.logger("kafka")

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    @property
    def trouble(self) -> Trouble | None:
        """Return what cannot be read now, and since when; None while all can."""
        return self._consumer.trouble

    async def to_the_end(self, within_s: float) -> list[tuple[str, E | None]]:
        """Return all that the topic holds now, in each key's order. Raises KafkaError when that takes longer."""
        found: list[tuple[str, E | None]] = []
        try:
            async with time_limit(within_s):
                span = TopicSpan(self._consumer, await self._consumer.ends())
                while records := await span.take():
                    found += self._all_read(records)
        except TimeoutError as error:
            raise KafkaError(
                f"the topic {self._kind.TOPIC} on Kafka at {self._kafka.bootstrap} could not be read to its end within"
                f" {within_s:g} s"
            ) from error
        except CLIENT_FAULTS as error:
            raise explained(error, self._kafka, f"read {self._kind.TOPIC}") from error
        return found

    async def poll(self, timeout_s: float) -> list[tuple[str, E | None]]:
        """Return what has come, waiting at most `timeout_s` for the first. Raises KafkaError."""
        return self._all_read(await self._consumer.poll(_AT_ONCE, timeout_s))

    async def is_read(self, within_s: float) -> bool:
        """Say whether all that the topic holds now has been returned; whoever polls asks. Raises KafkaError."""
        try:
            async with time_limit(within_s):
                ends = await self._consumer.ends()
                positions = await self._consumer.positions()
        except CLIENT_FAULTS as error:
            raise explained(error, self._kafka, f"read {self._kind.TOPIC}") from error
        return all(positions.get(place, 0) >= end for place, end in ends.items())

    def _all_read(self, records: Sequence[Record]) -> list[tuple[str, E | None]]:
        return [one for record in records if (one := self._read(record)) is not None]

    def _read(self, record: Record) -> tuple[str, E | None] | None:
        if not (record.value or record.is_unreadable):
            return record.key, None
        try:
            return record.key, record.read(self._kind)[0]
        except EventError as error:
            self._log.error(
                f"a record of the topic {record.topic} cannot be read, what was true before goes on to hold: {error}",
                extra={"fields": {"key": record.key, "partition": record.partition, "offset": record.offset}},
            )
            return None
