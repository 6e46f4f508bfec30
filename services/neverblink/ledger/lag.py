"""How far the ledger is behind its topics: in events, and by the age of the oldest of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from neverblink.kafka import Partition, Record

LATE_S = 60.0
"""A ledger that is behind by more is told of: what people ask of it is old."""


class Lag(NamedTuple):
    """Events that are on the topics and not kept, and the seconds since the oldest of them was written."""

    events: int
    seconds: float

    @property
    def sentence(self) -> str | None:
        """Return it in words where it is late, else None."""
        if self.seconds < LATE_S:
            return None
        return f"{self.events} events are not kept yet, the oldest is {self.seconds:.0f} s old"


class LagWatch:
    """Follows what was read and what was kept of each partition."""

    def __init__(self) -> None:
        self._kept: dict[Partition, int] = {}
        self._time: dict[Partition, datetime] = {}

    def read(self, records: Sequence[Record]) -> None:
        """Note records that are in hand: what is before them was kept in an earlier life."""
        for record in records:
            if record.place not in self._kept:
                self._kept[record.place] = record.offset
                self._time[record.place] = record.time

    def kept(self, records: Sequence[Record]) -> None:
        """Note that these are kept, or set aside."""
        for record in records:
            if record.offset >= self._kept.get(record.place, 0):
                self._kept[record.place] = record.offset + 1
                self._time[record.place] = record.time

    def now(self, ends: Mapping[Partition, int], moment: datetime | None = None) -> Lag:
        """Return how far behind it is, given the ends of its partitions.

        The oldest event that is missing was written after the last one that is kept.
        """
        missing = {place: end - self._kept[place] for place, end in ends.items() if place in self._kept}
        behind = {place: count for place, count in missing.items() if count > 0}
        if not behind:
            return Lag(0, 0.0)
        since = min(self._time[place] for place in behind)
        return Lag(sum(behind.values()), max(0.0, ((moment or datetime.now(UTC)) - since).total_seconds()))
