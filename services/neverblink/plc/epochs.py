"""An epoch must grow whenever the PLC counts anew: part ids are made of both numbers, and must never meet. Pure."""

from neverblink.plc.word import NUMBERS, parts_behind

EPOCH_NUMBERS = 1 << 16
SETTLE_S = 0.2
"""Epoch and LastTriggered are read one after the other: a PLC that begins anew has written both by then."""

_AHEAD = NUMBERS // 2
_GROWN = EPOCH_NUMBERS // 2
_TORN = 64  # a count this close to the last one was read when the new epoch was already told and its count not yet


class EpochWatch:
    """The highest count that was seen of one PLC, and whether the next ones can follow it."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._last = 0
        self._torn = False
        self._fault: str | None = None

    def seen(self, epoch: int, number: int) -> None:
        """Take a count that somebody else has seen; an older one than ours changes nothing."""
        if self._epoch is None or 0 < (epoch - self._epoch) % EPOCH_NUMBERS < _GROWN:
            self._epoch, self._last = epoch, number
        elif epoch == self._epoch and 0 < parts_behind(number, self._last) < _AHEAD:
            self._last = number

    def fault(self, epoch: int, number: int) -> str | None:
        """Take a count; return in a sentence why it cannot follow what was seen, None where it can.

        Once a PLC has counted anew in an epoch that was seen, that epoch is refused for good: its count passes the
        old one some day, and then looks right.
        """
        if self._epoch is None:
            self._epoch, self._last = epoch, number
            return None
        grown = (epoch - self._epoch) % EPOCH_NUMBERS
        if 0 < grown < _GROWN:
            self._torn = parts_behind(number, self._last) < _TORN
            self._epoch, self._last, self._fault = epoch, number, None
            return None
        ahead = parts_behind(number, self._last)
        if grown == 0 and self._fault is None and (ahead < _AHEAD or self._torn):
            self._torn = self._torn and ahead == 0
            self._last = number
            return None
        if self._fault is None:
            next_epoch = (self._epoch + 1) % EPOCH_NUMBERS
            self._fault = (
                f"the PLC is at part {number} of epoch {epoch}, and part {self._last} of epoch {self._epoch} was seen "
                "before: it counts anew without a new epoch, and its parts would be taken for those of before. Set "
                f"Epoch to {next_epoch} or more, or clear the lane until it is; and keep Epoch in retentive memory, or "
                "let EpochAtLeast say what grows over a restart"
            )
        return self._fault
