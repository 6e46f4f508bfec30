"""How far a reader is behind its topics: in events, and by the age of the oldest of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from neverblink.kafka.record import Partition, Record

LATE_S = 60.0
"""A reader that is behind by more is told of: what people ask of it is old."""


class Lag(NamedTuple):
    """Events that are on the topics and not taken, and the seconds since the oldest of them was written."""

    events: int
    seconds: float

    def sentence(self, taken: str) -> str | None:
        """Return it in words where it is late, else None; `taken` is what its reader does with an event."""
        if self.seconds < LATE_S:
            return None
        return f"{self.events} events are not {taken} yet, the oldest is {self.seconds:.0f} s old"


P = TypeVar("P")


def lag_of(read: Mapping[P, tuple[int, float]], ends: Mapping[P, int], now: float) -> Lag:
    """Return how far behind a reader is: of each partition its next offset, the time of its last record, and its end.

    Times are seconds of the epoch. The oldest event that is missing was written after the last one that was taken.
    """
    behind = {place: end - read[place][0] for place, end in ends.items() if place in read and end > read[place][0]}
    if not behind:
        return Lag(0, 0.0)
    return Lag(sum(behind.values()), max(0.0, now - min(read[place][1] for place in behind)))


class LagWatch:
    """Follows what was read and what was taken of each partition."""

    def __init__(self) -> None:
        self._next: dict[Partition, tuple[int, float]] = {}

    def read(self, records: Sequence[Record]) -> None:
        """Note records that are in hand: what is before them was taken in an earlier life."""
        for record in records:
            if record.place not in self._next:
                self._next[record.place] = (record.offset, record.time.timestamp())

    def taken(self, records: Sequence[Record]) -> None:
        """Note that these are taken, or set aside."""
        for record in records:
            if record.offset >= self._next.get(record.place, (0, 0.0))[0]:
                self._next[record.place] = (record.offset + 1, record.time.timestamp())

    def now(self, ends: Mapping[Partition, int], moment: datetime | None = None) -> Lag:
        """Return how far behind it is, given the ends of its partitions."""
        return lag_of(self._next, ends, (moment or datetime.now(UTC)).timestamp())
