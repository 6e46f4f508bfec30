"""Which frames have been answered lately, where their first verdicts lie, and whose they are. Pure, and bounded."""

from typing import Final, NamedTuple

from neverblink.kafka import Place

KEPT: Final = 32_768
"""At a hundred verdicts a second the last five minutes; some 8 MiB."""

MOST_APART: Final = 16_384
"""Offsets remembered beyond the first that is not answered; a gap that stays so long is nobody's any more."""


class Answer(NamedTuple):
    """The first verdict about a frame that the partition holds."""

    place: Place
    by_standby: bool


class Answers:
    """The newest first verdicts, by id: of several that have the same the first in the partition stands."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._first: dict[str, Answer] = {}

    def __len__(self) -> int:
        return len(self._first)

    def take(self, verdict: str, answer: Answer) -> bool:
        """Remember a verdict; says whether it is the first. A partition's verdicts are taken in order."""
        known = self._first.get(verdict)
        if known is not None:
            return known.place == answer.place
        if len(self._first) >= self._kept:
            del self._first[next(iter(self._first))]
        self._first[verdict] = answer
        return True

    def first(self, verdict: str) -> Answer | None:
        """Return the first verdict of that id, None where none is remembered."""
        return self._first.get(verdict)

    def spares_the_owner(self, verdict: str, *, is_late: bool) -> bool:
        """Say whether a frame's own scorer has nothing to add.

        What it has answered itself before it died it answers once more while there is time, for its evidence may be
        missing; a standby's evidence is the standby's. After the deadline nothing but "late" could be said.
        """
        known = self._first.get(verdict)
        return known is not None and (is_late or known.by_standby)


class Front:
    """The first offset of a partition that is not answered; answers come in any order."""

    def __init__(self, begin: int) -> None:
        self.low = begin
        self._beyond: set[int] = set()

    def add(self, offset: int) -> None:
        """Take an answered offset."""
        if offset < self.low:
            return
        self._beyond.add(offset)
        if len(self._beyond) > MOST_APART:
            self.low = min(self._beyond)
        self._go_on()

    def begin_at(self, offset: int) -> None:
        """Take all before that offset as answered."""
        if offset > self.low:
            self.low = offset
            self._beyond = {one for one in self._beyond if one >= offset}
            self._go_on()

    def _go_on(self) -> None:
        while self.low in self._beyond:
            self._beyond.discard(self.low)
            self.low += 1
