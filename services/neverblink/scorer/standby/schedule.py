"""Which frames of others are scored now: those that nobody has answered, as late as may be. Pure.

Hedged requests: J. Dean and L. A. Barroso, The Tail at Scale, CACM 56(2), 2013. Instants are seconds, as deadlines are.
"""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

SHARE: Final = 0.05
"""Of a standby's time, for partitions whose owner is slow and lives."""

RESERVE_S: Final = 1.0
"""So much earlier than it need be a frame of a dead scorer is begun: nobody else will, and a machine that stands still
lasts so long."""

_BURST_S: Final = 10.0
"""The share of so much time may be spent at once."""

_SMOOTHING = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Owed(Generic[T]):
    """A frame of another scorer that has no verdict. `by` is when its verdict must have been sent to be of use."""

    by: float
    partition: int
    offset: int
    verdict: str = field(compare=False)
    size: int = field(compare=False)
    item: T = field(compare=False)


class Took:
    """How long it takes from the beginning to the acknowledged verdict: what few frames exceed."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def learn(self, seconds: float) -> None:
        """Take one measured frame."""
        error = 0.0 if self._mean is None else seconds - self._mean
        self._mean = seconds if self._mean is None else self._mean + _SMOOTHING * error
        self._deviation += _SMOOTHING * (abs(error) - self._deviation)

    def at_least(self, seconds: float) -> None:
        """Take a frame that was given up after so long.

        Without these only the quick ones would count, and what is begun too late would be so again and again.
        """
        if seconds > (self.cautiously() or 0.0):
            self.learn(seconds)

    def cautiously(self) -> float | None:
        """Return the mean and twice its mean deviation, None before anything was measured."""
        return None if self._mean is None else self._mean + 2 * self._deviation


class HedgeSchedule(Generic[T]):
    """Holds at most `bound` frames and `max_bytes` of them, and gives each away once, the earliest first.

    A frame is due when just enough time is left to score it; where its partition is silent, the earlier the longer it
    is, and so early that those that wait behind it are in time too, one after the other. For partitions that are not
    silent no more than `share` of the time is spent.
    """

    def __init__(self, *, bound: int, max_bytes: int, now: float, share: float = SHARE) -> None:
        self._bound = bound
        self._max_bytes = max_bytes
        self._share = share
        self._allowance_s = self._most_s = share * _BURST_S
        self._at = now
        self._held: dict[str, Owed[T]] = {}
        self._bytes = 0
        self._of: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def has_room(self, partition: int, partitions: int) -> bool:
        """Say whether one more frame of a partition may be held, of so many that are read: each has its part."""
        full = len(self._held) >= self._bound or self._bytes >= self._max_bytes
        return not full and self._of[partition] < max(1, self._bound // max(1, partitions))

    def hold(self, owed: Owed[T]) -> None:
        """Keep a frame in mind until it is due, answered or too late."""
        if owed.verdict not in self._held:
            self._held[owed.verdict] = owed
            self._bytes += owed.size
            self._of[owed.partition] += 1

    def let_go(self, verdict: str) -> Owed[T] | None:
        """Forget a frame that is answered; return it where it was held."""
        owed = self._held.pop(verdict, None)
        if owed is not None:
            self._bytes -= owed.size
            self._of[owed.partition] -= 1
        return owed

    def keep_only(self, partitions: Container[int], taken: Mapping[int, int]) -> None:
        """Forget the frames of all other partitions, but keep those that its scorer has still before it.

        `taken` are the partitions that this scorer serves itself by now, and how far it has read each.
        """
        others = [one for one in self._held.values() if one.partition not in partitions]
        for owed in others:
            if owed.offset < taken.get(owed.partition, owed.offset + 1):
                self.let_go(owed.verdict)

    def too_late(self, now: float, each_s: float) -> list[Owed[T]]:
        """Forget and return what cannot be in time any more when one frame takes `each_s`."""
        gone = [owed for owed in self._held.values() if owed.by < now + each_s]
        for owed in gone:
            self.let_go(owed.verdict)
        return gone

    def due(
        self, now: float, *, needs_s: float, each_s: float, silent: Mapping[int, float], room: int
    ) -> list[Owed[T]]:
        """Return at most `room` frames to score now, and forget them.

        `silent` are the partitions whose scorer is taken for dead, and since how many seconds.
        A frame that is begun is answered `needs_s` later, and one behind the other takes `each_s`. Of a scorer that
        lives one is helped with even where that is more than the whole share: the next waits the longer.
        """
        self._accrue(now)
        chosen: list[Owed[T]] = []
        waiting = sorted(self._held.values())
        starts = self._starts(waiting, needs_s, each_s, silent)
        for owed, start in zip(waiting, starts, strict=True):
            if len(chosen) >= room:
                break
            if start > now:
                continue
            if owed.partition not in silent:
                if self._allowance_s < min(each_s, self._most_s):
                    continue
                self._allowance_s -= each_s
            chosen.append(owed)
        for owed in chosen:
            self.let_go(owed.verdict)
        return chosen

    def _starts(
        self, waiting: list[Owed[T]], needs_s: float, each_s: float, silent: Mapping[int, float]
    ) -> list[float]:
        starts, latest = [], float("inf")
        for owed in reversed(waiting):
            start = owed.by - needs_s
            if owed.partition in silent:
                start -= min(RESERVE_S, silent[owed.partition])
                latest = start = min(start, latest - each_s)
            starts.append(start)
        return starts[::-1]

    def _accrue(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), max(now, self._at)
        self._allowance_s = min(self._most_s, self._allowance_s + self._share * passed)
