"""One consumed record, as every reader of ours sees it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from neverblink.events import Envelope
from neverblink.events.envelope import E, Unreadable, decode
from neverblink.kafka.record_batches import EARLIEST_MS, LATEST_MS

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from neverblink.kafka.spans import Poll

Partition = tuple[str, int]
"""A topic's short name and a partition number."""


@dataclass(frozen=True, slots=True)
class Record:
    """One consumed record. `topic` is the short name, `time` the record's timestamp on the broker.

    `polled` is the poll that brought it, in a process that is traced.
    """

    topic: str
    partition: int
    offset: int
    time: datetime
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    polled: "Poll | None" = field(default=None, compare=False, repr=False)

    @property
    def place(self) -> Partition:
        """Return the topic and partition."""
        return self.topic, self.partition

    @property
    def is_unreadable(self) -> bool:
        """Say whether it stands for what could not be read at all: its key may be unknown."""
        return any(isinstance(name, Unreadable) for name, _ in self.headers)

    def read(self, *kinds: type[E]) -> tuple[E, Envelope]:
        """Read the record as one of `kinds`. Raises EventError with a sentence."""
        return decode(self.headers, self.value, *kinds)


def record_of(raw: "ConsumerRecord[bytes, bytes]", short: Mapping[str, str], polled: "Poll | None") -> Record:
    """Return the record that a client gave; `short` are the topics' short names by their full ones."""
    return Record(
        topic=short[raw.topic],
        partition=raw.partition,
        offset=raw.offset,
        time=record_time(raw.timestamp),
        key=record_key(raw.key),
        value=raw.value or b"",
        headers=record_headers(raw.headers),
        polled=polled,
    )


def record_time(timestamp_ms: float) -> datetime:
    """Return the instant of a record's timestamp, clamped to what a date can hold."""
    return datetime.fromtimestamp(min(max(timestamp_ms, EARLIEST_MS), LATEST_MS) / 1000, UTC)


def record_key(key: bytes | None) -> str:
    """Return the key as text; what is no UTF-8 in it is replaced."""
    return (key or b"").decode(errors="replace")


def record_headers(headers: Iterable[tuple[str, bytes | None]] | Any) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that have a value."""
    return tuple([(name, raw) for name, raw in headers or () if raw is not None])
