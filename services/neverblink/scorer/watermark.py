"""Which offsets may be committed, although frames are finished out of order."""

from collections.abc import Iterable

Partition = tuple[str, int]


class Watermark:
    """Per partition, the offset below which everything is finished.

    Owned by the service's loop. Holds one entry per frame in hand, so the bound is that of frames in hand.
    """

    def __init__(self) -> None:
        self._open: dict[Partition, dict[int, None]] = {}
        self._next: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}

    def opened(self, place: Partition, offset: int) -> None:
        """Note that a record was taken; offsets of a partition are taken in order."""
        self._open.setdefault(place, {})[offset] = None
        self._next[place] = offset + 1

    def finished(self, place: Partition, offset: int) -> None:
        """Note that a record's effects are acknowledged; an unknown record's partition has moved away."""
        self._open.get(place, {}).pop(offset, None)

    def forget(self, places: Iterable[Partition]) -> None:
        """Drop partitions that now belong to another member."""
        for place in places:
            for kept in (self._open, self._next, self._committed):
                kept.pop(place, None)

    def in_hand(self, place: Partition) -> int:
        """Return how many records of a partition are not finished."""
        return len(self._open.get(place, ()))

    def taken(self) -> dict[Partition, int]:
        """Return, of each partition of which a record was taken since it came here, the offset after the last."""
        return dict(self._next)

    def unfinished(self) -> dict[Partition, int]:
        """Return per partition the first offset that is not finished."""
        # Offsets are opened in order and a dict keeps that order, so its first key is the smallest.
        return {place: next(iter(self._open.get(place, ())), end) for place, end in self._next.items()}

    def due(self) -> dict[Partition, int]:
        """Return the offsets to commit: per partition the first unfinished one, where it has moved."""
        found = self.unfinished()
        return {place: offset for place, offset in found.items() if self._committed.get(place) != offset}

    def committed(self, offsets: dict[Partition, int]) -> None:
        """Note what was committed."""
        self._committed |= {place: offset for place, offset in offsets.items() if place in self._next}
