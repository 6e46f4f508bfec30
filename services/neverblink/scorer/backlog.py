"""How much a scorer has before it, and how urgent it is: what is measured, and nothing that decides."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime

from neverblink.kafka import EventConsumer
from neverblink.scorer.watermark import Watermark
from neverblink.service_life import wait_or_stop

_LOOK_EVERY_S = 1.0


class Backlog:
    """Counts the frames in hand and on the topic; written by the loop, read by whoever collects."""

    def __init__(self, consumer: EventConsumer, watermark: Watermark, clock: Callable[[], datetime]) -> None:
        self._consumer = consumer
        self._watermark = watermark
        self._clock = clock
        self._deadlines: dict[object, float] = {}
        self.lag = 0
        """Frames on the partitions without an acknowledged verdict, as far as the partitions' ends are known."""

    @contextlib.contextmanager
    def holding(self, deadline: datetime) -> Iterator[None]:
        """Count a frame as in hand while the block runs."""
        mark = object()
        self._deadlines[mark] = deadline.timestamp()
        try:
            yield
        finally:
            del self._deadlines[mark]

    @property
    def in_hand(self) -> int:
        """Return how many frames have no acknowledged verdict yet."""
        return len(self._deadlines)

    def least_slack(self) -> float | None:
        """Return the seconds that the most urgent frame in hand has left, negative past its deadline; None of none."""
        deadlines = list(self._deadlines.values())  # at once: the loop goes on meanwhile
        return min(deadlines) - self._clock().timestamp() if deadlines else None

    async def follow(self, stop: asyncio.Event) -> None:
        """Count what is on the topic once a second until told to stop."""
        while not await wait_or_stop(stop, _LOOK_EVERY_S):
            begun = self._watermark.unfinished()
            ends = self._consumer.ends_known()
            self.lag = sum(max(0, end - begun[place]) for place, end in ends.items() if place in begun)
