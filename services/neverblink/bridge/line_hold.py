"""Whether a line is on hold or in bypass, by the word of people or of its PLC, and which parts that is about. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

from neverblink.events.hold import BYPASS, HELD, PLC, RELEASED, Hold
from neverblink.events.identity import hold_id
from neverblink.plc.contract import LineHold as Said

SKEW_S = 0.2  # trigger and release are told by two hosts: a part of that moment is taken for held

_STATES: Mapping[int, str] = {Said.NONE: RELEASED, Said.HOLD: HELD, Said.BYPASS: BYPASS}


class LineHold:
    """One line's holds. Times are seconds of one wall clock."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._said: dict[str, Hold] = {}
        self._told: str | None = None
        self._plc = RELEASED
        self._held_until = self._bypassed_until = float("-inf")

    @property
    def is_held(self) -> bool:
        """Say whether the line is on hold now."""
        return self._plc == HELD or any(one.is_hold for one in self._said.values())

    @property
    def state(self) -> str:
        """Return where the line stands; a hold is what counts where the gate is in bypass too."""
        return HELD if self.is_held else self._plc

    def heard(self, said: Hold, now: float) -> None:
        """Take what the topic says: of people what counts, of the PLC what was told before."""
        if said.source == PLC:
            self._told = said.state if self._told is None else self._told
            return
        if said.source not in self._said and not said.is_hold:
            # Of a hold that ended before we began nobody else tells the parts that it was about.
            self._held_until = max(self._held_until, min(said.at.timestamp(), now))
        elif self.is_held:
            self._held_until = now
        self._said[said.source] = said

    def asked(self, value: int | None, now: float) -> Hold | None:
        """Take what the PLC says now, None where it has no such node; return it as an event if it is news."""
        state = RELEASED if value is None else _STATES.get(value, HELD)
        if self.is_held:
            self._held_until = now
        if BYPASS in (state, self._plc):
            self._bypassed_until = now
        self._plc = state
        if state == self._told or (value is None and self._told is None):
            return None
        self._told = state
        at = datetime.fromtimestamp(now, UTC)
        return Hold(id=hold_id(self._line, PLC, state, at), line=self._line, source=PLC, state=state, at=at, by="PLC")

    def covers(self, triggered: float) -> bool:
        """Say whether a part that was triggered then and is decided now was on the belt while the line was on hold."""
        return self.is_held or triggered <= self._held_until + SKEW_S

    def bypassed(self, since: float) -> bool:
        """Say whether the gate has been in bypass since then."""
        return self._plc == BYPASS or since <= self._bypassed_until

    @property
    def sentence(self) -> str:
        """Return where the line stands in words."""
        for one in self._said.values():
            if one.is_hold:
                why = f": {one.why}" if one.why else ""
                return (
                    f"{self._line} is on hold since {one.at:%Y-%m-%d %H:%M:%S} UTC by {one.by}{why}; its parts are "
                    "told as held, which rejects them"
                )
        if self._plc == HELD:
            return f"the PLC has {self._line} on hold; its parts are told as held, which rejects them"
        if self._plc == BYPASS:
            return f"the gate of {self._line} is in bypass: the PLC passes parts without asking"
        return f"{self._line} is released"
