"""Shares of two numbers that are both estimated: one interval, not the worst of two.

Each number has a distribution of its bounds (`WeightedCount.below`, `above`). The bound of what is computed from both
is the quantile of the same computation done with independent draws from the two (M. P. Fay, M. A. Proschan and E.
Brittain, Combining one-sample confidence procedures for inference in the two-sample case, Biometrics 71, 2015). To put
the ends of two intervals of 97.5 % together would hold as well, and be wider by a sixth.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, gammainc, gammaincinv

from neverblink.confidence.intervals import CONFIDENCE, Interval
from neverblink.confidence.weighted_counts import Gamma, WeightedCount

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_LEVELS: npt.NDArray[np.float64] = (_NODES + 1) / 2
_PARTS: npt.NDArray[np.float64] = _WEIGHTS / 2
_STEPS = 44
"""Halvings of the odds from e⁻⁴⁰ to e⁴⁰: exact to eleven places."""


def share_interval_of(hits: WeightedCount, others: WeightedCount, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of hits / (hits + others).

    The share of two gamma variables G₁·b₁ and G₂·b₂ is b₁·x / (b₁·x + b₂·(1 − x)), where x is a beta variable of their
    two shapes. Where each number has one weight for all, the interval is exact: of the parts that were looked at and
    are one or the other, the hits are binomial, with the odds of the true share times the ratio of the weights; then
    this is Clopper and Pearson's interval for them, with its odds taken back.
    """
    tail = (1 - confidence) / 2
    low = _share_quantile(hits.below(), others.above(), tail)
    return Interval(low, 1 - _share_quantile(others.below(), hits.above(), tail))


def share_interval_beside(
    hits: WeightedCount, pool: float, lost: WeightedCount, confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of hits / (hits + rest), where the rest is a pool of known size less what is lost in it.

    False rejects are such: beside them are all passed parts, less the few defective ones. The rest varies as a count of
    its own does, so that nothing lost gives Clopper and Pearson's interval of hits among hits and pool.
    """
    tail = (1 - confidence) / 2
    below = hits.below()
    low = 0.0 if below is None else _beside(below, pool, lost.below(), 1.0, tail)
    return Interval(low, _beside(hits.above(), pool, lost.above(), 0.0, 1 - tail))


def _share_quantile(hits: Gamma | None, others: Gamma, level: float) -> float:
    if hits is None:
        return 0.0
    if not hits.shift and not others.shift:
        drawn = float(betaincinv(hits.shape, others.shape, level))
        mine, theirs = hits.scale * drawn, others.scale * (1 - drawn)
        return mine / (mine + theirs)
    beside = _values(others)

    def reached(odds: float) -> float:
        return float(gammainc(hits.shape, np.maximum(odds * beside - hits.shift, 0) / hits.scale) @ _PARTS)

    return _solved(reached, level)


def _beside(hits: Gamma, pool: float, lost: Gamma | None, more: float, level: float) -> float:
    """Return the share below which hits / (hits + rest) lies with probability `level`.

    Given what is lost, the rest is a gamma variable of shape pool − lost + `more` and scale 1. The shift of the hits is
    taken as one with their mean: what is beside them is so much larger that it does not tell.
    """
    rest = np.maximum(pool - (0.0 if lost is None else _values(lost)) + more, 0)
    certain = rest <= 0  # no rest at all: the share is 1
    shapes = np.broadcast_to(np.where(certain, 1.0, rest), _PARTS.shape)
    scale = hits.scale + hits.shift / hits.shape

    def reached(odds: float) -> float:
        found = betainc(hits.shape, shapes, odds / (odds + scale))
        return float(np.where(certain, 0.0, found) @ _PARTS)

    return _solved(reached, level)


def _values(known: Gamma) -> npt.NDArray[np.float64]:
    """Return its quantiles at Gauss and Legendre's levels: a mean over it is their sum with the weights _PARTS."""
    return np.asarray(known.shift + known.scale * gammaincinv(known.shape, _LEVELS))


def _solved(reached: Callable[[float], float], level: float) -> float:
    """Return the share whose odds are reached with probability `level`."""
    low, high = -40.0, 40.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(math.exp(middle)) < level else (low, middle)
    return 1 / (1 + math.exp(-(low + high) / 2))
