"""How many there are of a kind, from the few that were looked at, each of which stands for others too."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from scipy.special import gammaincinv

from neverblink.confidence.intervals import CONFIDENCE, Interval, share_interval


class Gamma(NamedTuple):
    """A gamma distribution, which says how sure a number is: of `shape` and `scale`, mean shape · scale."""

    shape: float
    scale: float


@dataclass(frozen=True, slots=True)
class WeightedCount:
    """The sum of the weights of what was seen: y = Σ w, beside its variance v and the heaviest weight that could come.

    A part that is drawn with share s has the weight 1/s. `heaviest` is that of all parts that could have been seen, so
    that a count of none still has bounds.
    """

    total: float
    variance: float
    heaviest: float

    @classmethod
    def of(cls, seen: float, weight: float = 1.0) -> "WeightedCount":
        """Return the count of so many seen, each of one weight."""
        return cls(seen * weight, seen * weight**2, weight)

    @classmethod
    def of_all(cls, weights: Iterable[float], heaviest: float) -> "WeightedCount":
        """Return the count of what was seen with these weights; v = Σ w², as of a sum of Poisson's counts."""
        known = list(weights)
        return cls(sum(known), sum(weight**2 for weight in known), heaviest)

    @classmethod
    def sampled(cls, seen: int, sample: int, pool: float) -> "WeightedCount":
        """Return how many there are in a pool, of which `sample` were drawn with one share and `seen` were so.

        With the share e of them, the drawn fraction f and w = 1/f, the variance is that of a binomial sample of a pool
        that is a count itself, w²·seen·(1 − e·(1 − f)): Poisson's where they are few or all were looked at, less where
        they are many. For e its exact lower bound is taken, so that few parts do not make it too small.
        """
        weight = pool / sample
        low = share_interval(seen, sample).low
        return cls(seen * weight, seen * weight**2 * (1 - low * (1 - min(1.0, 1 / weight))), weight)

    def __add__(self, other: "WeightedCount") -> "WeightedCount":
        return WeightedCount(
            self.total + other.total, self.variance + other.variance, max(self.heaviest, other.heaviest)
        )

    def times(self, growth: float) -> "WeightedCount":
        """Return what is expected of so many times as many parts: more of them, each with its weight."""
        return WeightedCount(self.total * growth, self.variance * growth, self.heaviest)

    def scaled(self, factor: float) -> "WeightedCount":
        """Return the count with each weight so many times as large."""
        return WeightedCount(self.total * factor, self.variance * factor**2, self.heaviest * factor)

    def below(self) -> Gamma | None:
        """Return what its lower bounds are quantiles of, None where none were seen: the bound is 0.

        Shape y²/v, scale v/y (M. P. Fay and E. J. Feuer, Statistics in Medicine 16, 1997, equation 6). With equal
        weights it is Poisson's exact bound.
        """
        return None if self.total <= 0 else Gamma(self.total**2 / self.variance, self.variance / self.total)

    def above(self) -> Gamma:
        """Return what its upper bounds are quantiles of.

        As if one more had been seen, and that of the heaviest weight w: y + w for y, v + w² for v (the same paper).
        """
        total, variance = self.total + self.heaviest, self.variance + self.heaviest**2
        return Gamma(total**2 / variance, variance / total)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the interval of the number in truth."""
        tail = (1 - confidence) / 2
        below, above = self.below(), self.above()
        low = 0.0 if below is None else float(gammaincinv(below.shape, tail)) * below.scale
        return Interval(low, float(gammaincinv(above.shape, 1 - tail)) * above.scale)
