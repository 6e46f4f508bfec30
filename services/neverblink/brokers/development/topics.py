"""The topics of the development broker: their settings, their partitions, and what they may hold together."""

import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from neverblink import telemetry
from neverblink.brokers.development.log import PartitionLog
from neverblink.brokers.development.protocol import ErrorCode

MIB = 1024 * 1024
_WEEK_MS = 7 * 24 * 3_600_000
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
UNBOUNDED = -1

HONOURED: Mapping[str, str] = MappingProxyType(
    {
        "cleanup.policy": "delete",
        "max.message.bytes": str(8 * MIB),
        "retention.bytes": str(UNBOUNDED),
        "retention.ms": str(_WEEK_MS),
    }
)
"""The topic settings this broker acts on, with their defaults."""

_ACCEPTED = frozenset(
    {
        "compression.type", "delete.retention.ms", "file.delete.delay.ms", "flush.messages", "flush.ms",
        "index.interval.bytes", "max.compaction.lag.ms", "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms", "min.cleanable.dirty.ratio", "min.compaction.lag.ms",
        "min.insync.replicas", "preallocate", "segment.bytes", "segment.index.bytes", "segment.jitter.ms",
        "segment.ms", "unclean.leader.election.enable",
    }
)  # fmt: skip
"""Settings of Apache Kafka that mean nothing to one node in memory: taken and ignored."""


class TopicRefused(Exception):  # noqa: N818
    """A topic that cannot be made as asked: Kafka's error code and a sentence."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Settings:
    """What a topic is bound to. `given` are the settings as they were asked for."""

    retention_ms: int
    retention_bytes: int
    max_message_bytes: int
    compacted: bool
    given: Mapping[str, str]

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "Settings":
        """Check the settings of a new topic. Raises TopicRefused."""
        unknown = given.keys() - HONOURED.keys() - _ACCEPTED
        if unknown:
            raise TopicRefused(
                ErrorCode.INVALID_CONFIG,
                f"the development broker does not know the topic setting {min(unknown)}",
            )
        effective = {**HONOURED, **given}
        policies = {part.strip() for part in effective["cleanup.policy"].split(",")}
        if not policies or not policies <= {"delete", "compact"}:
            raise TopicRefused(
                ErrorCode.INVALID_CONFIG,
                f"cleanup.policy is {effective['cleanup.policy']!r}: use delete, compact or both",
            )
        compacted = "compact" in policies
        return cls(
            # A compacted topic keeps its records whatever their age, unless it is also told to delete.
            UNBOUNDED if compacted and "delete" not in policies else _number(effective, "retention.ms", -1),
            UNBOUNDED if compacted and "delete" not in policies else _number(effective, "retention.bytes", -1),
            _number(effective, "max.message.bytes", 0),
            compacted,
            dict(given),
        )

    def described(self) -> dict[str, str]:
        """Return every setting that holds for the topic."""
        return {**HONOURED, **self.given}


@dataclass(slots=True)
class Topic:
    """A topic and its partitions."""

    name: str
    settings: Settings
    partitions: list[PartitionLog] = field(default_factory=list)


class Topics:
    """All topics of the broker, within a bound on partitions and on memory.

    `memory_bytes` bounds the records of all topics together: above it the oldest batches go first, those of
    topics that promise to keep everything last.
    """

    # Eviction goes a little below the bound, so that it runs once in a while and not at every record.
    _EVICT_TO = 15 / 16

    def __init__(self, memory_bytes: int, max_partitions: int) -> None:
        self._memory_bytes = memory_bytes
        self._max_partitions = max_partitions
        self._topics: dict[str, Topic] = {}
        self._told: set[str] = set()
        self._log = telemetry.logger("broker")
        self.bytes_held = 0

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._topics.values())

    def get(self, name: str) -> Topic | None:
        """Return the topic, or None."""
        return self._topics.get(name)

    def partition(self, topic: str, partition: int) -> PartitionLog | None:
        """Return the partition's log, or None."""
        found = self._topics.get(topic)
        if found is None or not 0 <= partition < len(found.partitions):
            return None
        return found.partitions[partition]

    def create(
        self, name: str, partitions: int, replicas: int, settings: Mapping[str, str], *, only_check: bool = False
    ) -> None:
        """Make a topic. Raises TopicRefused."""
        check_name(name)
        if name in self._topics:
            raise TopicRefused(ErrorCode.TOPIC_ALREADY_EXISTS, f"the topic {name} exists")
        count = 1 if partitions == -1 else partitions
        self._check_room(count, count)
        if replicas not in {-1, 1}:
            raise TopicRefused(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"{replicas} copies are asked for and the development broker is one node",
            )
        parsed = Settings.parse(settings)
        if only_check:
            return
        self._topics[name] = Topic(name, parsed, [PartitionLog() for _ in range(count)])
        if parsed.compacted:
            self._log.info(
                f"the topic {name} asks for compaction: the development broker keeps every record instead, "
                "within its memory bound"
            )

    def extend(self, name: str, count: int, *, only_check: bool = False) -> None:
        """Give a topic more partitions. Raises TopicRefused."""
        topic = self._topics.get(name)
        if topic is None:
            raise TopicRefused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}")
        have = len(topic.partitions)
        if count <= have:
            raise TopicRefused(
                ErrorCode.INVALID_PARTITIONS,
                f"the topic {name} has {have} partitions; {count} is not more, and partitions cannot be taken away",
            )
        self._check_room(count, count - have)
        if not only_check:
            topic.partitions.extend(PartitionLog() for _ in range(count - have))

    def delete(self, name: str) -> bool:
        """Forget a topic and its records; return whether there was one."""
        topic = self._topics.pop(name, None)
        if topic is None:
            return False
        self.bytes_held -= sum(log.size for log in topic.partitions)
        self._told.discard(name)
        for log in topic.partitions:
            log.wake()
        return True

    def grown(self, topic: Topic, log: PartitionLog, by: int) -> None:
        """Account for an append and keep the topic's and the broker's bound in bytes."""
        self.bytes_held += by
        bound = topic.settings.retention_bytes
        if bound != UNBOUNDED:
            # The newest batch stays whatever its size, as in Kafka, where the segment being written does.
            while log.size > bound and log.batch_count > 1:
                self.bytes_held -= log.drop_oldest()
        if self.bytes_held > self._memory_bytes:
            self._evict()

    def shrunk(self, by: int) -> None:
        """Account for records that were deleted on request."""
        self.bytes_held -= by

    def expire(self, now: float) -> None:
        """Forget batches that arrived longer ago than their topic's retention.ms; `now` in seconds."""
        for topic in self._topics.values():
            if topic.settings.retention_ms == UNBOUNDED:
                continue
            horizon = now - topic.settings.retention_ms / 1000
            for log in topic.partitions:
                while log.oldest is not None and log.oldest < horizon:
                    self.bytes_held -= log.drop_oldest()

    def _evict(self) -> None:
        target = int(self._memory_bytes * self._EVICT_TO)
        for keeps_all in (False, True):
            logs = [
                (log.oldest, index, topic, log)
                for index, (topic, log) in enumerate(
                    (topic, log) for topic in self._topics.values() for log in topic.partitions
                )
                if log.oldest is not None and (topic.settings.retention_ms == UNBOUNDED) is keeps_all
            ]
            heapq.heapify(logs)
            while logs and self.bytes_held > target:
                _, index, topic, log = heapq.heappop(logs)
                self.bytes_held -= log.drop_oldest()
                self._tell(topic, keeps_all=keeps_all)
                if log.oldest is not None:
                    heapq.heappush(logs, (log.oldest, index, topic, log))

    def _tell(self, topic: Topic, *, keeps_all: bool) -> None:
        if topic.name in self._told:
            return
        self._told.add(topic.name)
        text = (
            f"the memory bound of {self._memory_bytes // MIB} MiB is reached: "
            f"the oldest records of {topic.name} are dropped"
        )
        if keeps_all:
            self._log.warning(f"{text}, though it is meant to keep all of them; raise the bound")
        else:
            self._log.info(text)

    def _check_room(self, count: int, more: int) -> None:
        held = sum(len(topic.partitions) for topic in self._topics.values())
        if count < 1 or held + more > self._max_partitions:
            raise TopicRefused(
                ErrorCode.INVALID_PARTITIONS,
                f"{count} partitions are asked for; the development broker holds {held} "
                f"and takes 1 to {self._max_partitions} in all",
            )


def check_name(name: str | None) -> None:
    """Raise TopicRefused for a name that Kafka does not allow."""
    if not name or name in {".", ".."} or not _NAME.fullmatch(name):
        raise TopicRefused(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"{name!r} is no topic name: 1 to 249 letters, digits, dots, hyphens and underscores are",
        )


def _number(settings: Mapping[str, str], name: str, lowest: int) -> int:
    try:
        value = int(settings[name])
    except (TypeError, ValueError):
        value = lowest - 1
    if value < lowest:
        raise TopicRefused(
            ErrorCode.INVALID_CONFIG, f"{name} is {settings[name]!r}: a whole number from {lowest} is needed"
        )
    return value
