"""Agreement beyond what chance would give: Cohen's kappa of two, Fleiss' of any number. Pure: arrays in, figures out.

Decisions are (N, T) bool arrays: N parts, T looks at each, True for defective.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neverblink.confidence.clusters import ClusteredShare, clustered_share

Decisions = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Kappa:
    """(agreed − chance) / (1 − chance). `value` is None where all decisions are the same one: chance explains all.

    `agreed` is the share of pairs of decisions that agree. Bounds and standard error are those of this share, with
    95 % confidence and parts, not looks, as what is independent; chance is taken as it was seen (J. Cohen, Educational
    and Psychological Measurement 20, 1960).
    """

    value: float | None
    low: float
    high: float
    standard_error: float | None
    agreed: ClusteredShare
    chance: float


def cohen(one: Decisions, other: Decisions) -> Kappa:
    """Return how far two agree about the same parts.

    Look by look where both looked equally often; where one of them looked once, as a reference does, its decision is
    beside each of the other's.
    """
    first, second = np.broadcast_arrays(one, other)
    shares = float(first.mean()), float(second.mean())
    chance = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
    alike = (first == second).sum(axis=1)
    return _beyond_chance(clustered_share(alike, np.full(len(alike), first.shape[1])), chance)


def fleiss(looks: Decisions) -> Kappa:
    """Return how far all looks at the same part agree, whoever took them (J. L. Fleiss, Psychological Bulletin 76,
    1971); there are two at least.
    """
    parts, each = looks.shape
    defective = looks.sum(axis=1)
    alike = (defective * (defective - 1) + (each - defective) * (each - defective - 1)) // 2
    share = float(looks.mean())
    chance = share**2 + (1 - share) ** 2
    return _beyond_chance(clustered_share(alike, np.full(parts, each * (each - 1) // 2)), chance)


def table(one: Decisions, other: Decisions) -> npt.NDArray[np.int64]:
    """Return the (2, 2) cross table of two as `cohen` compares them: rows are the first's, good before defective."""
    first, second = np.broadcast_arrays(one, other)
    return np.bincount((2 * first + second).ravel(), minlength=4).reshape(2, 2)


def _beyond_chance(agreed: ClusteredShare, chance: float) -> Kappa:
    if agreed.share is None or math.isclose(chance, 1.0):
        return Kappa(None, -1.0, 1.0, None, agreed, chance)

    def beyond(share: float) -> float:
        return (share - chance) / (1 - chance)

    error = agreed.standard_error
    return Kappa(
        beyond(agreed.share),
        max(-1.0, beyond(agreed.low)),
        beyond(agreed.high),
        None if error is None else error / (1 - chance),
        agreed,
        chance,
    )
