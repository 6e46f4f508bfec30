"""The registry of topics: one place for a topic's name, key, retention and readers."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
MIB = 1024 * 1024
GIB = 1024 * MIB
FOREVER = -1


@dataclass(frozen=True, slots=True)
class Topic:
    """What a topic promises. `retention_ms` of -1 keeps records for ever, `retention_bytes` of -1 however many.

    `compacted_after_ms` is how long a compacted topic keeps what has been replaced at least, so that no reader who was
    away misses a change. `retention_bytes` is per partition, as Kafka counts: what images may take of a broker's disk
    at most. `compression` is gzip, which every client reads without further parts (kafkajs reads neither zstd nor lz4),
    or None for bytes that are compressed already or that must arrive as they came.
    """

    name: str
    key: str
    about: str
    retention_ms: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    compacted: bool = False
    max_message_bytes: int = MIB
    compression: str | None = "gzip"
    retention_bytes: int = -1
    compacted_after_ms: int = 0

    def full_name(self, prefix: str) -> str:
        """Return the name on the broker."""
        return f"{prefix}.{self.name}"

    def settings(self, copies: int) -> dict[str, str]:
        """Return the topic's configuration on the broker, for so many copies of each partition.

        With three copies a write is acknowledged by two: one broker may be away, and no acknowledged record is lost
        with the next one. With two or one, writing must go on without the other.
        """
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "retention.bytes": str(self.retention_bytes),
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": str(2 if copies >= 3 else 1),
            **({"min.compaction.lag.ms": str(self.compacted_after_ms)} if self.compacted_after_ms else {}),
        }


_ALL = (
    Topic(
        "frames", "line/station", "Image bytes, or empty with a dataref.", 6 * HOUR_MS,
        ("camera",), ("scorer", "ledger", "trainer"),
        max_message_bytes=8 * MIB, compression=None, retention_bytes=4 * GIB,
    ),
    Topic(
        "verdicts", "line", "The one decision about each frame.", 4 * WEEK_MS,
        ("scorer", "camera"), ("bridge", "scorer", "drift", "ledger", "console", "trainer", "MES"),
    ),
    Topic(
        "shadow-verdicts", "line", "Scores that must not act: shadow models, late frames.", 4 * WEEK_MS,
        ("scorer",), ("ledger",),
    ),
    Topic(
        "evidence", "line/station", "Anomaly map overlays and thumbnails.", 6 * HOUR_MS,
        ("scorer",), ("ledger",), max_message_bytes=8 * MIB, compression=None, retention_bytes=GIB,
    ),
    Topic(
        "actuations", "line", "What the PLC was told, when, and what its gate did.", 4 * WEEK_MS,
        ("bridge",), ("bridge", "ledger", "console", "MES"),
    ),
    Topic(
        "reviews", "line/station", "A person's confirmation or correction.", FOREVER,
        ("console", "review command"), ("ledger", "console", "review command"),
    ),
    Topic(
        "claims", "line/station", "Who is looking at a verdict, and until when.", WEEK_MS,
        ("console", "review command"), ("ledger", "console", "review command"),
    ),
    Topic(
        "drift", "line", "Window reports and alerts.", 8 * WEEK_MS,
        ("drift",), ("ledger", "SRE"),
    ),
    Topic(
        "models", "line/station", "Which artifact is active or in shadow.", FOREVER,
        ("trainer", "console"), ("scorer", "ledger", "console", "trainer"), compacted=True,
    ),
    Topic(
        "context", "line", "Which order, lot and product is on a line, and from which part on.", FOREVER,
        ("MES", "context command"), ("camera", "context command"), compacted=True,
    ),
    Topic(
        "context-history", "line", "Every value that was put onto the context topic.", FOREVER,
        ("MES", "context command"), ("ledger", "context command"),
    ),
    Topic(
        "challenges", "line", "Which reference part comes to a line, and as which part.", 8 * WEEK_MS,
        ("challenge command", "MES"), ("camera", "ledger"),
    ),
    Topic(
        "alarms", "line", "What a person should know of now: with cause and next step.", 8 * WEEK_MS,
        ("ledger",), ("ledger", "SRE"),
    ),
    Topic(
        "holds", "line/source", "Which line is on hold or in bypass, and who says so.", FOREVER,
        ("hold command", "bridge"), ("bridge", "console", "ledger", "hold command", "MES"), compacted=True,
        compacted_after_ms=4 * WEEK_MS,
    ),
    Topic(
        "replays", "the original key", "Which poison record is written again, by whom and why.", FOREVER,
        ("dead-letters command",), ("dead-letters command",),
    ),
    Topic(
        "services", "service/host/instance", "How each process does, and what will run out there.", FOREVER,
        ("any service",), ("console",), compacted=True,
    ),
    Topic(
        "dead-letters", "the original key", "Poison records, with where and why.", 4 * WEEK_MS,
        ("scorer", "bridge", "drift", "ledger"), ("ledger", "dead-letters command"),
        max_message_bytes=8 * MIB, compression=None,
    ),
)  # fmt: skip

TOPICS: Mapping[str, Topic] = MappingProxyType({topic.name: topic for topic in _ALL})
