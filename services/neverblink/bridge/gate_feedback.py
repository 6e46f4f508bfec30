"""What the gate did, read from GateRing as state: a subscription keeps only the latest value. Pure."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from neverblink.events import GateAction
from neverblink.plc.contract import Confirm, GateCode
from neverblink.plc.word import EPOCHS, NUMBERS, PARTS, decode_gate, newest_number, parts_behind

MEMORY = 4096
CONFIRM_WAIT_S = 2.0
_AHEAD = NUMBERS // 2

_ACTIONS = {
    GateCode.PASSED: GateAction.PASSED,
    GateCode.REJECTED: GateAction.REJECTED,
    GateCode.FAIL_SAFE: GateAction.FAIL_SAFE,
    GateCode.STALE: GateAction.STALE,
}
_CONFIRMED: Mapping[int, bool] = {Confirm.SEEN: True, Confirm.FAILED: False}


@dataclass(frozen=True, slots=True)
class GateEvent:
    """What the gate did with one part. `action` is what it did even where the sensor then disagreed.

    `seen` is when it was first read of the PLC, in seconds.
    """

    epoch: int
    number: int
    action: GateAction
    confirmed: bool | None
    seen: float | None = field(default=None, compare=False)

    @property
    def reported(self) -> GateAction:
        """Return the action to report: a failed confirmation is what matters most."""
        return GateAction.CONFIRM_FAIL if self.confirmed is False else self.action


class GateFeedback:
    """Remembers what was reported, so that each part's gate action is told once, after its confirmation."""

    def __init__(self) -> None:
        self._reported: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._unconfirmed: dict[tuple[int, int], tuple[GateEvent, float]] = {}
        self._epoch: int | None = None
        self._newest: int | None = None

    def read(self, ring: Sequence[int], epoch: int, latest: int, now: float) -> tuple[list[GateEvent], int]:
        """Return the parts whose outcome at the gate is now known, and how many were overwritten unseen.

        `latest` is LastTriggered, read in the same request.
        """
        seen = self._entries(ring, epoch, latest)
        ready = [event for event, confirm in seen if self._is_final(event, confirm, now)]
        present = {(event.epoch, event.number) for event, _ in seen}
        ready += [
            event
            for key, (event, since) in self._unconfirmed.items()
            if key not in present or now - since >= CONFIRM_WAIT_S
        ]
        lost = self._lost({event.number for event, _ in seen}, epoch, latest)
        fresh = {(event.epoch, event.number): event for event in ready}
        since = {key: self._unconfirmed.pop(key, (None, now))[1] for key in fresh}
        events = [replace(fresh[key], seen=since[key]) for key in sorted(fresh) if key not in self._reported]
        for key in fresh:
            self._reported[key] = None
        while len(self._reported) > MEMORY:
            self._reported.popitem(last=False)
        return events, lost

    def _entries(self, ring: Sequence[int], epoch: int, latest: int) -> list[tuple[GateEvent, int]]:
        found: list[tuple[GateEvent, int]] = []
        for word in ring:
            entry = decode_gate(word)
            if entry.action not in _ACTIONS or entry.epoch != epoch % EPOCHS:
                continue
            number = newest_number(entry.part, latest)
            if number > latest and latest < PARTS:
                continue  # from before the counter's start: an old entry that the PLC did not clear
            confirmed = _CONFIRMED.get(entry.confirm)
            found.append((GateEvent(epoch, number, _ACTIONS[GateCode(entry.action)], confirmed), entry.confirm))
        return found

    def _is_final(self, event: GateEvent, confirm: int, now: float) -> bool:
        key = event.epoch, event.number
        if confirm == Confirm.PENDING and key not in self._reported:
            self._unconfirmed.setdefault(key, (event, now))
            return False
        return key not in self._reported

    def _lost(self, numbers: set[int], epoch: int, latest: int) -> int:
        if not numbers:
            return 0
        newest = min(numbers, key=lambda number: parts_behind(latest, number))
        before, self._newest = self._newest, newest
        if self._epoch != epoch or before is None:
            self._epoch = epoch
            return 0
        new = parts_behind(newest, before)
        if new >= _AHEAD:
            return 0
        return new - sum(1 for number in numbers if parts_behind(newest, number) < new)
