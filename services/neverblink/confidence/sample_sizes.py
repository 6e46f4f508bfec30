"""How many more parts a figure needs until it is as exact as it is wanted."""

from collections.abc import Callable

from neverblink.confidence.intervals import Interval

_LARGEST = 2.0**30
_STEPS = 24

Grown = Callable[[float], Interval]
"""The interval that is expected of so many times as many parts, of which as large shares are so."""


def reach(estimate: float, interval: Interval) -> float:
    """Return the ± of an interval: how far its farther end is from the estimate."""
    return max(estimate - interval.low, interval.high - estimate)


def growth_for(grown: Grown, estimate: float, within: float) -> float | None:
    """Return how many times as many parts it takes until the figure is exact to ± `within`; 1 where it is now.

    The estimate is taken to stay. None where no number of parts would do.
    """
    if reach(estimate, grown(1.0)) <= within:
        return 1.0
    high = 2.0
    while reach(estimate, grown(high)) > within:
        high *= 2
        if high > _LARGEST:
            return None
    low = high / 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if reach(estimate, grown(middle)) <= within else (middle, high)
    return high
