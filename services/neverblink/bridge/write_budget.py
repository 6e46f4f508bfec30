"""How long a write to this PLC takes, learnt from the writes themselves."""

import math
from bisect import bisect_left, insort
from collections import deque

WINDOW = 256
MIN_SAMPLES = 20


class WriteBudget:
    """Rolling 99th percentile of write times, between a floor and a cap.

    Until `MIN_SAMPLES` writes are known it is the cap: of an unknown PLC we expect the worst. A write that
    timed out counts with its time-out.
    """

    def __init__(self, floor_s: float, cap_s: float) -> None:
        self._floor_s = floor_s
        self.cap_s = max(cap_s, floor_s)
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def observe(self, seconds: float) -> None:
        """Take one write's duration."""
        if len(self._recent) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(seconds)
        insort(self._sorted, seconds)

    @property
    def seconds(self) -> float:
        """Return the time that must be left for a write to be worth starting."""
        if len(self._sorted) < MIN_SAMPLES:
            return self.cap_s
        p99 = self._sorted[math.ceil(0.99 * len(self._sorted)) - 1]
        return min(max(p99, self._floor_s), self.cap_s)
