"""What is kept of a measured value, and which values can be measurements at all. Pure."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from neverblink.events import Distribution, Verdict

_LARGEST = 1e15


def unmeasurable(verdict: Verdict) -> str | None:
    """Return why a verdict's numbers cannot be measurements, None for all others: one would spoil every mean."""
    sharpness = None if verdict.quality is None else verdict.quality.sharpness
    for name, value in (
        ("score", verdict.score),
        ("threshold", verdict.threshold),
        ("ratio", verdict.ratio),
        ("sharpness", sharpness),
    ):
        if value is not None and value > _LARGEST:
            return f"the {name} of {value:g} is no measurement: the bound is {_LARGEST:g}"
    return None


@dataclass(slots=True)
class Moments:
    """Count, mean, sum of squared deviations and extremes, updated one value at a time.

    Source: B. P. Welford, Note on a Method for Calculating Corrected Sums of Squares and Products,
    Technometrics 4(3), 1962; merging: T. F. Chan, G. H. Golub, R. J. LeVeque, Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances, COMPSTAT 1982, equation 2.1.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, value: float) -> None:
        """Take one value."""
        self.count += 1
        away = value - self.mean
        self.mean += away / self.count
        self.m2 += away * (value - self.mean)
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    def merge(self, other: "Moments") -> None:
        """Take all of another's values; the other stays as it is."""
        count = self.count + other.count
        if not count:
            return
        away = other.mean - self.mean
        self.m2 += other.m2 + away * away * self.count * other.count / count
        self.mean += away * other.count / count
        self.count = count
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    @property
    def variance(self) -> float:
        """Sample variance, 0 for fewer than two values."""
        return self.m2 / (self.count - 1) if self.count > 1 else 0.0

    @property
    def deviation(self) -> float:
        """Sample standard deviation, 0 for fewer than two values."""
        return math.sqrt(self.variance)

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> Self:
        """Return the moments of (n,) values."""
        if not len(values):
            return cls()
        mean = float(values.mean())
        m2 = float(((values - mean) ** 2).sum())
        return cls(len(values), mean, m2, float(values.min()), float(values.max()))

    def distribution(self) -> Distribution | None:
        """Return what a report says of it, None when there was no value."""
        if not self.count:
            return None
        return Distribution(
            count=self.count,
            mean=self.mean,
            deviation=self.deviation,
            minimum=self.minimum,
            maximum=self.maximum,
        )

    def to_list(self) -> list[float]:
        """Return the five numbers, or nothing when there was no value (JSON has no infinity)."""
        return [self.count, self.mean, self.m2, self.minimum, self.maximum] if self.count else []

    @classmethod
    def from_list(cls, numbers: list[Any]) -> Self:
        """Read what `to_list` wrote."""
        return cls(*numbers)
