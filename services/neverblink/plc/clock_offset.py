"""How far another clock is from ours, learnt from when things are said to have been and when we hear of them. Pure."""

from collections import deque
from datetime import datetime, timedelta

SAMPLES = 16
LEAST_SAMPLES = 3
# Parts that a stall has kept back are heard of all at once: they say nothing of a clock.
LEAST_SPAN_S = 0.4
USUAL_S = 0.1  # sampling, publishing and the wire take as long; what is beyond for every part is the clock
TRUST_S = 1.0


class ClockOffset:
    """The least time that lies between an instant as stated and our hearing of it, over the last parts.

    A delay is now long and now short; a clock is wrong by the same for all. So what even the fastest part took beyond
    `USUAL_S` is the clock's, and only what the others took beyond the fastest is time that has gone by.
    """

    def __init__(self) -> None:
        self._found: deque[tuple[float, datetime]] = deque(maxlen=SAMPLES)
        self._told_s = 0.0

    @property
    def seconds(self) -> float:
        """Return how far the other clock is behind ours, negative where it is ahead; 0 while it is not known."""
        heard = [at for _, at in self._found]
        if len(heard) < LEAST_SAMPLES or (max(heard) - min(heard)).total_seconds() < LEAST_SPAN_S:
            return 0.0
        least = min(late for late, _ in self._found)
        return least if least > USUAL_S or least < 0 else 0.0

    def moment(self, stated: datetime | None, heard: datetime) -> datetime:
        """Return by our clock when something was that the other clock states, and that we hear of at `heard`."""
        if stated is None:
            return heard
        late = (heard - stated).total_seconds()
        if self._found and abs(late - min(before for before, _ in self._found)) > TRUST_S:
            self._found.clear()  # that clock was set, or we stood still: the next parts tell which
        self._found.append((late, heard))
        delay = late - self.seconds
        return heard - timedelta(seconds=delay) if 0 <= delay <= TRUST_S else heard

    def news(self) -> str | None:
        """Return in words how the clock is, where that has changed since it was last told."""
        now_s = self.seconds
        if abs(now_s - self._told_s) <= USUAL_S:
            return None
        self._told_s = now_s
        if now_s == 0.0:
            return "agrees with ours again"
        way = "behind" if now_s > 0 else "ahead of"
        return f"is {abs(now_s):.2f} s {way} ours: parts count by our clock, and none pays for it; set it by NTP or PTP"
