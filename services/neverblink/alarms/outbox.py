"""Hands things to somebody outside, one after another, without ever making the service wait.

One thread sends, because the clients block. What waits is bounded: when the receiver is away for longer, the newest are
dropped, counted and logged.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from opentelemetry.metrics import Counter

from neverblink import telemetry
from neverblink.service_life import Duty, keeping, time_limit
from neverblink.service_life.back_off import BackOff

_LONGEST_PAUSE_S = 30.0
_STOP_S = 2.0

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Way:
    """How things go out. `name` is the receiver in logs, as "the webhook"; `lost` begins what a loss is told with."""

    service: str
    name: str
    lost: str
    attempts: int
    queue: int
    first_pause_s: float
    sent: Counter
    dropped: Counter


class Outbox(ABC, Generic[Item]):
    """Keeps the order; `dropped` counts what nobody took."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._waiting: asyncio.Queue[Item] = asyncio.Queue(way.queue)  # full: the newest is dropped
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{way.service}-{way.name.split()[-1]}")
        self._log = telemetry.logger(way.service)
        self._working = contextlib.AsyncExitStack()
        self.dropped = 0

    async def __aenter__(self) -> Self:
        await self._working.enter_async_context(keeping(self._way.service, Duty(self._way.name, self._send_all)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with time_limit(_STOP_S):
                await self._waiting.join()
        await self._working.aclose()
        for _ in range(self._waiting.qsize()):
            self._drop("the service stopped")
        self._thread.shutdown(wait=False, cancel_futures=True)

    @abstractmethod
    def attempt(self, item: Item) -> str | None:
        """Hand it over and return what went wrong, None when the receiver took it. Runs in the thread."""

    def put(self, item: Item) -> None:
        """Queue something; never waits."""
        try:
            self._waiting.put_nowait(item)
        except asyncio.QueueFull:
            self._drop(f"{self._way.queue} others wait")

    async def _send_all(self) -> None:
        while True:
            item = await self._waiting.get()
            try:
                await self._send(item)
            finally:
                self._waiting.task_done()

    async def _send(self, item: Item) -> None:
        back_off = BackOff(self._way.first_pause_s, _LONGEST_PAUSE_S)
        fault: str | None = None
        for attempt in range(1, self._way.attempts + 1):
            fault = await asyncio.get_running_loop().run_in_executor(self._thread, self.attempt, item)
            if fault is None:
                self._way.sent.add(1)
                return
            if attempt < self._way.attempts:
                await asyncio.sleep(back_off.next())
        self._drop(f"{fault} in {self._way.attempts} attempts")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._way.dropped.add(1)
        self._log.error(f"{self._way.lost}: {why}")
