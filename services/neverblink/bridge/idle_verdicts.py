"""Verdicts without an effect, told and counted: why the PLC hears nothing of them."""

from collections.abc import Mapping

from neverblink import telemetry
from neverblink.bridge import spans
from neverblink.bridge.instruments import Instruments
from neverblink.bridge.part_tracking import Effect
from neverblink.events import Verdict
from neverblink.plant import Line

_WHY: Mapping[Effect, str] = {
    Effect.LATE: "its part was settled without it, because the deadline had passed",
    Effect.FOREIGN_STATION: "its station is none of this line that the PLC triggers",
    Effect.SPOKEN_TWICE: "its station had spoken of that part before, and the first verdict stands",
    Effect.REFUSED_COUNT: "the PLC counts anew in an epoch that was seen, and the part is called as an earlier one was",
}


class IdleVerdicts:
    """Counts each verdict of a line by its effect, and tells those that had none and should have."""

    def __init__(self, line: Line, instruments: Instruments, recurring: telemetry.Recurring) -> None:
        self._line = line.name
        self._numbered = frozenset(one.name for one in line.stations if one.trigger.kind == "plc")
        self._instruments = instruments
        self._log = telemetry.logger("bridge")
        self._recurring = recurring
        self._untracked = 0

    def count(self, effect: Effect, verdict: Verdict) -> None:
        """Take what a verdict did."""
        self._add(effect)
        if effect in _WHY:
            self._recurring.tell(effect, f"a verdict had no effect: {_WHY[effect]}", fields=self._about(verdict))

    def count_untracked(self, verdict: Verdict) -> None:
        """Take a verdict without a part number: its frame could not be read so far, or the PLC does not trigger it."""
        self._add("untracked")
        if verdict.station in self._numbered:
            self._recurring.tell(
                "unreadable",
                f"a frame of {self._line}/{verdict.station} could not be read as far as its part number "
                f"({verdict.reason}), so the PLC hears nothing of its part and rejects it by itself; the dead letters "
                "have the record",
                fields=self._about(verdict),
            )
            return
        self._untracked += 1
        if self._untracked & self._untracked - 1 == 0:  # the 1st, 2nd, 4th, 8th …
            self._log.warning(
                f"{self._untracked} verdicts of {self._line} carry no part number and cannot be told "
                "to the PLC: let it trigger the station (trigger: {kind: plc})",
                extra={"fields": self._about(verdict)},
            )

    def _add(self, effect: str) -> None:
        spans.took(str(effect))
        self._instruments.verdicts.add(1, {"line": self._line, "effect": str(effect)})

    def _about(self, verdict: Verdict) -> dict[str, str]:
        return {"line": self._line, "station": verdict.station, "part": verdict.part}
