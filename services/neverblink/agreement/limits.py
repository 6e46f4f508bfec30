"""What the manual calls acceptable: AIAG, Measurement Systems Analysis, 4th edition (2010), chapter III, section C."""

import math
from enum import StrEnum

from neverblink.confidence.clusters import ClusteredShare
from neverblink.confidence.intervals import share_interval


class Grade(StrEnum):
    """How the manual calls an appraiser by one figure."""

    ACCEPTABLE = "acceptable"
    MARGINAL = "marginal"
    UNACCEPTABLE = "unacceptable"


EFFECTIVENESS = (0.90, 0.80)
"""At least the first: acceptable; at least the second: marginal. Of the parts that were judged right every time."""

MISS_RATE = (0.02, 0.05)
"""At most. Of all decisions about defective parts, those that called one good."""

FALSE_ALARM_RATE = (0.05, 0.10)
"""At most. Of all decisions about good parts, those that called one defective."""

KAPPA = (0.75, 0.40)
"""Above the first: good agreement; below the second: poor."""


def at_least(share: float | None, limits: tuple[float, float]) -> Grade | None:
    """Return the grade of a figure that should be high; None of none."""
    if share is None:
        return None
    return Grade.ACCEPTABLE if share >= limits[0] else Grade.MARGINAL if share >= limits[1] else Grade.UNACCEPTABLE


def at_most(share: float | None, limits: tuple[float, float]) -> Grade | None:
    """Return the grade of a figure that should be low; None of none."""
    if share is None:
        return None
    return Grade.ACCEPTABLE if share <= limits[0] else Grade.MARGINAL if share <= limits[1] else Grade.UNACCEPTABLE


def worst(*grades: Grade | None) -> Grade | None:
    """Return the worst of several grades; None where there is none."""
    known = [grade for grade in Grade if grade in grades]
    return known[-1] if known else None


def parts_to_show(limit: float) -> int:
    """Return how many parts without one fault show, with 95 % confidence, that a rate is at most `limit`."""
    parts = math.ceil(math.log(0.025) / math.log1p(-limit)) - 1
    while share_interval(0, parts).high > limit:
        parts += 1
    return parts


def is_shown(rate: ClusteredShare, limit: float) -> bool:
    """Say whether the sample shows that a rate is at most `limit`, and not only that nothing speaks against it."""
    return rate.total > 0 and rate.high <= limit
