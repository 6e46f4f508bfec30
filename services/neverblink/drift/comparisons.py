"""How far two samples of a signal are apart, and whether chance explains it. Pure arithmetic on sketches and counts.

Scores of neighbouring parts are alike: the same lot, the same warm lamp. Every test here would take n such parts for
n independent ones and find drift in each hour. So each takes the effective number of parts, n / `design_effect`: the
variance that means of batches really have, over what it would be if parts were independent (R. G. Runger and
T. R. Willemain, Batch-Means Control Charts for Autocorrelated Data, IIE Transactions 28(6), 1996; for counts,
P. McCullagh and J. A. Nelder, Generalized Linear Models, 2nd ed. 1989, section 4.5).
"""

import math
from dataclasses import dataclass

import numpy as np

from neverblink.drift.moments import Moments
from neverblink.drift.score_sketch import ScoreSketch
from neverblink.events import CALIBRATED_SHARES, CalibratedScores

PSI_BINS = 10
"""Bins at the deciles of the reference, as the customary limits assume."""

PSI_WATCH = 0.1
"""The customary lower limit (N. Siddiqi, Credit Risk Scorecards, 2006; the upper one is 0.25). Between normal
distributions of one width PSI is the squared shift in standard deviations: 0.1 is 0.32 σ, 0.25 is 0.5 σ."""

CALIBRATION_CONFIDENCE = 0.99
_LEAST_DIFFERENCE = 0.005
"""Of score / threshold: more than the rounding of the quantiles that travel, less than anybody would act on."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Two distributions compared.

    `ks` is the largest distance of the distribution functions, `ks_sure` what is left of it when both sketches err
    in its favour, `p` the chance of so much without drift; `psi` the population stability index.
    """

    ks: float
    ks_sure: float
    p: float
    psi: float


def gap(current: ScoreSketch, reference: ScoreSketch, *, design_effect: float = 1.0) -> Gap:
    """Compare two sketches of at least one value each.

    `design_effect` divides the counts of the test. Raises ValueError for an empty sketch.
    """
    points = np.union1d(current.points(), reference.points())
    distance = float(np.abs(current.ranks(points) - reference.ranks(points)).max())
    sure = max(0.0, distance - current.rank_error - reference.rank_error)
    effective = 1 / (design_effect / current.count + design_effect / reference.count)
    return Gap(distance, sure, kolmogorov(sure, effective), psi(current, reference))


@dataclass(frozen=True, slots=True)
class CalibrationGap:
    """Passing parts against the good images of the calibration.

    `above` is by how much more parts than images lie above one of the calibration's quantiles, as a share of all, and
    `below` by how much more lie below one; of both, what is left when chance is taken off, 0 at least. `beyond` is the
    share of parts above the highest quantile.
    """

    above: float
    below: float
    beyond: float


def calibration_gap(
    current: ScoreSketch, calibrated: CalibratedScores, *, design_effect: float = 1.0
) -> CalibrationGap:
    """Compare a sketch of at least one value with what a model's calibration images scored.

    The distance of the distribution functions at five quantiles is at most that over all of them, which chance keeps
    below √(ln(2/α) / 2n), whatever the distribution and for every n (A. Dvoretzky, J. Kiefer and J. Wolfowitz, Ann.
    Math. Statist. 27, 1956, with the constant of P. Massart, Ann. Probab. 18, 1990): for 40 images a quarter, for 1,000
    a twentieth. n is that of two samples, the images and the parts over `design_effect`. Raises ValueError for an empty
    sketch.
    """
    quantiles, shares = np.array(calibrated.quantiles), np.array(CALIBRATED_SHARES)
    effective = 1 / (design_effect / current.count + 1 / calibrated.count)
    chance = math.sqrt(math.log(2 / (1 - CALIBRATION_CONFIDENCE)) / (2 * effective))
    # An interpolated quantile is off by up to one image, and a sketch by its own error.
    unsure = chance + 1 / calibrated.count + current.rank_error
    above = shares - current.ranks(quantiles + _LEAST_DIFFERENCE)
    below = current.ranks(quantiles - _LEAST_DIFFERENCE) - shares
    return CalibrationGap(
        max(0.0, float(above.max()) - unsure),
        max(0.0, float(below.max()) - unsure),
        1 - float(current.ranks(quantiles[-1:])[0]),
    )


def kolmogorov(distance: float, effective: float) -> float:
    """Return the chance that two samples of one distribution are at least `distance` apart.

    `effective` is m·n / (m + n). Source: M. A. Stephens, Use of the Kolmogorov–Smirnov, Cramér–von Mises and Related
    Statistics Without Extensive Tables, J. R. Statist. Soc. B 32(1), 1970: Kolmogorov's limit with √n + 0.12 + 0.11/√n.
    """
    root = math.sqrt(effective)
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:  # the series needs many terms there, and its value is 1 to five digits
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 20))
    return min(1.0, max(0.0, math.fsum(terms)))


def psi(current: ScoreSketch, reference: ScoreSketch, bins: int = PSI_BINS) -> float:
    """Return the population stability index: Σ (p − q) ln(p / q) over `bins` at the reference's quantiles.

    Each bin of either counts half a part more than it holds, so that an empty one is finite. Raises ValueError for an
    empty sketch.
    """
    edges = np.unique([reference.quantile(number / bins) for number in range(1, bins)])
    shares = []
    for sketch in (current, reference):
        held = np.diff(np.concatenate([[0.0], sketch.ranks(edges), [1.0]])) * sketch.count + 0.5
        shares.append(held / held.sum())
    p, q = shares
    return float(((p - q) * np.log(p / q)).sum())


def mean_shift(current: Moments, reference: Moments, *, design_effect: float = 1.0) -> float:
    """Return the difference of the means in its standard errors (B. L. Welch, Biometrika 34, 1947).

    0 where either has fewer than two values or neither varies: then nothing can be said.
    """
    if current.count < 2 or reference.count < 2:
        return 0.0
    square = design_effect * (current.variance / current.count + reference.variance / reference.count)
    return (current.mean - reference.mean) / math.sqrt(square) if square > 0 else 0.0


def at_most(hits: int, count: int, rate: float) -> float:
    """Return the chance of at most `hits` in `count` trials: the exact binomial tail (Clopper and Pearson, 1934)."""
    if hits >= count or rate <= 0:
        return 1.0
    if hits < 0 or rate >= 1:
        return 0.0
    return min(1.0, math.fsum(math.exp(_log_binomial(k, count, rate)) for k in range(hits + 1)))


def at_least(hits: int, count: int, rate: float) -> float:
    """Return the chance of at least `hits` in `count` trials, exactly."""
    if hits <= 0:
        return 1.0
    if hits > count or rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    # Summed from `hits` upwards: one minus the other tail would lose every digit of a small chance.
    total, number = 0.0, hits
    while number <= count:
        term = math.exp(_log_binomial(number, count, rate))
        total += term
        if number > count * rate and term < 1e-18 * total:
            break
        number += 1
    return min(1.0, total)


def _log_binomial(hits: int, count: int, rate: float) -> float:
    choose = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return choose + hits * math.log(rate) + (count - hits) * math.log1p(-rate)
