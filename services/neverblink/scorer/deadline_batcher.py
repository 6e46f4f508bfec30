"""Forms batches: earliest deadline first, never waiting past the moment that makes a frame late.

The knobs have the names and meaning of Triton's dynamic batcher.
"""

import threading
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

_SMOOTHING = 0.2
# A batch that is larger by half and faster by less than this is not worth making its frames wait for each other.
_WORTH = 0.95
# All that waits would be through in a tenth of the time that the most urgent frame has left: order is free.
_PLENTY = 10
_RECENT = 64
# Who was away itself has a backlog with hardly any time left. That says nothing of the frames that come now, and one
# for which a part of others waits is not held up by it for longer than so.
_LATELY_S = 2.0
_SLICE_S = 0.0005
_NO_TIME_S = 1e-9
"""Differences of instants are not exact."""

T = TypeVar("T")


class LateError(Exception):
    """The frame's deadline passed before a batch could take it."""


class BatchClock:
    """How long a batch takes, learnt per size: an exponentially weighted mean of what was measured."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._mean: dict[int, float] = {}
        self._deviation: dict[int, float] = {}
        self._expected: tuple[float, ...] = (0.0,) * max_batch

    def learn(self, size: int, seconds: float) -> None:
        """Take one measured batch."""
        error = seconds - self._mean.get(size, seconds)
        self._mean[size] = self._mean.get(size, seconds) + _SMOOTHING * error
        spread = self._deviation.get(size, 0.0)
        self._deviation[size] = spread + _SMOOTHING * (abs(error) - spread)
        self._expected = self._table()

    @property
    def is_learnt(self) -> bool:
        """Say whether anything was measured."""
        return bool(self._mean)

    def expect(self, size: int) -> float:
        """Return the seconds that a batch of this size will take; 0 before anything was measured."""
        return self._expected[min(size, self._max_batch) - 1]

    def cautiously(self, size: int) -> float:
        """Return the seconds that few batches of this size exceed: twice the mean deviation above the mean."""
        if not self._mean:
            return 0.0
        return self.expect(size) + 2 * self._deviation[self._nearest(size)]

    def gains_by_company(self, size: int, *, unknown: bool = True) -> bool:
        """Say whether a batch of one more takes less time a frame; `unknown` where one of the two was not measured."""
        alone, together = self._mean.get(size), self._mean.get(size + 1)
        if alone is None or together is None:
            return unknown
        return (size + 1) / together * _WORTH >= size / alone

    def largest(self, most: int, slack: float) -> int:
        """Return the largest size up to `most` that takes no longer than `slack` seconds, 0 when none does."""
        return min(most, bisect_right(self._expected, slack + _NO_TIME_S))

    def _table(self) -> tuple[float, ...]:
        # More frames never take less time: what says otherwise is noise.
        seconds, table = 0.0, []
        for size in range(1, self._max_batch + 1):
            nearest = self._nearest(size)
            seconds = max(seconds, self._mean[nearest] * max(1.0, size / nearest))
            table.append(seconds)
        return tuple(table)

    def _nearest(self, size: int) -> int:
        return min(self._mean, key=lambda known: (abs(known - size), known))


@dataclass(order=True, slots=True)
class _Waiting(Generic[T]):
    deadline: float
    order: int
    item: T = field(compare=False)
    station: str = field(compare=False)
    since: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What leaves the queue: a batch for the engine, and those whose deadline passed."""

    batch: Sequence[T] = ()
    expired: Sequence[T] = ()


class DeadlineQueue(Generic[T]):
    """Decides what the engine does next; no clock, no thread. Instants and deadlines are seconds.

    A batch leaves when it is full, when its oldest frame has waited `max_queue_delay_s`, or when the earliest
    deadline less the expected batch time says now; and at once when no frame is `coming`, or when a larger batch is
    known to take no less time a frame. As long as all can be in time, the earliest deadlines leave, so
    many that the first of them is in time. When they cannot, as many are as the engine can do, and the stations take
    turns: one that sends too much displaces its own frames. A frame that cannot be in time displaces none that can.

    They take turns too where there is time in plenty: a backlog whose deadlines are earlier, but far, delays nobody.

    Spare items (late frames, shadow models, parts of others) leave when nothing else waits, and so few that a frame
    that comes meanwhile is still in time, to judge by the least time left that frames came with: the last 64, and for
    parts of others those of the last two seconds.
    """

    def __init__(self, *, max_batch: int, max_queue_delay_s: float) -> None:
        self._max_batch = max_batch
        self._max_delay = max_queue_delay_s
        # No bounds of their own: both hold what the fetcher and the statistics have in hand, and those are bounded.
        self._waiting: list[_Waiting[T]] = []
        self._spare: deque[T] = deque()
        self._urgent = 0  # so many of the spare items, the first ones, go before the others
        # When frames came, and with how much time left.
        self._slacks: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._order = 0
        self.coming = 0
        """How many frames are being decoded: who waits for company waits for these."""
        # When each station last had a frame in a batch, counted in batches; as many entries as there are stations.
        self._served: dict[str, int] = {}
        self._batches = 0
        self.times = BatchClock(max_batch)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T, deadline: float, station: str, now: float) -> None:
        """Hold an item until it leaves in a batch or expires."""
        self._order += 1
        insort(self._waiting, _Waiting(deadline, self._order, item, station, now))
        self._slacks.append((now, deadline - now))

    def put_spare(self, item: T, *, first: bool = False) -> None:
        """Hold an item that no part of ours waits for; `first` is one that a part of others waits for."""
        if first:
            self._spare.insert(self._urgent, item)
            self._urgent += 1
        else:
            self._spare.append(item)

    def drop_spare(self, item: T) -> None:
        """Forget a spare item that nobody waits for any more, where it has not left."""
        if item in self._spare:
            place = self._spare.index(item)
            del self._spare[place]
            self._urgent -= place < self._urgent

    def take(self, now: float) -> Taken[T]:
        """Return what leaves now. Call it when the engine is free."""
        count = bisect_right(self._waiting, now, key=lambda one: one.deadline)
        expired = [one.item for one in self._waiting[:count]]
        del self._waiting[:count]
        wait = self.wait_s(now)
        if wait is None or wait > 0:
            return Taken(expired=expired)
        if not self._waiting:
            size = self._spare_size(now)
            self._urgent = max(0, self._urgent - size)
            return Taken([self._spare.popleft() for _ in range(size)], expired)
        chosen = self._chosen(now)
        leaving = {one.order for one in chosen}
        self._batches += 1
        self._served |= dict.fromkeys((one.station for one in chosen), self._batches)
        self._waiting = [one for one in self._waiting if one.order not in leaving]
        return Taken([one.item for one in chosen], expired)

    def wait_s(self, now: float) -> float | None:
        """Return for how long a batch may still wait for company; None when there is nothing to do."""
        count = len(self._waiting)
        if not count:
            return 0.0 if self._spare_size(now) else self._until_spare(now)
        if count >= self._max_batch or not self.coming or not self.times.gains_by_company(count):
            return 0.0
        oldest = min(one.since for one in self._waiting)
        latest_start = self._waiting[0].deadline - self.times.cautiously(count + 1)
        return max(0.0, min(oldest + self._max_delay, latest_start) - now)

    def _chosen(self, now: float) -> list[_Waiting[T]]:
        first = bisect_left(self._waiting, now + self.times.expect(1) - _NO_TIME_S, key=lambda one: one.deadline)
        hopeful = self._waiting[first:]
        if not hopeful:
            # Nothing is displaced, and the expected time may be wrong: it is measured anew.
            return self._waiting[:1]
        if self._all_in_time(hopeful, now):
            size = self.times.largest(min(self._max_batch, len(hopeful)), hopeful[0].deadline - now)
            return (self._in_turns(hopeful) if self._is_time_in_plenty(hopeful, now) else hopeful)[:size]
        return self._shared(hopeful, now)

    def _all_in_time(self, hopeful: Sequence[_Waiting[T]], now: float) -> bool:
        place = 0
        while place < len(hopeful):
            most = min(self._max_batch, len(hopeful) - place)
            size = self.times.largest(most, hopeful[place].deadline - now)
            if not size:
                return False
            now += self.times.expect(size)
            place += size
        return True

    def _shared(self, hopeful: Sequence[_Waiting[T]], now: float) -> list[_Waiting[T]]:
        """Choose so that most frames a second are in time, one of each station before a second of any.

        Where a batch is smaller than the stations are many, those that waited longest for their turn come first.
        """
        able: dict[int, Sequence[_Waiting[T]]] = {}
        for size in range(1, min(self._max_batch, len(hopeful)) + 1):
            soonest = now + self.times.expect(size) - _NO_TIME_S
            enough = hopeful[bisect_left(hopeful, soonest, key=lambda one: one.deadline) :]
            if len(enough) >= size:
                able[size] = enough
        rates = {size: size / self.times.expect(size) for size in able}
        size = min(size for size, rate in rates.items() if rate >= _WORTH * max(rates.values()))
        return self._in_turns(able[size])[:size]

    def _is_time_in_plenty(self, hopeful: Sequence[_Waiting[T]], now: float) -> bool:
        batches = -(-len(hopeful) // self._max_batch)
        return hopeful[0].deadline - now >= _PLENTY * batches * self.times.expect(self._max_batch)

    def _in_turns(self, waiting: Sequence[_Waiting[T]]) -> list[_Waiting[T]]:
        turns: Counter[str] = Counter()
        ranked: list[tuple[int, int, _Waiting[T]]] = []
        for one in waiting:
            ranked.append((turns[one.station], self._served.get(one.station, 0), one))
            turns[one.station] += 1
        return [one for _, _, one in sorted(ranked)]

    def _spare_size(self, now: float) -> int:
        most = min(self._max_batch, self._urgent or len(self._spare))
        if not self.times.is_learnt:
            return min(most, 1)
        since = now - _LATELY_S if self._urgent else -inf
        if self._urgent:
            # Each is about to be late: none waits for others that are computed with it, unless that is quicker.
            most = next((size for size in range(1, most) if not self.times.gains_by_company(size, unknown=False)), most)
        slacks = [slack for came, slack in self._slacks if came > since]
        return self.times.largest(most, min(slacks) - self.times.cautiously(1)) if slacks else most

    def _until_spare(self, now: float) -> float | None:
        """Return when to ask again whether spare items may leave, None: not before something is put."""
        lately = [came for came, _ in self._slacks if came > now - _LATELY_S]
        return lately[0] + _LATELY_S - now if self._urgent and lately else None


class DeadlineBatcher(Generic[T]):
    """A `DeadlineQueue` between the loop, which puts, and the compute threads, which take. `clock` gives seconds."""

    def __init__(self, *, max_batch: int, max_queue_delay_s: float, clock: Callable[[], float]) -> None:
        self._queue: DeadlineQueue[T] = DeadlineQueue(max_batch=max_batch, max_queue_delay_s=max_queue_delay_s)
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Return how many items wait for their batch."""
        return len(self._queue)

    def put(self, item: T, deadline: float, station: str) -> None:
        """Hold an item until it leaves in a batch or expires."""
        with self._changed:
            self._queue.put(item, deadline, station, self._clock())
            self._changed.notify()

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Announce an item that is put before the block is left, or never: a batch may wait for it."""
        with self._changed:
            self._queue.coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._queue.coming -= 1
                if not self._queue.coming:
                    self._changed.notify()

    def put_spare(self, item: T, *, first: bool = False) -> None:
        """Hold an item that no part of ours waits for; `first` is one that a part of others waits for."""
        with self._changed:
            self._queue.put_spare(item, first=first)
            self._changed.notify()

    def drop_spare(self, item: T) -> None:
        """Forget a spare item that nobody waits for any more, where it has not left."""
        with self._changed:
            self._queue.drop_spare(item)

    def expected_s(self) -> tuple[float, float]:
        """Return what a frame alone is expected to take in the engine, and what it takes at most but seldom."""
        with self._changed:
            return self._queue.times.expect(1), self._queue.times.cautiously(1)

    def take(self) -> Taken[T] | None:
        """Block until something leaves and return it; None once the batcher is closed."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                taken = self._queue.take(now)
                if taken.batch or taken.expired:
                    return taken
                wait = self._queue.wait_s(now)
                self._changed.wait(None if wait is None else max(wait, _SLICE_S))
        return None

    def learn(self, size: int, seconds: float) -> None:
        """Take the time that a batch of `size` needed."""
        with self._changed:
            self._queue.times.learn(size, seconds)

    def close(self) -> None:
        """Let `take` return; what waits stays where it is."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
