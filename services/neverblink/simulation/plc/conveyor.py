"""The simulated conveyor: when parts are triggered. Its schedule never drifts, however late it is asked."""

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Conveyor:
    """Triggers at `rate_per_s`, each up to `jitter` of a period early or late; `limit` 0 is endless.

    Times are seconds of any steady clock.
    """

    rate_per_s: float
    jitter: float
    rng: random.Random
    limit: int = 0
    triggered: int = 0
    _origin: float | None = None
    _ticks: int = 0
    _next: float = 0.0

    @property
    def running(self) -> bool:
        """Return whether more parts will be triggered."""
        return self._origin is not None

    def start(self, now: float, limit: int | None = None) -> None:
        """Run from now on; the first part comes one period later."""
        self.limit = self.limit if limit is None else limit
        self.triggered = 0
        self._origin, self._ticks = now, 0
        self._plan()

    def stop(self) -> None:
        """Trigger no more parts; those on the belt go on to the gate."""
        self._origin = None

    def set_rate(self, rate_per_s: float, now: float) -> None:
        """Change the rate from now on."""
        self.rate_per_s = rate_per_s
        self.resume(now)

    def resume(self, now: float) -> None:
        """Go on from now, after a standstill that was nobody's wish; a stopped conveyor stays stopped."""
        if self.running:
            self._origin, self._ticks = now, 0
            self._plan()

    def next_trigger(self) -> float | None:
        """Return when the next part is due, None when the conveyor stands."""
        return self._next if self.running else None

    def trigger(self) -> None:
        """Count one part and plan the next."""
        self.triggered += 1
        if self.limit and self.triggered >= self.limit:
            self.stop()
        else:
            self._plan()

    def _plan(self) -> None:
        # Each tick is placed from the origin, so jitter and lateness of one part never move the next.
        assert self._origin is not None
        self._ticks += 1
        offset = self._ticks + self.jitter * self.rng.uniform(-1, 1)
        self._next = self._origin + offset / self.rate_per_s
