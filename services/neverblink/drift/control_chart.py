"""An EWMA control chart for a signal whose values are not independent.

Roberts' chart assumes independent values. Means of batches of parts on a line are not: lots, shifts and the day's
warmth move them together, and limits from their standard deviation alone would be crossed every day. The limits here
come from the variance that the average itself showed while the chart learnt (the idea of N. F. Zhang, A Statistical
Control Chart for Stationary Process Data, Technometrics 40(1), 1998, with the variance measured instead of summed from
autocorrelations), and never below what independent batches would give.

Sources: S. W. Roberts, Control Chart Tests Based on Geometric Moving Averages, Technometrics 1(3), 1959; the exact
variance of the first samples, λ/(2−λ)·(1−(1−λ)^2t), as in J. M. Lucas and M. S. Saccucci, Exponentially Weighted Moving
Average Control Schemes, Technometrics 32(1), 1990. When a change began is estimated by the last time that the average
was on the other side of its centre (T. Nishina, A comparison of control charts from the viewpoint of change-point
estimation, Quality and Reliability Engineering International 8(6), 1992).
"""

import math
from dataclasses import dataclass, field
from typing import Any, Self

from neverblink.drift.statistics import Moments

WEIGHT = 0.2
"""λ: the newest batch counts a fifth, so the chart looks back over about nine batches ((2−λ)/λ), 450 parts."""

WIDTH = 4.0
"""Limits in standard deviations of the average. 3 would be crossed once in some hundred batches, which is every shift.
A quarter has about 2,000 averages that have little to do with one another: a normal one is beyond 4 in 0.13 of them.
4.5 was no calmer on seeds 0 to 9 of `bench/drift_detection.py`, and slower; on other seeds 4 raises more false alarms
than that (docs/benchmarks.md, "Drift")."""


@dataclass(slots=True)
class ControlChart:
    """The average, its variance while learning, and since when it has been on one side.

    While `learning`, values shape the limits; afterwards they are held against them. `least` is the smallest
    deviation that matters to anybody, in the signal's unit: closer limits are of no use.
    """

    average: float = 0.0
    values: int = 0
    batches: Moments = field(default_factory=Moments)
    averages: Moments = field(default_factory=Moments)
    side: int = 0
    side_since: float = -math.inf
    side_values: int = 0

    def learn(self, deviation: float, moment: float) -> None:
        """Take a batch's deviation from the expected value, at its event time, as an example of no drift."""
        self.batches.add(deviation)
        self._average(deviation, moment)
        if self.values > 2 / WEIGHT:  # before, the average is still near its start and would look too calm
            self.averages.add(self.average)

    def watch(self, deviation: float, moment: float) -> None:
        """Take a batch's deviation from the expected value, at its event time."""
        self._average(deviation, moment)

    def sigma(self) -> float:
        """Return the standard deviation of the average now, by what was learnt."""
        independent = self.batches.variance * WEIGHT / (2 - WEIGHT)
        # Around the expected value, not around their own mean: an offset that was learnt is part of what is normal.
        learnt = self.averages.variance + self.averages.mean**2
        return math.sqrt(max(independent, learnt) * (1 - (1 - WEIGHT) ** (2 * max(self.values, 1))))

    def level(self, least: float, width: float = WIDTH) -> float:
        """Return how far the average is off in limits: 1 is on the upper limit, −1 on the lower one."""
        limit = max(width * self.sigma(), least)
        return self.average / limit if limit > 0 else 0.0

    @property
    def design_effect(self) -> float:
        """Variance of the average over that of independent batches, at least 1: what parts are worth less for it."""
        independent = self.batches.variance * WEIGHT / (2 - WEIGHT)
        return max(1.0, self.averages.variance / independent) if independent > 0 else 1.0

    def _average(self, deviation: float, moment: float) -> None:
        self.average += WEIGHT * (deviation - self.average)
        self.values += 1
        side = (self.average > 0) - (self.average < 0)
        if side != self.side:
            self.side, self.side_since, self.side_values = side, moment, 0
        self.side_values += 1

    def to_json(self) -> dict[str, Any]:
        """Return the chart as JSON values."""
        return {
            "average": self.average,
            "values": self.values,
            "batches": self.batches.to_list(),
            "averages": self.averages.to_list(),
            "side": self.side,
            "side_values": self.side_values,
            "side_since": self.side_since if math.isfinite(self.side_since) else None,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        since = found["side_since"]
        return cls(
            **(
                found
                | {name: Moments.from_list(found[name]) for name in ("batches", "averages")}
                | {"side_since": -math.inf if since is None else since}
            )
        )
