"""The PLC's rules at the gate, as the shipped Structured Text has them. Pure: words in, decisions out."""

from dataclasses import dataclass

from neverblink.plc.contract import INSPECT, Code, GateCode
from neverblink.plc.word import decode_verdict


@dataclass(frozen=True, slots=True)
class BeltPart:
    """A part between trigger and gate. Times are seconds of the simulator's steady clock."""

    epoch: int
    number: int
    triggered_at: float
    decide_at: float
    gate_at: float
    triggered_wall: float


def judge(epoch: int, number: int, word: int, *, bridge_alive: bool) -> GateCode:
    """Return what the gate does with a part whose slot reads `word`. Everything but our pass is a reject."""
    said = decode_verdict(word)
    if not bridge_alive or word == 0:
        return GateCode.FAIL_SAFE
    if not said.is_for(epoch, number):
        return GateCode.STALE
    if said.code == Code.PASS:
        return GateCode.PASSED
    return GateCode.FAIL_SAFE if said.code == Code.PENDING else GateCode.REJECTED


def to_inspection(epoch: int, number: int, word: int, action: GateCode) -> bool:
    """Return whether a part goes to the inspection lane: the gate passes it, and the lane's word names it."""
    said = decode_verdict(word)
    return action is GateCode.PASSED and said.is_for(epoch, number) and said.code == INSPECT


@dataclass(slots=True)
class HeartbeatWatch:
    """Is the other side's counter still moving? A counter that never moved is not alive."""

    timeout_s: float
    _value: int | None = None
    _moved_at: float | None = None

    def see(self, value: int, now: float) -> None:
        """Take the counter as it is now; its first value proves nothing."""
        if self._value is not None and value != self._value:
            self._moved_at = now
        self._value = value

    def age_s(self, now: float) -> float | None:
        """Return the seconds since the counter moved, None when it never did."""
        return None if self._moved_at is None else now - self._moved_at

    def alive(self, now: float) -> bool:
        """Return whether it moved within the time-out."""
        age = self.age_s(now)
        return age is not None and age <= self.timeout_s
