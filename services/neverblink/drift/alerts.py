"""When an alert is raised, escalated and cleared: with hysteresis, and at most one open for a signal and station.

A level says how far a signal is off, in limits. An alert is raised when several levels in a row reach 1 and cleared
when many in a row lie below `CLEAR_LEVEL`; in between nothing happens, so a signal that hovers at its limit raises one
alert, not one a batch. What is open is escalated once and never quietly downgraded: it ends when it is over.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from neverblink.drift.statistics import StationKey

CLEAR_LEVEL = 0.6
"""Far enough below 1 that noise of the average itself, a fifth of its limit, does not cross both."""
ACT_LEVEL = 2.0


class Signal(StrEnum):
    """What an alert can be about."""

    PASS_RATIO = "pass-ratio"  # noqa: S105
    DISTRIBUTION = "distribution"
    CALIBRATION = "calibration"
    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    SHARPNESS = "sharpness"
    SATURATION = "saturation"
    INFERENCE = "inference"
    REJECTS_MANY = "rejects-many"
    REJECTS_FEW = "rejects-few"
    UNSCORED = "unscored"
    CHALLENGE_MISSED = "challenge-missed"
    CHALLENGE_ABSENT = "challenge-absent"


@dataclass(frozen=True, slots=True)
class Patience:
    """How many levels in a row raise an alert, and how many clear it."""

    to_raise: int
    to_clear: int


# A signal that creeps comes back within its limits for hours of the day before it leaves them for good.
_BATCHES = Patience(2, 250)
_HOURS = Patience(1, 4)
_SHIFTS = Patience(1, 2)  # levels come once a shift, of hundreds or thousands of parts
PATIENCE: dict[Signal, Patience] = {
    **dict.fromkeys(Signal, _BATCHES),
    Signal.DISTRIBUTION: _SHIFTS,
    Signal.CALIBRATION: _SHIFTS,
    Signal.REJECTS_MANY: _HOURS,
    Signal.REJECTS_FEW: _HOURS,
    Signal.UNSCORED: _HOURS,
    Signal.CHALLENGE_MISSED: Patience(1, 3),  # one known defect that passes is one too many
    Signal.CHALLENGE_ABSENT: Patience(1, 1),
}


@dataclass(frozen=True, slots=True)
class Observation:
    """One level of a signal: how far `found` is from `expected`, seen at event time `moment`.

    `since` is when the change began, by estimate, and `parts` how many passing parts ago that was.
    """

    signal: Signal
    level: float
    expected: float
    found: float
    since: float
    moment: float
    detail: str = ""
    parts: int = 0

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what `asdict` made of one."""
        return cls(**(found | {"signal": Signal(found["signal"])}))


@dataclass(slots=True)
class OpenAlert:
    """What is open, and of which product and artifact."""

    product: str
    artifact: str
    raised: float
    since: float
    acts: bool
    last: Observation


@dataclass(frozen=True, slots=True)
class Transition:
    """What happened to an alert: `stage` is raised, escalated or cleared; `why` says what the level does not."""

    stage: str
    alert: OpenAlert
    why: str = ""


@dataclass(slots=True)
class _Streak:
    artifact: str
    over: int = 0
    under: int = 0
    moment: float = -math.inf


@dataclass(slots=True)
class AlertBook:
    """The open alerts of one line's station, over all its products and artifacts."""

    open: dict[Signal, OpenAlert] = field(default_factory=dict)
    _streaks: dict[tuple[Signal, str], _Streak] = field(default_factory=dict)

    def swap(self, key: StationKey, moment: float) -> list[Transition]:
        """Clear what is open about another artifact of the product: the one that scores now begins anew."""
        gone = [
            alert for alert in self.open.values() if alert.product == key.product and alert.artifact != key.artifact
        ]
        for alert in gone:
            del self.open[alert.last.signal]
            alert.last = replace(alert.last, moment=moment)
        return [Transition("cleared", alert, f"another artifact scores now: {key.artifact[:19]}") for alert in gone]

    def take(self, key: StationKey, observation: Observation) -> list[Transition]:
        """Take one level and return what it changes; one that was taken before changes nothing.

        An alert is cleared by the product and artifact that it was raised for alone (`swap` for another artifact).
        """
        signal = observation.signal
        alert = self.open.get(signal)
        streak = self._streaks.get((signal, key.product))
        if streak is None or streak.artifact != key.artifact:
            streak = self._streaks[signal, key.product] = _Streak(key.artifact)
        if observation.moment <= streak.moment:
            return []
        streak.moment = observation.moment
        streak.over = streak.over + 1 if observation.level >= 1 else 0
        streak.under = streak.under + 1 if observation.level <= CLEAR_LEVEL else 0
        if alert is None:
            return self._raise_if_due(key, observation, streak)
        if (alert.product, alert.artifact) == (key.product, key.artifact):
            return self._escalate_or_clear(alert, observation, streak)
        return []

    def _raise_if_due(self, key: StationKey, observation: Observation, streak: _Streak) -> list[Transition]:
        if streak.over < PATIENCE[observation.signal].to_raise:
            return []
        acts = observation.level >= ACT_LEVEL
        alert = OpenAlert(key.product, key.artifact, observation.moment, observation.since, acts, observation)
        self.open[observation.signal] = alert
        return [Transition("raised", alert)]

    def _escalate_or_clear(self, alert: OpenAlert, observation: Observation, streak: _Streak) -> list[Transition]:
        alert.last = observation
        if streak.under >= PATIENCE[observation.signal].to_clear:
            return [self._clear(observation.signal, observation)]
        if observation.level >= ACT_LEVEL and not alert.acts:
            alert.acts = True
            return [Transition("escalated", alert)]
        return []

    def _clear(self, signal: Signal, observation: Observation) -> Transition:
        alert = self.open.pop(signal)
        alert.last = observation
        return Transition("cleared", alert)

    def to_json(self) -> dict[str, Any]:
        """Return the book as JSON values."""
        return {
            "open": {signal.value: asdict(alert) for signal, alert in self.open.items()},
            "streaks": [[place[0].value, place[1], asdict(streak)] for place, streak in self._streaks.items()],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            {Signal(name): _alert(alert) for name, alert in found["open"].items()},
            {(Signal(name), product): _Streak(**streak) for name, product, streak in found["streaks"]},
        )


def _alert(found: dict[str, Any]) -> OpenAlert:
    return OpenAlert(**(found | {"last": Observation.from_json(found["last"])}))
