"""What a line says of itself: to the PLC in its status words, to people in the log, to whoever asks if it is served."""

from collections.abc import Callable
from enum import StrEnum

from neverblink import telemetry
from neverblink.bridge.instruments import Instruments
from neverblink.events import Outcome
from neverblink.plc.contract import Alarm, BridgeState
from neverblink.plc.word import NUMBERS

DEGRADED_AFTER = 3
ALARM_HOLD_S = 5.0
_ALARMS = {Outcome.LATE: Alarm.LATE, Outcome.UNKNOWN: Alarm.UNKNOWN}


class LinkState(StrEnum):
    """Where the line stands with its PLC."""

    DOWN = "down"
    CONNECTING = "connecting"
    VALIDATING = "validating"
    READY = "ready"
    DEGRADED = "degraded"
    REFUSED = "refused"


class LineStatus:
    """Where one line stands, and the late parts and alarms that its PLC is shown."""

    def __init__(self, line: str, endpoint: str, instruments: Instruments, clock: Callable[[], float]) -> None:
        self.state = LinkState.DOWN
        self.sentence = ""
        """Why the line is not served, as it was last told; empty while it is."""
        self.held = False
        """Whether the line is on hold."""
        self._line = line
        self._endpoint = endpoint
        self._instruments = instruments
        self._clock = clock
        self._log = telemetry.logger("bridge")
        self._alarms: dict[Alarm, float] = {}
        self._troubled_in_a_row = 0
        self._late_count = 0
        self._late_last = 0

    @property
    def is_served(self) -> bool:
        """Return whether there is a session that verdicts go through."""
        return self.state in (LinkState.READY, LinkState.DEGRADED)

    def enter(self, state: LinkState, sentence: str = "") -> None:
        """Take a new state; `sentence` says why, and is told once for as long as it stays the same."""
        self.state = state
        self._instruments.state.set(list(LinkState).index(state), {"line": self._line})
        fields = {"fields": {"line": self._line, "link": str(state), "endpoint": self._endpoint}}
        if state in (LinkState.DOWN, LinkState.REFUSED, LinkState.DEGRADED):
            if sentence != self.sentence:
                self._log.warning(sentence, extra=fields)
            self.sentence = sentence
        elif state is LinkState.READY:
            self.sentence = ""
            self._log.info(f"{self._line} is ready", extra=fields)

    def count(self, outcome: Outcome, number: int) -> None:
        """Take a part's outcome: several in a row that were not confirmed degrade the line, the next one mends it."""
        if outcome is Outcome.CONFIRMED:
            self._troubled_in_a_row = 0
            if self.state is LinkState.DEGRADED:
                self.enter(LinkState.READY)
            return
        self._troubled_in_a_row += 1
        self._late_count += 1
        self._late_last = number
        self.alarm(_ALARMS.get(outcome, Alarm.REFUSED_PART))
        if self._troubled_in_a_row >= DEGRADED_AFTER and self.state is LinkState.READY:
            self.enter(LinkState.DEGRADED, f"{self._troubled_in_a_row} parts in a row were not told in time")

    def alarm(self, alarm: Alarm, hold_s: float = ALARM_HOLD_S) -> None:
        """Show the PLC an alarm for so long."""
        self._alarms[alarm] = self._clock() + hold_s

    def words(self) -> dict[str, int]:
        """Return the values of the PLC's nodes that say how the bridge is, but for its heartbeat."""
        now = self._clock()
        self._alarms = {alarm: until for alarm, until in self._alarms.items() if until > now}
        degraded = self.state is LinkState.DEGRADED
        return {
            "BridgeState": BridgeState.DEGRADED if degraded else BridgeState.READY,
            "LateCount": self._late_count % NUMBERS,
            "LateLastPart": self._late_last,
            "AlarmWord": sum(self._alarms) + (Alarm.HELD if self.held else 0),
        }
