"""How far another host's clock is from ours, from parts that both of us know of. Pure.

The bridge asks the PLC ten times a second how many parts there were: each was triggered between two of its looks, by
our clock, and by the camera's when its verdict says. A scorer has each part after its trigger and before its verdict is
with us. So each part bounds the offset from both sides, whatever Kafka, scorer and network take.
"""

from collections import deque

SAMPLES = 16
LEAST_S = 0.1  # a camera hears of a trigger up to two sampling intervals late: less is no clock
DEADLINES = "its parts' deadlines count by our clock; set both by NTP or PTP"


class TriggerClock:
    """The offset that all of the last parts agree on. Times are seconds."""

    def __init__(self) -> None:
        self._bounds: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._told_s = 0.0

    def part(self, captured: float, since: float, until: float) -> None:
        """Take a part that the camera says was triggered at `captured`, and we know was between the other two."""
        self.bound(since - captured, until - captured)

    def bound(self, least: float, most: float) -> None:
        """Take that one part leaves the offset between these two."""
        bound = least, most
        low, high = self._between()
        if self._bounds and (bound[1] < low or bound[0] > high):
            self._bounds.clear()  # a clock was set: the next parts tell anew
        self._bounds.append(bound)

    @property
    def seconds(self) -> float:
        """Return by how much the other clock is behind ours at least, negative where it is ahead; 0 if unknown."""
        low, high = self._between()
        return low if low > LEAST_S else high if high < -LEAST_S else 0.0

    def news(self, then: str = DEADLINES) -> str | None:
        """Return in words how the clock is and what comes of it, where that has changed since it was last told."""
        now_s = self.seconds
        if abs(now_s - self._told_s) <= LEAST_S:
            return None
        self._told_s = now_s
        if now_s == 0.0:
            return "agrees with ours again"
        way = "behind" if now_s > 0 else "ahead of"
        return f"is {abs(now_s):.2f} s {way} ours: {then}"

    def _between(self) -> tuple[float, float]:
        return max((low for low, _ in self._bounds), default=0.0), min((high for _, high in self._bounds), default=0.0)
