"""How many changes one account may send from one address: a burst, then so many a second."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

BURST: Final = 200
"""Changes that may come at once: a reviewer with a numeric pad sends three a second at most."""
EACH_S: Final = 10.0
MOST_KEPT: Final = 10_000


class Pace:
    """Counts what was sent; `clock` gives seconds. At most MOST_KEPT are remembered, the oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str, address: str) -> float:
        """Take one change, and return 0; where none is left, return in how many seconds one is."""
        now, key = self._clock(), (name, address)
        left, at = self._left.pop(key, (float(BURST), now))
        left = min(float(BURST), left + (now - at) * EACH_S)
        taken = left >= 1
        self._left[key] = (left - 1 if taken else left, now)
        while len(self._left) > MOST_KEPT:
            self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) / EACH_S
