"""The topics of claims and answers, followed for as long as the console runs: a reviewer's act opens nothing.

What a reviewer is told is as fresh as where each act reads for itself: the topics' ends are asked, and what lies before
them has been read first.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from neverblink import telemetry
from neverblink.console.reviews import spans
from neverblink.events import Claim, Event, EventError, Review
from neverblink.kafka import EventConsumer, EventProducer, KafkaError, Partition, Place, Record, ensure_topics
from neverblink.kafka.connection import explained
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.trouble import Trouble, Watch
from neverblink.plant import Plant
from neverblink.reviewing.recent import BACK, CLIENT, Recent
from neverblink.reviewing.topics import NAMES, OpenTopics
from neverblink.service_life import time_limit, wait_or_stop

WITHIN_S: Final = 10.0
"""So long one step waits for Kafka; then it has not answered."""

_MOST: Final = 100_000
"""Of claims, and of answers: beyond, the oldest are forgotten, which the ledger has kept long since."""

_POLL_S = 0.5
_AGAIN_S = 3.0


class FollowedTopics:
    """One producer and one consumer for all reviewers. `trouble` says what of Kafka cannot be read now."""

    def __init__(self, plant: Plant, clock: Callable[[], datetime]) -> None:
        self._kafka, self._source = plant.kafka, f"/{plant.site}/review"
        self._clock = clock
        self._log = telemetry.Recurring(telemetry.logger("console"))
        self._watch = Watch()
        self._heard = asyncio.Condition()
        self._consumer: EventConsumer | None = None
        self._producer: EventProducer | None = None
        # A connection answers in order: behind one that waits for records, the ends would wait with it.
        self._ends: EventConsumer | None = None
        self._positions: Mapping[Partition, int] = {}
        self._claims: defaultdict[int, deque[Claim]] = defaultdict(lambda: deque(maxlen=_MOST))
        self._reviews: deque[Review] = deque(maxlen=_MOST)

    @property
    def trouble(self) -> Trouble | None:
        """Return what cannot be read of Kafka now, None while all can."""
        return self._watch.now or (self._consumer.trouble if self._consumer is not None else None)

    async def follow(self, stop: asyncio.Event) -> None:
        """Read the topics until `stop` is set."""
        while not stop.is_set():
            try:
                await ensure_topics(self._kafka, NAMES)
                consumer = EventConsumer(self._kafka, *NAMES, client_id=CLIENT)
                producer = EventProducer(self._kafka, source=self._source, client_id=CLIENT, writes=NAMES)
                ends = EventConsumer(self._kafka, *NAMES, client_id=CLIENT, start="latest")
                async with consumer, producer, ends:
                    await consumer.seek_to_time(self._clock() - BACK)
                    self._forget()
                    self._consumer, self._producer, self._ends = consumer, producer, ends
                    while not stop.is_set():
                        await self._take(consumer, await consumer.poll(timeout_s=_POLL_S))
                        self._watch.worked()
            except KafkaError as error:
                self._watch.failed(str(error))
                self._log.tell("reviews", f"{error}; reviewers are told so")
                await self._told()
                await wait_or_stop(stop, _AGAIN_S)
            finally:
                self._consumer = self._producer = self._ends = None

    @asynccontextmanager
    async def open(self, *, writes: bool = True) -> AsyncIterator[OpenTopics]:
        """Give the topics for one act. Raises KafkaError while they cannot be had."""
        if self._consumer is None:
            try:
                async with time_limit(WITHIN_S), self._heard:
                    await self._heard.wait_for(lambda: self._consumer is not None or self._watch.now is not None)
            except TimeoutError as error:
                raise KafkaError(self._away()) from error
        consumer, producer, ends = self._consumer, self._producer, self._ends
        if consumer is None or producer is None or ends is None:
            raise KafkaError(self._away())
        yield _Opened(self, consumer, producer, ends)

    def of(self, consumer: EventConsumer) -> Recent:
        """Return what is known now. Raises KafkaError when another consumer has taken the place of this one."""
        self._is_still(consumer)
        self._drop_old()
        by_verdict: defaultdict[str, tuple[Review, ...]] = defaultdict(tuple)
        for review in self._reviews:
            by_verdict[review.verdict] += (review,)
        return Recent(tuple(claim for held in self._claims.values() for claim in held), dict(by_verdict))

    def claims_of(self, partition: int) -> Sequence[Claim]:
        """Return the claims of a partition, in their order."""
        return tuple(self._claims[partition])

    async def read_to(self, consumer: EventConsumer, ends: Mapping[Partition, int]) -> None:
        """Wait until all that lies before these offsets is read. Raises KafkaError."""

        def is_read() -> bool:
            self._is_still(consumer)
            return all(self._positions.get(place, 0) >= end for place, end in ends.items())

        try:
            async with time_limit(WITHIN_S), self._heard:
                await self._heard.wait_for(is_read)
        except TimeoutError as error:
            raise KafkaError(self._away()) from error

    def explained(self, error: BaseException) -> KafkaError:
        """Return a client's error in words."""
        return explained(error, self._kafka, f"read {', '.join(NAMES)}")

    async def _take(self, consumer: EventConsumer, records: Sequence[Record]) -> None:
        for record in records:
            try:
                event = record.read(Claim, Review)[0]
            except EventError:
                continue  # not ours to judge: who publishes what is none is told by its other readers
            if isinstance(event, Claim):
                self._claims[record.partition].append(event)
            elif isinstance(event, Review):
                self._reviews.append(event)
        self._positions = await consumer.positions()
        await self._told()

    async def _told(self) -> None:
        async with self._heard:
            self._heard.notify_all()

    def _drop_old(self) -> None:
        oldest = self._clock() - BACK
        while self._reviews and self._reviews[0].at < oldest:
            self._reviews.popleft()
        for held in self._claims.values():
            while held and held[0].at < oldest:
                held.popleft()

    def _forget(self) -> None:
        self._positions = {}
        self._claims.clear()
        self._reviews.clear()

    def _is_still(self, consumer: EventConsumer) -> None:
        if self._consumer is not consumer:
            raise KafkaError(self._away())

    def _away(self) -> str:
        found = self.trouble
        return f"Kafka at {self._kafka.bootstrap} does not answer" if found is None else found.sentence


class _Opened:
    def __init__(
        self, topics: FollowedTopics, consumer: EventConsumer, producer: EventProducer, ends: EventConsumer
    ) -> None:
        self._topics, self._consumer, self._producer, self._ends = topics, consumer, producer, ends

    async def recent(self, keys: Sequence[str], now: datetime) -> Recent:
        try:
            async with time_limit(WITHIN_S):
                # It is to ask, not to read: all is paused, and what has changed of the topics is seen.
                await self._ends.poll(timeout_s=0, pause=frozenset(self._ends.assignment))
                ends = await self._ends.ends()
        except CLIENT_FAULTS as error:
            raise self._topics.explained(error) from error
        await self._topics.read_to(self._consumer, ends)
        return self._topics.of(self._consumer)

    async def send(self, event: Event) -> Place:
        # What Kafka does not take within the time may come later: claims end by themselves, and of two answers of one
        # person the later one counts.
        with spans.telling(event):
            async with time_limit(WITHIN_S):
                return await self._producer.send(event)

    async def claims_to(self, place: Place, key: str, now: datetime) -> Sequence[Claim]:
        await self._topics.read_to(self._consumer, {(Claim.TOPIC, place.partition): place.offset + 1})
        return self._topics.claims_of(place.partition)
