"""Counting parts: each value of Epoch and LastTriggered tells parts, each of them once. Pure."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from neverblink.plc.epochs import EpochWatch
from neverblink.plc.identity_reading import PendingIdentity
from neverblink.plc.word import NUMBERS, parts_behind

MAX_MISSED = 1024  # older ones have passed every gate; a longer gap is told in the log
_AHEAD = NUMBERS // 2

_log = logging.getLogger("neverblink.plc")


@dataclass(frozen=True, slots=True)
class PlcTrigger:
    """One part: `missed` is one that the PLC counted and we did not see in time to photograph.

    `identity` is what the PLC says of the part, where the plant file maps nodes for it.
    """

    epoch: int
    number: int
    at: datetime
    missed: bool = False
    identity: PendingIdentity | None = field(default=None, compare=False)


class PartCounter:
    """Turns values of Epoch and LastTriggered into triggers, each part exactly once. Pure."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._last: int | None = None
        self._epochs = EpochWatch()

    def fault(self, epoch: int, number: int) -> str | None:
        """Take a count before it is counted; return why it cannot follow what was seen, in a sentence."""
        return self._epochs.fault(epoch, number)

    def reconnected(self, epoch: int, number: int, now: datetime) -> Iterator[PlcTrigger]:
        """Take the first values of a session: the baseline, or what was missed since the session before."""
        if self._epoch is None or self._last is None:
            self._epoch, self._last = epoch, number
            return
        yield from self._count(epoch, number, now, seen=False)

    def changed(self, epoch: int, number: int, at: datetime) -> Iterator[PlcTrigger]:
        """Take a new LastTriggered; parts between the last one and this are yielded as missed."""
        yield from self._count(epoch, number, at, seen=True)

    def _went_back(self, number: int) -> bool:
        return self._last is not None and not 0 <= parts_behind(number, self._last) < _AHEAD

    def _count(self, epoch: int, number: int, at: datetime, *, seen: bool) -> Iterator[PlcTrigger]:
        if self._last is None or (epoch == self._epoch and self._went_back(number)):
            self._epoch, self._last = epoch, number
            return
        # A new epoch counts from 1, and may have passed the old one's last number while we were away. One that goes
        # on counting, after a lane clear, is known by its large number.
        anew = self._went_back(number) or (not seen and number <= MAX_MISSED)
        last = 0 if epoch != self._epoch and anew else self._last
        self._epoch, self._last = epoch, number
        new = parts_behind(number, last)
        if new > MAX_MISSED:
            _log.warning(f"{new} parts were triggered unseen; the last {MAX_MISSED} are reported as missed")
        for behind in range(min(new, MAX_MISSED) - 1, -1, -1):
            yield PlcTrigger(epoch, (number - behind) % NUMBERS, at, missed=not (seen and behind == 0))
