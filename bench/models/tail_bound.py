"""Could the shape of the tail promise more than an order statistic? Peaks over threshold, tried on known distributions.

The highest fifth of n scores is fitted by a generalised Pareto distribution, and the 95 % upper bound of the score that
a share p of good parts exceeds is read from its profile likelihood (S. Coles, An Introduction to Statistical Modeling
of Extreme Values, 2001, 4.3.3). It covers when it lies above the true one: in 95 of 100 draws, if the method may be
offered. Beside it the order statistic where n scores have one, and how much lower the other threshold is.
"""

import argparse
from collections.abc import Callable
from math import log
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from neverblink.vision.calibration import CalibrationError, threshold_rank

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

SHARE = 0.2
"""Of the scores so many are taken for the tail."""

SHAPES = np.concatenate([np.linspace(-0.5, -0.02, 25), np.linspace(0.02, 1.0, 50)])
STEPS = 120
DROP = 1.3528
"""Half of the 90 % point of chi-squared with one degree of freedom: a one-sided bound of 95 %."""

POPULATION = 2_000_000


def _mixture(share: float, shift: float) -> Draw:
    def draw(random: np.random.Generator, count: int) -> Floats:
        odd = random.random(count) < share
        return np.where(odd, random.normal(shift, 1, count), random.normal(0, 1, count))

    return draw


DISTRIBUTIONS: dict[str, Draw] = {
    "uniform": lambda random, count: random.random(count),
    "normal": lambda random, count: random.normal(0, 1, count),
    "logistic": lambda random, count: random.logistic(0, 1, count),
    "Gumbel": lambda random, count: random.gumbel(0, 1, count),
    "exponential": lambda random, count: random.exponential(1, count),
    "gamma 2": lambda random, count: random.gamma(2, 1, count),
    "Weibull 2": lambda random, count: random.weibull(2, count),
    "log-normal 0.25": lambda random, count: random.lognormal(0, 0.25, count),
    "log-normal 0.5": lambda random, count: random.lognormal(0, 0.5, count),
    "log-normal 1": lambda random, count: random.lognormal(0, 1, count),
    "Student 5": lambda random, count: np.abs(random.standard_t(5, count)),
    "Student 3": lambda random, count: np.abs(random.standard_t(3, count)),
    "Pareto 3": lambda random, count: random.pareto(3, count),
    "2 % others, 4 sigma": _mixture(0.02, 4),
    "1.2 % others, 6 sigma": _mixture(0.012, 6),
    "5 % others, 3 sigma": _mixture(0.05, 3),
}


def tail_bound(scores: Floats, rate: float) -> float:
    """Return the 95 % upper bound of the score that a share `rate` exceeds, by the profile likelihood of the tail."""
    ordered = np.sort(scores)
    count = len(ordered)
    above = max(10, int(SHARE * count))
    start = (ordered[-above - 1] + ordered[-above]) / 2
    excess = ordered[-above:] - start
    # The distance of the quantile from the start of the tail stands for the scale in the likelihood.
    ratio = rate * count / above
    if ratio >= 1:
        return float(start)
    stretch = (ratio**-SHAPES - 1) / SHAPES
    rough = excess.mean() * -log(ratio)
    distance = np.geomspace(0.2, 20, STEPS) * rough
    scale = distance[:, None] / stretch
    inner = 1 + SHAPES[None, :, None] * excess / scale[:, :, None]
    inside = inner.min(axis=2) > 0
    logs = np.log(np.where(inside[:, :, None], inner, 1.0)).sum(axis=2)
    likelihood = np.where(inside, -above * np.log(scale) - (1 + 1 / SHAPES) * logs, -np.inf)
    profile = likelihood.max(axis=1)
    kept = np.flatnonzero(profile >= profile.max() - DROP)
    return float(start + distance[kept[-1]])


def covered(draw: Draw, truth: float, count: int, rate: float, draws: int, seed: int) -> tuple[float, float | None]:
    """Return how often the bound lies above the true score, and its threshold's mean share of the order statistic's."""
    random = np.random.default_rng(seed)
    hits, shares = 0, []
    try:
        rank: int | None = threshold_rank(count, rate)
    except CalibrationError:
        rank = None
    for _ in range(draws):
        scores = draw(random, count)
        bound = tail_bound(scores, rate)
        hits += bound >= truth
        if rank is not None:
            middle = float(np.median(scores))
            shares.append((bound - middle) / (float(np.partition(scores, rank - 1)[rank - 1]) - middle))
    return hits / draws, float(np.median(shares)) if shares else None


def main() -> None:
    """Print the coverage of every distribution, number of scores and promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 100, 200, 300, 500])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.02, 0.05])
    parser.add_argument("--scores", type=Path, help="also draw from real scores: a file of bench.models.bound's cache")
    given = parser.parse_args()
    distributions = dict(DISTRIBUTIONS)
    if given.scores is not None:
        with np.load(given.scores) as kept:
            real = kept["scores"].astype(np.float64)
        distributions["real scores"] = lambda random, count: random.choice(real, count, replace=True)
    least = float(binom.ppf(0.05, given.draws, 0.95)) / given.draws
    cells = [(rate, count) for rate in given.rates for count in given.counts]
    print(f"coverage of 95 %, {given.draws} draws each: below {least:.1%} it is broken (in brackets: its threshold")
    print("above the median, as a share of the order statistic's)\n")
    print("| scores | " + " | ".join(f"{rate:.0%}, n = {count}" for rate, count in cells) + " |")
    print("|---" * (len(cells) + 1) + "|")
    broken = dict.fromkeys(cells, 0)
    for name, draw in distributions.items():
        population = np.sort(draw(np.random.default_rng(0), POPULATION))
        row = []
        for rate, count in cells:
            truth = float(population[int((1 - rate) * POPULATION)])
            share, lower = covered(draw, truth, count, rate, given.draws, seed=count)
            broken[rate, count] += share < least
            row.append(f"{share:.1%}" + ("" if lower is None else f" ({lower:.2f})"))
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)
    print("| broken for | " + " | ".join(f"{broken[cell]} of {len(distributions)}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
