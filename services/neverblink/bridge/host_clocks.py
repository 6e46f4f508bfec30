"""The clocks of the hosts that a line's verdicts come from: what is certain of how far they are from ours, and told."""

from collections import defaultdict
from logging import Logger

from neverblink.bridge.trigger_clock import TriggerClock
from neverblink.events import Verdict

_BEHIND = "it takes late parts for early ones; set both by NTP or PTP"
_AHEAD = "it gives up parts as late that have time; set both by NTP or PTP"


class HostClocks:
    """One line's. Times are seconds of our clock."""

    def __init__(self, line: str, log: Logger) -> None:
        self._line = line
        self._log = log
        self._cameras: defaultdict[str, TriggerClock] = defaultdict(TriggerClock)
        self._scorers: defaultdict[str, TriggerClock] = defaultdict(TriggerClock)

    def heard(self, verdict: Verdict, seen: tuple[float, float] | None, now: float) -> float:
        """Take a verdict that we have at `now`; `seen` is between which instants its part was triggered, where known.

        Returns by how much the clock of its camera is behind ours, 0 while that is not certain.
        """
        camera = self._cameras[verdict.station]
        if seen is None:
            return camera.seconds
        camera.part(verdict.times.captured.timestamp(), *seen)
        self._tell("the host of", camera, camera.news(), verdict)
        received, emitted = verdict.times.received, verdict.times.emitted
        if received is not None and emitted is not None:
            scorer = self._scorers[verdict.station]
            scorer.bound(seen[0] - received.timestamp(), now - emitted.timestamp())
            self._tell("the scorer of", scorer, scorer.news(_BEHIND if scorer.seconds > 0 else _AHEAD), verdict)
        return camera.seconds

    def _tell(self, whose: str, clock: TriggerClock, news: str | None, verdict: Verdict) -> None:
        if news is not None:
            self._log.warning(
                f"the clock of {whose} {self._line}/{verdict.station} {news}",
                extra={"fields": {"line": self._line, "station": verdict.station, "offset_s": round(clock.seconds, 3)}},
            )
