"""How far a group has come with a topic, and the topic's records, seen from outside: nothing of the group changes."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError

from neverblink.events import TOPICS
from neverblink.kafka.connection import connection_settings, explained
from neverblink.kafka.consumer import EventConsumer
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.record import Partition, Record
from neverblink.plant import Kafka
from neverblink.service_life import given_time
from neverblink.service_life.time_limit import time_limit

_START_S = 10.0
_LOOK_S = 2.0
_STOP_S = 2.0


class Progress(NamedTuple):
    """The offset that a group has committed of a partition, the oldest record's where it has not yet, and its end."""

    committed: int
    end: int


class GroupProgress:
    """Looks at the partitions of a topic and reads those it is asked for. To be used as a context manager.

    `look` and `read` may run at the same time, each once. Nothing is fetched before something is to be read.
    """

    def __init__(self, kafka: Kafka, topic: str, group: str, *, client_id: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._group = group
        self._full = TOPICS[topic].full_name(kafka.topic_prefix)
        settings = connection_settings(kafka, f"{client_id}-offsets")
        self._admin = AIOKafkaAdminClient(**settings, request_timeout_ms=round(1000 * _LOOK_S))
        self._coordinator: int | None = None
        # With one key it takes one partition when it starts, at its end, instead of all, none of which is wanted yet.
        self._consumer = EventConsumer(kafka, topic, client_id=client_id, keys=[""], start="latest")
        # The next offset of each partition that the client has.
        self._at: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        """Connect. Raises KafkaError."""
        await self._consumer.start()
        try:
            async with time_limit(_START_S):
                await self._admin.start()
        except CLIENT_FAULTS as error:
            await self._close()
            raise explained(error, self._kafka, f"look at the group {self._group}") from error
        await self.read({}, most=1, within_s=0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self._consumer.stop()
        await given_time(self._admin.close(), seconds=_STOP_S, name=f"the end of looking at {self._group}")

    @property
    def partitions(self) -> set[int]:
        """Return the numbers of the partitions that the topic has, as far as is known."""
        return self._consumer.partitions

    async def look(self, partitions: Iterable[int]) -> dict[int, Progress]:
        """Return how far the group has come with each of these partitions. Raises KafkaError."""
        places = [TopicPartition(self._full, number) for number in sorted(partitions)]
        if not places:
            return {}
        try:
            async with time_limit(_LOOK_S):
                # Committed before ends: what comes between the two is only seen as waiting.
                committed = await self._committed(places)
                ends = await self._consumer.ends((self._topic, place.partition) for place in places)
                begins = await self._begins([place for place in places if place.partition not in committed], ends)
        except CLIENT_FAULTS as error:
            self._coordinator = None  # it may have moved
            denied = isinstance(error, GroupAuthorizationFailedError)
            right = f"Describe on group {self._group}" if denied else ""
            raise explained(error, self._kafka, f"look at the group {self._group}", right=right) from error
        begin = begins | committed
        return {number: Progress(begin.get(number, 0), end) for (_, number), end in ends.items()}

    async def _committed(self, places: Sequence[TopicPartition]) -> dict[int, int]:
        if self._coordinator is None:
            self._coordinator = await self._admin.find_coordinator(self._group)
        found = await self._admin.list_consumer_group_offsets(self._group, self._coordinator, list(places))
        return {place.partition: one.offset for place, one in found.items() if one.offset >= 0}

    async def _begins(self, places: Sequence[TopicPartition], ends: Mapping[Partition, int]) -> dict[int, int]:
        used = [place for place in places if ends.get((self._topic, place.partition))]
        found = await self._consumer._client.beginning_offsets(used) if used else {}
        return {place.partition: offset for place, offset in found.items()}

    async def read(self, offsets: Mapping[int, int], *, most: int, within_s: float) -> list[Record]:
        """Return the next records of these partitions and of no others, each from its offset on. Raises KafkaError.

        Waits at most `within_s`.
        """
        if any(self._at.get(number) != offset for number, offset in offsets.items()):
            self._consumer.read_alone(*(((self._topic, number), offset) for number, offset in offsets.items()))
            self._at = dict(offsets)
        others = frozenset(place for place in self._consumer.assignment if place[1] not in offsets)
        records = await self._consumer.poll(most, within_s, pause=others)
        self._at |= {record.partition: record.offset + 1 for record in records}
        return records
