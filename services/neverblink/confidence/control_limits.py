"""Between which limits the shares of subgroups stay while nothing but chance moves them: the p-chart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TAIL = 0.00135
"""What a normal variable's three standard deviations leave out on either side (W. A. Shewhart)."""

FEWEST = 12
"""Subgroups from which on it can be told that they vary more than chance would have them."""

_RANGE = 2 / np.sqrt(np.pi)
"""The mean range of two standard normal values: 1.128, d₂ of the tables."""

_BY_CHANCE = 1.645 * 0.91
"""Over √m: by more than that above 1 the spread of m ranges, whose deviation is 0.91/√m, is in 5 of 100 charts."""


class ControlLimits(NamedTuple):
    """The mean share of all, and one lower and upper limit a subgroup; a share on its limit is still within.

    `spread` is how many times as far as by chance the subgroups lie apart; the limits are so much wider.
    """

    centre: float
    spread: float
    low: tuple[float, ...]
    high: tuple[float, ...]


def control_limits(counts: Sequence[int], sizes: Sequence[int]) -> ControlLimits:
    """Return the limits of the shares counts / sizes, in the order of time; every size is above 0.

    They are quantiles of the binomial distribution of each subgroup's own size, so that few parts and rare defects
    have limits that mean what they say, where p ± 3 √(p (1 − p) / n) is below 0 or far too close. Of many parts a
    process varies more than the binomial law allows, and each subgroup would be an alarm: from FEWEST subgroups on
    their spread is measured by the mean moving range of z = (pᵢ − p) / √(p (1 − p) / nᵢ) over 1.128 (D. B. Laney,
    Improved control charts for attributes, Quality Engineering 14, 2002), and where it is above 1 by more than
    chance each subgroup counts as n / spread² parts.
    """
    from scipy.stats import binom  # not above: a console starts without it, in half a second less

    seen, of = np.asarray(counts, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    centre = float(seen.sum() / of.sum())
    spread = _spread(seen, of, centre)
    alike = np.maximum(np.floor(of / spread**2), 1)
    low = binom.ppf(TAIL, alike, centre) / alike
    high = binom.isf(TAIL, alike, centre) / alike
    return ControlLimits(centre, spread, tuple(map(float, np.maximum(low, 0))), tuple(map(float, high)))


def _spread(seen: "np.ndarray[tuple[int], np.dtype[np.float64]]", of: "np.ndarray[tuple[int], np.dtype[np.float64]]",
            centre: float) -> float:  # fmt: skip
    if len(of) < FEWEST or not 0 < centre < 1:
        return 1.0
    deviations = (seen / of - centre) / np.sqrt(centre * (1 - centre) / of)
    ranges = np.abs(np.diff(deviations))
    found = float(ranges.mean() / _RANGE)
    return found if found > 1 + _BY_CHANCE / np.sqrt(len(ranges)) else 1.0
