"""Reads events fairly over partitions; offsets move only by hand."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import murmur2

from neverblink import telemetry
from neverblink.events import TOPICS
from neverblink.kafka import positions
from neverblink.kafka.connection import KafkaError, connection_settings, explained
from neverblink.kafka.following_client import CLIENT_FAULTS, has_given_up
from neverblink.kafka.instruments import reconnects
from neverblink.kafka.membership import Membership, leaves_when_it_stops
from neverblink.kafka.rebalances import Rebalances
from neverblink.kafka.record import Partition, Record, record_of
from neverblink.kafka.spans import Polls, Reader
from neverblink.kafka.trouble import Trouble, Watch
from neverblink.plant import Kafka
from neverblink.service_life import given_time
from neverblink.service_life.time_limit import time_limit

_START_TIMEOUT_S = 10.0
_METADATA_TIMEOUT_S = 15.0
_MAX_POLL_INTERVAL_S = 300
_ASK_EVERY_S = _MAX_POLL_INTERVAL_S / 5
_BLOCK_BYTES = 1024 * 1024
_LOOK_EVERY_S = 5.0
_STOP_DEAD_S = 5.0
_REBALANCE_S = 1.0
GOODBYE_S = 2.0
_reconnects = reconnects()


class EventConsumer:
    """A consumer of our topics.

    With `group`, partitions are shared with the group's other members, as `membership` says. Without, it reads all
    partitions of its topics, or those that hold `keys`. `start` says where to begin when there is no committed offset.
    With `gather_s` records come so late at most, in fewer answers: that saves who follows many small ones CPU time.
    """

    def __init__(
        self,
        kafka: Kafka,
        *topics: str,
        client_id: str,
        group: str | None = None,
        membership: Membership | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        keys: Sequence[str] | None = None,
        gather_s: float | None = None,
    ) -> None:
        self._kafka, self._topics = kafka, topics
        self._keys = keys
        self._group = group
        self._start: Literal["earliest", "latest"] = start
        self._short = {TOPICS[name].full_name(kafka.topic_prefix): name for name in topics}
        self._polls = Polls(Reader.of(kafka.topic_prefix, topics, client_id, group))
        self._turn = 0
        self._asked = 0.0
        self._look_at = 0.0
        self._alone = False
        self._left_at: dict[TopicPartition, int] = {}
        self._watch, self._away = Watch(), Watch()
        self._listener = Rebalances(self._short)
        largest = max(TOPICS[name].max_message_bytes for name in topics)
        self._settings: dict[str, Any] = {
            **connection_settings(kafka, client_id),
            "group_id": group,
            "enable_auto_commit": False,
            # A place that is gone is ours to set: the library would move on without a word.
            "auto_offset_reset": "none",
            **(membership or Membership()).settings,
            "max_poll_interval_ms": _MAX_POLL_INTERVAL_S * 1000,
            # One record larger than this is still delivered. Small blocks keep partitions fair to each other: while
            # one partition's block is not drained, aiokafka fetches nothing else from its broker for 0.1 s.
            "max_partition_fetch_bytes": _BLOCK_BYTES,
            "fetch_max_bytes": 4 * largest,
            "fetch_max_wait_ms": 250 if gather_s is None else round(1000 * gather_s),
            "fetch_min_bytes": 1 if gather_s is None else _BLOCK_BYTES,
        }
        self._client = AIOKafkaConsumer(**self._settings)

    def on_revoked(self, callback: Callable[[set[Partition]], Awaitable[None]]) -> None:
        """Call this before partitions move to another member. It must not wait for `poll`."""
        self._listener.revoked = callback

    async def start(self) -> None:
        """Connect and join the group, or take the partitions by hand. Raises KafkaError."""
        try:
            async with time_limit(_START_TIMEOUT_S):
                await self._client.start()
            if self._group is not None:
                self._client.subscribe(topics=list(self._short), listener=self._listener)
                return
            wanted = await self._partitions()
            self._client.assign(sorted(wanted))
            await positions.begin(self._client, wanted, self._start)
        except CLIENT_FAULTS as error:
            await self.stop()
            raise self._explained(error) from error
        except KafkaError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Leave the group and disconnect; a cluster that is away or silent is left without a word after GOODBYE_S."""
        leaves_when_it_stops(self._client)
        await self._let_go(self._client, GOODBYE_S)

    async def _let_go(self, client: AIOKafkaConsumer, seconds: float) -> None:
        await given_time(client.stop(), seconds=seconds, name=f"the end of reading {', '.join(self._topics)}")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def poll(
        self,
        max_records: int = 500,
        timeout_s: float = 0.2,
        *,
        per_partition: int | None = None,
        pause: frozenset[Partition] = frozenset(),
    ) -> list[Record]:
        """Return what has arrived, waiting at most `timeout_s` for the first record.

        aiokafka drains one partition's fetched block before it looks at the next. So where more has arrived than
        `per_partition` records, partitions are asked one by one, each for at most so many, beginning with another
        one every time. Where not, one question to all of them is fair, and 48 questions are not asked.
        Partitions in `pause` are not even fetched: that is the back-pressure. Raises KafkaError; the next call tries
        again.
        """
        await self._look_around()
        self._pause(pause)
        allowed = self._in_turn(pause)
        if not allowed:
            await self._still_here()
            await asyncio.sleep(timeout_s)
            return []
        at_once = min(max_records, per_partition or max_records)
        self._polls.begin()
        found = await self._take(allowed, timeout_s, at_once)
        if len(found) == at_once < max_records:
            found += await self._more(max_records, at_once, pause, found)
        return self._polls.brought(found)

    def _pause(self, places: frozenset[Partition]) -> None:
        """Let the client fetch nothing of these partitions and everything of the others."""
        wanted = {self._native(place) for place in places} & self._client.assignment()
        paused = self._client.paused()
        self._client.pause(*(wanted - paused))
        self._client.resume(*(paused - wanted))

    async def _still_here(self) -> None:
        """Ask a paused partition, in vain: who asks for nothing for long loses its place in the group.

        A member without partitions asks whether it is in the group at all: nobody else is told that it was refused.
        """
        if asyncio.get_running_loop().time() - self._asked > _ASK_EVERY_S:
            await self._take(self._in_turn(frozenset())[:1], 0, 1)
        if self._group is not None and not self._client.assignment():
            try:
                self._client._coordinator.check_errors()
            except CLIENT_FAULTS as error:
                raise self._explained(error) from error
            if self._client._coordinator.generation > 0:
                self._watch.worked()

    async def _more(
        self, max_records: int, per_partition: int, pause: frozenset[Partition], found: Sequence[Record]
    ) -> list[Record]:
        """Return what else has arrived, beside what was `found`."""
        taken = Counter(record.place for record in found)
        more: list[Record] = []
        for partition in self._in_turn(pause):
            room = min(max_records - len(found) - len(more), per_partition - taken[self._short_place(partition)])
            if room > 0:
                more += await self._take([partition], 0, room)
        return more

    async def _take(self, partitions: list[TopicPartition], timeout_s: float, most: int) -> list[Record]:
        self._asked = asyncio.get_running_loop().time()
        # Each partition may say once that its place is gone.
        for _ in range(len(partitions) + 1):
            try:
                # While the group is shared out anew the library waits for that, however long it takes.
                async with time_limit(timeout_s + _REBALANCE_S):
                    batches = await self._client.getmany(
                        *partitions, timeout_ms=int(timeout_s * 1000), max_records=most
                    )
            except (IllegalStateError, TimeoutError):
                return []  # a partition moved to another member meanwhile
            except positions.PLACE_GONE as gone:
                await self._mend(gone)
            except CLIENT_FAULTS as error:
                raise self._explained(error) from error
            else:
                self._watch.worked()
                return [record_of(raw, self._short, self._polls.now) for raws in batches.values() for raw in raws]
        return []

    async def _mend(self, gone: Exception) -> None:
        try:
            await positions.mend(self._client, gone, self._start)
        except IllegalStateError:
            pass  # the partition moved to another member meanwhile
        except CLIENT_FAULTS as error:
            raise self._explained(error) from error

    @property
    def trouble(self) -> Trouble | None:
        """Return what cannot be read now, and since when."""
        since: float | None = self._client._client.unreachable_since
        self._away.follow(since, lambda: str(explained(KafkaConnectionError(), self._kafka, self._reading)))
        return self._away.now or self._watch.now

    @property
    def _reading(self) -> str:
        return f"read {', '.join(self._topics)}"

    def _explained(self, error: BaseException, doing: str = "") -> KafkaError:
        right = ""
        if isinstance(error, GroupAuthorizationFailedError):
            right = f"Read on group {self._group}"
        elif isinstance(error, TopicAuthorizationFailedError):
            right = f"Read and Describe on topic {', '.join(self._short)}"
        told = explained(error, self._kafka, doing or self._reading, right=right)
        self._watch.failed(str(told))
        return told

    async def _look_around(self) -> None:
        """Now and then, see what the library does not tell: that it has given up, or that the topics have changed.

        Raises KafkaError.
        """
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        if has_given_up(self._client):
            await self._begin_again()
        cluster = self._client._client.cluster
        if denied := cluster.unauthorized_topics & self._short.keys():
            raise self._explained(TopicAuthorizationFailedError(denied))
        if self._group is None and not self._alone:
            await self._follow_partitions()
        self._look_at = now + _LOOK_EVERY_S

    async def _begin_again(self) -> None:
        """Put a new client in the place of one that has given up; without a group it reads on where that one was."""
        old = self._client
        if old._fetcher is not None:
            telemetry.logger("kafka").error(
                f"the Kafka client that was to {self._reading} has given up and is replaced by a new one"
            )
            _reconnects.add(1)
            if self._group is None:
                self._left_at = positions.known(old)
            await self._let_go(old, _STOP_DEAD_S)
        self._client = AIOKafkaConsumer(**self._settings)
        await self.start()
        for place, offset in self._left_at.items():
            self._client.seek(place, offset)

    async def _follow_partitions(self) -> None:
        """Read the partitions that there are now: a topic may have been made anew with another number of them."""
        wanted = self._wanted()
        if wanted is None:
            missing = ", ".join(topic for topic in self._short if not self._client.partitions_for_topic(topic))
            self._watch.failed(f"{missing} on Kafka at {self._kafka.bootstrap} is gone; `neverblink topics create`")
            return
        owned = self._client.assignment()
        if wanted == owned:
            return
        try:
            known = await positions.next_offsets(self._client, self._start, committed=False)
            kept = {place: known[place] for place in owned & wanted}
            self._client.assign(sorted(wanted))
            for place, offset in kept.items():
                self._client.seek(place, offset)
            await positions.begin(self._client, wanted - owned, "earliest")
        except CLIENT_FAULTS as error:
            raise self._explained(error) from error
        telemetry.logger("kafka").warning(
            f"{', '.join(self._short)} have other partitions than before: {len(wanted)} are read instead of"
            f" {len(owned)}, the new ones from their beginning"
        )

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offset of each partition; partitions that moved away meanwhile are left out."""
        owned = self._client.assignment()
        mine = {tp: offset for place, offset in offsets.items() if (tp := self._native(place)) in owned}
        if not mine:
            return
        try:
            await self._client.commit(mine)
        except CommitFailedError:
            # The group is rebalancing: the new owner reads from the last commit, and ids make that harmless.
            telemetry.logger("kafka").info(
                "offsets were not committed: the group is rebalancing",
                extra={"fields": {"group": self._group}},
            )
        except CLIENT_FAULTS as error:
            raise self._explained(error, f"commit offsets of {self._group}") from error

    async def seek_to_time(self, moment: datetime) -> None:
        """Read next the first record at or after that instant, or the end where there is none."""
        for place, offset in (await self.offsets_at(moment)).items():
            self._client.seek(self._native(place), offset)

    async def offsets_at(self, moment: datetime) -> dict[Partition, int]:
        """Return, of each assigned partition, the offset of the first record at or after that instant, or the end.

        Raises KafkaError.
        """
        owned = list(self._client.assignment())
        try:
            ends = await self._client.end_offsets(owned)
            places = await self._client.offsets_for_times(dict.fromkeys(owned, int(moment.timestamp() * 1000)))
        except CLIENT_FAULTS as error:
            raise explained(error, self._kafka, f"look into {', '.join(self._topics)}") from error
        return {self._short_place(tp): ends[tp] if (found := places.get(tp)) is None else found.offset for tp in owned}

    def read_alone(self, *places: tuple[Partition, int]) -> None:
        """Read these partitions from their offsets on, and no others. Not for a member of a group."""
        self._alone = True
        self._client.assign([self._native(place) for place, _ in places])
        for place, offset in places:
            self._client.seek(self._native(place), offset)

    def ends_known(self) -> dict[Partition, int]:
        """Return `ends` as they were when the partitions were last read; nothing is asked, some may be missing."""
        known = {tp: self._client.highwater(tp) for tp in self._client.assignment()}
        return {self._short_place(tp): offset for tp, offset in known.items() if offset is not None}

    async def ends(self, places: Iterable[Partition] | None = None) -> dict[Partition, int]:
        """Return the offset after the last record of each assigned partition, or of these."""
        asked = self._client.assignment() if places is None else {self._native(place) for place in places}
        ends = await self._client.end_offsets(list(asked))
        return {self._short_place(tp): offset for tp, offset in ends.items()}

    async def span(self) -> dict[Partition, tuple[int, int]]:
        """Return the offset of the first record and the one after the last of each assigned partition.

        Raises KafkaError.
        """
        owned = list(self._client.assignment())
        try:
            async with time_limit(_METADATA_TIMEOUT_S):
                begins = await self._client.beginning_offsets(owned)
                ends = await self._client.end_offsets(owned)
        except CLIENT_FAULTS as error:
            raise self._explained(error) from error
        return {self._short_place(tp): (begins[tp], ends[tp]) for tp in owned}

    @property
    def partitions(self) -> set[int]:
        """Return the numbers of the partitions that its first topic has, as far as is known."""
        return set(self._client.partitions_for_topic(next(iter(self._short))) or ())

    async def positions(self) -> dict[Partition, int]:
        """Return the next offset to read of each assigned partition. Raises KafkaError."""
        try:
            found = await positions.next_offsets(self._client, self._start, committed=self._group is not None)
        except CLIENT_FAULTS as error:
            raise self._explained(error) from error
        return {self._short_place(tp): offset for tp, offset in found.items()}

    @property
    def bootstrap(self) -> str:
        """Return which Kafka this reads, for sentences about it."""
        return self._kafka.bootstrap

    @property
    def assignment(self) -> set[Partition]:
        """Return the partitions read now."""
        return {(self._short[tp.topic], tp.partition) for tp in self._client.assignment()}

    def _in_turn(self, pause: frozenset[Partition]) -> list[TopicPartition]:
        partitions = sorted(
            tp for tp in self._client.assignment() if (self._short[tp.topic], tp.partition) not in pause
        )
        if not partitions:
            return []
        self._turn = (self._turn + 1) % len(partitions)
        return partitions[self._turn :] + partitions[: self._turn]

    async def _partitions(self) -> set[TopicPartition]:
        """Return the partitions to read by hand. The client learns of a new topic within a second or so."""
        give_up = asyncio.get_running_loop().time() + _METADATA_TIMEOUT_S
        while (wanted := self._wanted()) is None:
            if denied := self._client._client.cluster.unauthorized_topics & self._short.keys():
                raise self._explained(TopicAuthorizationFailedError(denied))
            if asyncio.get_running_loop().time() > give_up:
                topic = next(topic for topic in self._short if not self._client.partitions_for_topic(topic))
                raise KafkaError(
                    f"the topic {topic} does not exist on Kafka at {self._kafka.bootstrap}; "
                    "`neverblink topics create` makes it"
                )
            # Only a topic that the client tracks enters its metadata; `topics()` would fill a copy.
            await self._client._client.set_topics(list(self._short))
            await asyncio.sleep(0.1)
        return wanted

    def _wanted(self) -> set[TopicPartition] | None:
        """Return the partitions that there are of the topics, or those of the keys; None while a topic is unknown."""
        wanted: set[TopicPartition] = set()
        for topic in self._short:
            numbers = self._client.partitions_for_topic(topic)
            if not numbers:
                return None
            if self._keys is not None:
                numbers = {partition_of(key, len(numbers)) for key in self._keys}
            wanted |= {TopicPartition(topic, number) for number in numbers}
        return wanted

    def _short_place(self, tp: TopicPartition) -> Partition:
        return self._short[tp.topic], tp.partition

    def _native(self, place: Partition) -> TopicPartition:
        return TopicPartition(TOPICS[place[0]].full_name(self._kafka.topic_prefix), place[1])


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key, as Kafka's default partitioner chooses it (murmur2)."""
    return (int(murmur2(key.encode())) & 0x7FFFFFFF) % partitions
