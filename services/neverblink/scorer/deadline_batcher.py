"""Forms batches: earliest deadline first, never waiting past the moment that makes a frame late.

The knobs have the names and meaning of Triton's dynamic batcher.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_SMOOTHING = 0.2
_SLICE_S = 0.001

T = TypeVar("T")


class LateError(Exception):
    """The frame's deadline passed, or will have passed before a batch could be through."""


@dataclass(order=True)
class _Waiting(Generic[T]):
    deadline: float
    order: int
    item: T = field(compare=False)
    since: float = field(compare=False)
    taken: "asyncio.Future[None]" = field(compare=False)


class BatchClock:
    """How long a batch takes, learnt per size: an exponentially weighted mean of what was measured."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def learn(self, size: int, seconds: float) -> None:
        """Take one measured batch."""
        known = self._seconds.get(size, seconds)
        self._seconds[size] = known + _SMOOTHING * (seconds - known)

    def expect(self, size: int) -> float:
        """Return the seconds that a batch of this size will take; 0 before anything was measured."""
        if not self._seconds:
            return 0.0
        nearest = min(self._seconds, key=lambda known: (abs(known - size), known))
        return self._seconds[nearest] * max(1.0, size / nearest)


class DeadlineBatcher(Generic[T]):
    """A bounded queue from which batches leave.

    A batch leaves when it is full, when its oldest frame has waited `max_queue_delay_s`, or when the earliest
    deadline less the expected batch time says now. `put` waits when `max_queue_size` frames are held: that is
    the back-pressure. Times are seconds of `clock`, deadlines too.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        max_queue_delay_s: float,
        max_queue_size: int,
        clock: Callable[[], float],
    ) -> None:
        self._max_batch = max_batch
        self._max_delay = max_queue_delay_s
        self._max_size = max_queue_size
        self._clock = clock
        self._heap: list[_Waiting[T]] = []
        # Late frames are scored for statistics only when nothing else waits; the oldest gives way.
        self._late: deque[T] = deque(maxlen=max_queue_size)
        self._order = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.times = BatchClock()
        self.late_dropped = 0

    def __len__(self) -> int:
        return len(self._heap)

    async def put(self, item: T, deadline: float) -> None:
        """Hold an item until it leaves in a batch. Raises LateError when it can no longer be in time."""
        while len(self._heap) >= self._max_size:
            self._room.clear()
            await self._room.wait()
        self._order += 1
        waiting = _Waiting(deadline, self._order, item, self._clock(), asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, waiting)
        self._changed.set()
        await waiting.taken

    def put_late(self, item: T) -> T | None:
        """Hold a late item for when there is room; return the one that had to make room, if any."""
        displaced = self._late.popleft() if len(self._late) == self._late.maxlen else None
        self._late.append(item)
        self.late_dropped += displaced is not None
        self._changed.set()
        return displaced

    async def take(self) -> list[T]:
        """Wait for a batch and return it, at most `max_batch` items. Call it when the engine is free."""
        while True:
            self._refuse_late()
            if self._heap and (wait := self._wait_s()) <= 0:
                return self._leave()
            if not self._heap and self._late:
                return [self._late.popleft() for _ in range(min(self._max_batch, len(self._late)))]
            self._changed.clear()
            try:
                async with asyncio.timeout(max(wait, _SLICE_S) if self._heap else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _wait_s(self) -> float:
        """Return how long a batch may still wait for company."""
        if len(self._heap) >= self._max_batch:
            return 0.0
        now = self._clock()
        oldest = min(waiting.since for waiting in self._heap)
        latest_start = self._heap[0].deadline - self.times.expect(len(self._heap) + 1)
        return min(oldest + self._max_delay, latest_start) - now

    def _leave(self) -> list[T]:
        batch = [heapq.heappop(self._heap) for _ in range(min(self._max_batch, len(self._heap)))]
        self._room.set()
        for waiting in batch:
            if not waiting.taken.done():
                waiting.taken.set_result(None)
        return [waiting.item for waiting in batch]

    def _refuse_late(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0].deadline <= now:
            waiting = heapq.heappop(self._heap)
            self._room.set()
            if not waiting.taken.done():
                waiting.taken.set_exception(LateError)
