"""Frames between acquisition and Kafka: bounded, the earliest deadline first."""

import asyncio
import heapq

from neverblink.events import Frame


class FrameBuffer:
    """Holds at most `bound` frames. When it is full, the frame with the least time left makes room.

    That frame is the likeliest to be late anyway; `put` returns it, so that it gets its verdict.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._heap: list[tuple[float, int, Frame]] = []
        self._there = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, frame: Frame) -> Frame | None:
        """Add a frame; return the one that had to make room, if any."""
        entry = (frame.deadline.timestamp(), frame.seq, frame)
        self._there.set()
        if len(self._heap) >= self._bound:
            return heapq.heappushpop(self._heap, entry)[2]
        heapq.heappush(self._heap, entry)
        return None

    async def get(self) -> Frame:
        """Wait for a frame and take the one with the earliest deadline."""
        while not self._heap:
            self._there.clear()
            await self._there.wait()
        return heapq.heappop(self._heap)[2]
