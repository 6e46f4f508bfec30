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

SHAPES = np.concatenate([np.linspace(-0.5, -0.02, 12), np.linspace(0.02, 1.0, 20)])
"""Below -0.5 the likelihood of a generalised Pareto distribution is not regular."""

STEPS = 70
WAVERING = np.exp(np.linspace(-0.6, 0.6, 7))
"""The share of scores in the tail is itself not known: so much less or more than was seen."""

DROPS = {"95 %": 1.3528, "99 %": 2.7060}
"""Half of the 90 % and of the 98 % point of chi-squared with one degree of freedom: one-sided bounds."""

POPULATION = 1_000_000


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


def tail_bounds(scores: Floats, rate: float) -> list[float]:
    """Return upper bounds of the score that a share `rate` exceeds, by the tail's profile likelihood, one a drop."""
    ordered = np.sort(scores)
    count = len(ordered)
    above = max(10, int(SHARE * count))
    start = (ordered[-above - 1] + ordered[-above]) / 2
    excess = ordered[-above:] - start
    share = np.minimum(above / count * WAVERING, 0.9)
    binomial = above * np.log(share) + (count - above) * np.log1p(-share)
    # The distance of the quantile from the start of the tail stands for the scale in the likelihood.
    stretch = ((rate / share[:, None]) ** -SHAPES - 1) / SHAPES
    # The next step of the grid: no bound is missed by its width.
    distance = np.geomspace(0.5, 6, STEPS) * excess.mean() * log(above / (rate * count))
    scale = distance[:, None, None] / stretch
    inner = 1 + (SHAPES / scale)[..., None] * excess
    inside = (inner.min(axis=-1) > 0) & (scale > 0)
    logs = np.log(np.where(inside[..., None], inner, 1.0)).sum(axis=-1)
    plain = -above * np.log(np.where(scale > 0, scale, 1.0)) - (1 + 1 / SHAPES) * logs + binomial[:, None]
    profile = np.where(inside, plain, -np.inf).reshape(STEPS, -1).max(axis=1)
    return [
        float(start + distance[min(STEPS - 1, np.flatnonzero(profile >= profile.max() - drop)[-1] + 1)])
        for drop in DROPS.values()
    ]


def covered(draw: Draw, truth: float, count: int, rate: float, draws: int, seed: int) -> tuple[Floats, Floats | None]:
    """Return how often each bound lies above the true score, and its median share of the order statistic's."""
    random = np.random.default_rng(seed)
    hits, shares = [], []
    try:
        rank: int | None = threshold_rank(count, rate)
    except CalibrationError:
        rank = None
    for _ in range(draws):
        scores = draw(random, count)
        bounds = np.array(tail_bounds(scores, rate))
        hits.append(bounds >= truth)
        if rank is not None:
            middle = float(np.median(scores))
            shares.append((bounds - middle) / (float(np.partition(scores, rank - 1)[rank - 1]) - middle))
    return np.mean(hits, axis=0), np.median(shares, axis=0) if shares else None


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
    print(f"how often the bounds of {' and '.join(DROPS)} cover in {given.draws} draws; below {least:.1%} one does not")
    print("keep 95 %. In brackets: its height above the median as a share of the order statistic's\n")
    print("| scores | " + " | ".join(f"{rate:.0%}, n = {count}" for rate, count in cells) + " |")
    print("|---" * (len(cells) + 1) + "|")
    broken = np.zeros((len(cells), len(DROPS)), dtype=np.int64)
    for name, draw in distributions.items():
        population = np.sort(draw(np.random.default_rng(0), POPULATION))
        row = []
        for place, (rate, count) in enumerate(cells):
            truth = float(population[int((1 - rate) * POPULATION)])
            shares, heights = covered(draw, truth, count, rate, given.draws, seed=count)
            broken[place] += shares < least
            said = " and ".join(f"{100 * share:.0f}" for share in shares)
            row.append(said if heights is None else f"{said} ({', '.join(f'{one:.2f}' for one in heights)})")
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)
    ends = [f"{' and '.join(map(str, some))} of {len(distributions)}" for some in broken.tolist()]
    print("| does not keep it | " + " | ".join(ends) + " |")


if __name__ == "__main__":
    main()
