"""How many there are of a kind, from the few that were looked at, each of which stands for others too."""

from dataclasses import dataclass
from typing import NamedTuple

from scipy.special import gammaincinv

from neverblink.confidence.intervals import CONFIDENCE, Interval, share_interval

_ROUNDING = 1e-9


class Gamma(NamedTuple):
    """A gamma distribution, which says how sure a number is: `shift` + `scale` · Gamma(`shape`)."""

    shape: float
    scale: float
    shift: float = 0.0

    def quantile(self, level: float) -> float:
        """Return the value below which it lies with probability `level`."""
        return self.shift + self.scale * float(gammaincinv(self.shape, level))


@dataclass(frozen=True, slots=True)
class WeightedCount:
    """The sum of the weights of what was seen, y = Σ w, beside v = Σ w², u = Σ w³ and the heaviest weight of all.

    A part that is drawn with share s has the weight 1/s. `heaviest` is that of all parts that could have been seen, so
    that a count of none still has bounds.
    """

    total: float
    squares: float
    cubes: float
    heaviest: float

    @classmethod
    def of(cls, seen: float, weight: float = 1.0) -> "WeightedCount":
        """Return the count of so many seen, each of one weight."""
        return cls(seen * weight, seen * weight**2, seen * weight**3, weight)

    @classmethod
    def sampled(cls, seen: int, sample: int, pool: float) -> "WeightedCount":
        """Return how many there are in a pool, of which `sample` were drawn with one share and `seen` were so.

        With the share e of them, the drawn fraction f and w = 1/f, the variance is that of a binomial sample of a pool
        that is a count itself, w²·seen·(1 − e·(1 − f)): Poisson's where they are few or all were looked at, less where
        they are many. For e its exact lower bound is taken, so that few parts do not make it too small.
        """
        weight = pool / sample
        less = 1 - share_interval(seen, sample).low * (1 - min(1.0, 1 / weight))
        # The cubes are those of a gamma distribution without a shift.
        return cls(seen * weight, seen * weight**2 * less, seen * weight**3 * less**2, weight)

    def __add__(self, other: "WeightedCount") -> "WeightedCount":
        return WeightedCount(
            self.total + other.total,
            self.squares + other.squares,
            self.cubes + other.cubes,
            max(self.heaviest, other.heaviest),
        )

    def times(self, growth: float) -> "WeightedCount":
        """Return what is expected of so many times as many parts: more of them, each with its weight."""
        return WeightedCount(self.total * growth, self.squares * growth, self.cubes * growth, self.heaviest)

    def below(self) -> Gamma | None:
        """Return what its lower bounds are quantiles of, None where none were seen: the bound is 0.

        As M. P. Fay and E. J. Feuer have it (Statistics in Medicine 16, 1997), its mean is y, its variance v; and its
        third moment 2u is that of the sum of a gamma variable for each weight, which theirs lacks: where few of a heavy
        weight stand beside many light ones, their upper bound is too low. With equal weights both are Poisson's exact
        bound.
        """
        return _matched(self.total, self.squares, self.cubes) if self.total > 0 else None

    def above(self) -> Gamma:
        """Return what its upper bounds are quantiles of.

        As if one more had been seen, and that of the heaviest weight w (the same paper, equation 6): y + w, v + w²,
        u + w³.
        """
        w = self.heaviest
        return _matched(self.total + w, self.squares + w**2, self.cubes + w**3)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the interval of the number in truth."""
        tail = (1 - confidence) / 2
        below = self.below()
        return Interval(0.0 if below is None else below.quantile(tail), self.above().quantile(1 - tail))


def _matched(mean: float, variance: float, cubes: float) -> Gamma:
    """Return the shifted gamma distribution of these moments; the third is twice the cubes."""
    scale = cubes / variance
    shape = variance / scale**2
    shift = mean - shape * scale
    return Gamma(shape, scale, shift if shift > _ROUNDING * mean else 0.0)
