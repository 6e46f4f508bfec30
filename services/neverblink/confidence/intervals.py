"""How far a figure may be from what it stands for: intervals of 95 % confidence, and bounds of one side."""

import math
from typing import NamedTuple

from scipy.special import betaincinv

CONFIDENCE = 0.95
_DEVIATIONS = 1.959964


class Interval(NamedTuple):
    """From `low` to `high`, both shares."""

    low: float
    high: float


def share_interval(count: float, total: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a share of which `count` of `total` were seen.

    Exact: it holds the true share at least as often as it says, whatever that is (C. J. Clopper and E. S. Pearson,
    Biometrika 26, 1934). Of an empty sample it is everything. Counts may be fractions, for plans of larger samples.
    """
    if total <= 0:
        return Interval(0.0, 1.0)
    tail = (1 - confidence) / 2
    return Interval(1 - upper_bound(total - count, total, 1 - tail), upper_bound(count, total, 1 - tail))


def upper_bound(count: float, total: float, confidence: float = CONFIDENCE) -> float:
    """Return what a share is at most, of which `count` of `total` were seen: the upper end of Clopper and Pearson's.

    It is the share p of which no more than `count` are seen with probability 1 − `confidence`: the quantile of
    Beta(count + 1, total − count).
    """
    return 1.0 if count >= total else float(betaincinv(count + 1, total - count, confidence))


def auroc_interval(auroc: float, good: int, defective: int) -> Interval:
    """Return the interval of an AUROC of so many images (J. A. Hanley and B. J. McNeil, Radiology 143, 1982).

    A perfect one of few images is as wide as that of the smallest fault that they could have shown.
    """
    value = min(auroc, 1 - 0.5 / (good * defective))
    first, second = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (defective - 1) * (first - value**2) + (good - 1) * (second - value**2)
    half = _DEVIATIONS * math.sqrt(max(spread, 0.0) / (good * defective))
    return Interval(max(0.0, value - half), 1.0 if auroc == 1 else min(1.0, auroc + half))
