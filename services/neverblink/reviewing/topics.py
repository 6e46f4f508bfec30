"""How a reviewer's desk reaches Kafka: opened for one act, as a command does, or held by a program that goes on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Protocol

from neverblink.events import Claim, Event
from neverblink.kafka import EventProducer, Place, ensure_topics
from neverblink.plant import Kafka, Plant
from neverblink.reviewing.recent import CLIENT, Recent, claims_now, recent

NAMES = ("claims", "reviews")


class OpenTopics(Protocol):
    """Claims and answers, for one act. Its methods raise KafkaError."""

    async def recent(self, keys: Sequence[str], now: datetime) -> Recent:
        """Return what was told about these stations (`line/station`) while a claim can hold, up to this moment."""
        ...

    async def send(self, event: Event) -> Place:
        """Publish an event, and return where it lies once Kafka has acknowledged it."""
        ...

    async def claims_to(self, place: Place, key: str, now: datetime) -> Sequence[Claim]:
        """Return the claims of a station's partition in their order, up to the one that lies at `place` or further."""
        ...


class Topics(Protocol):
    """Where a desk has its topics from."""

    def open(self, *, writes: bool = True) -> AbstractAsyncContextManager[OpenTopics]:
        """Open them for one act. Raises KafkaError."""
        ...


class TopicsForAnAct:
    """Topics that are read and written by connections of each act's own."""

    def __init__(self, plant: Plant) -> None:
        self._kafka, self._source = plant.kafka, f"/{plant.site}/review"

    @asynccontextmanager
    async def open(self, *, writes: bool = True) -> AsyncIterator[OpenTopics]:
        """Connect, and disconnect at the end. Raises KafkaError."""
        await ensure_topics(self._kafka, NAMES)
        producer = EventProducer(self._kafka, source=self._source, client_id=CLIENT)
        if not writes:
            yield _Opened(self._kafka, producer)
            return
        async with producer:
            yield _Opened(self._kafka, producer)


class _Opened:
    def __init__(self, kafka: Kafka, producer: EventProducer) -> None:
        self._kafka, self._producer = kafka, producer

    async def recent(self, keys: Sequence[str], now: datetime) -> Recent:
        return await recent(self._kafka, keys, now)

    async def send(self, event: Event) -> Place:
        return await self._producer.send(event)

    async def claims_to(self, place: Place, key: str, now: datetime) -> Sequence[Claim]:
        return await claims_now(self._kafka, key, now)
