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

from neverblink.drift.moments import Moments

WEIGHT_PARTS = 20
WEIGHT = 0.15
"""λ: the newest `WEIGHT_PARTS` parts count 15 %, so the chart looks back over some 250 parts ((2−λ)/λ batches of 20),
whatever the size of its batches."""

WIDTH = 4.1
"""Limits in standard deviations of the average. 3 would be crossed every shift: a quarter has thousands of averages."""

SPREAD = 2.0
"""What the variance of an average is expected to be, over that of independent batches: 1.75 is the mean over the seeds
0 to 29 of `bench/drift/detection.py`. A week has five days and fifteen shifts, too few to measure how much they differ;
a week that was calm by chance made limits that its line crossed for ever. So what was learnt counts half and this half,
where that is more. WEIGHT, WIDTH and SPREAD were chosen on those seeds (docs/benchmarks/drift.md)."""


@dataclass(slots=True)
class ControlChart:
    """The average, its variance while learning, and since when it has been on one side.

    While `learning`, values shape the limits; afterwards they are held against them. `least` is the smallest
    deviation that matters to anybody, in the signal's unit: closer limits are of no use.
    """

    average: float = 0.0
    values: int = 0
    parts: int = 0
    batches: Moments = field(default_factory=Moments)
    averages: Moments = field(default_factory=Moments)
    side: int = 0
    side_since: float = -math.inf
    side_parts: int = 0

    def learn(self, deviation: float, moment: float, parts: int = WEIGHT_PARTS) -> None:
        """Take the deviation of a batch of `parts` from the expected value, at its event time, as one without drift."""
        self.batches.add(deviation)
        self._average(deviation, moment, parts)
        if self.parts > 2 * WEIGHT_PARTS / WEIGHT:  # before, the average is near its start and would look too calm
            self.averages.add(self.average)

    def watch(self, deviation: float, moment: float, parts: int = WEIGHT_PARTS) -> None:
        """Take the deviation of a batch of `parts` from the expected value, at its event time."""
        self._average(deviation, moment, parts)

    @property
    def batch_parts(self) -> float:
        """Return how many parts a batch had, on average."""
        return self.parts / self.values if self.values else WEIGHT_PARTS

    def sigma(self) -> float:
        """Return the standard deviation of the average now, by what was learnt."""
        independent = self._independent()
        # Around the expected value, not around their own mean: an offset that was learnt is part of what is normal.
        learnt = self.averages.variance + self.averages.mean**2
        begun = 1 - (1 - WEIGHT) ** (2 * max(self.parts, 1) / WEIGHT_PARTS)
        return math.sqrt(max(learnt, (learnt + SPREAD * independent) / 2) * begun)

    def level(self, least: float, width: float = WIDTH) -> float:
        """Return how far the average is off in limits: 1 is on the upper limit, −1 on the lower one."""
        limit = max(width * self.sigma(), least)
        return self.average / limit if limit > 0 else 0.0

    @property
    def design_effect(self) -> float:
        """Variance of the average over that of independent batches, at least 1: what parts are worth less for it."""
        independent = self._independent()
        return max(1.0, self.averages.variance / independent) if independent > 0 else 1.0

    def _independent(self) -> float:
        weight = _weight(self.batch_parts)
        return self.batches.variance * weight / (2 - weight)

    def _average(self, deviation: float, moment: float, parts: int) -> None:
        self.average += _weight(parts) * (deviation - self.average)
        self.values += 1
        self.parts += parts
        side = (self.average > 0) - (self.average < 0)
        if side != self.side:
            self.side, self.side_since, self.side_parts = side, moment, 0
        self.side_parts += parts

    def to_json(self) -> dict[str, Any]:
        """Return the chart as JSON values."""
        return {
            "average": self.average,
            "values": self.values,
            "parts": self.parts,
            "batches": self.batches.to_list(),
            "averages": self.averages.to_list(),
            "side": self.side,
            "side_parts": self.side_parts,
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


def _weight(parts: float) -> float:
    """Return what a batch of so many parts counts: as much as its `WEIGHT_PARTS` would one after the other."""
    return 1 - math.pow(1 - WEIGHT, parts / WEIGHT_PARTS)
