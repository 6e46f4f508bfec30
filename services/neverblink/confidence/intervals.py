"""How far a figure may be from what it stands for: intervals of 95 % confidence."""

import math
from typing import NamedTuple

from scipy.stats import beta

_CONFIDENCE = 0.95
_DEVIATIONS = 1.959964


class Interval(NamedTuple):
    """From `low` to `high`, both shares."""

    low: float
    high: float


def share_interval(count: int, total: int) -> Interval:
    """Return the interval of a share of which `count` of `total` were seen (C. J. Clopper and E. S. Pearson, 1934)."""
    tail = (1 - _CONFIDENCE) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - tail, count + 1, total - count))
    return Interval(low, high)


def auroc_interval(auroc: float, good: int, defective: int) -> Interval:
    """Return the interval of an AUROC of so many images (J. A. Hanley and B. J. McNeil, Radiology 143, 1982).

    A perfect one of few images is as wide as that of the smallest fault that they could have shown.
    """
    value = min(auroc, 1 - 0.5 / (good * defective))
    first, second = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (defective - 1) * (first - value**2) + (good - 1) * (second - value**2)
    half = _DEVIATIONS * math.sqrt(max(spread, 0.0) / (good * defective))
    return Interval(max(0.0, value - half), 1.0 if auroc == 1 else min(1.0, auroc + half))
