"""Actuation events on their way to Kafka. The write path puts them here and never waits.

They are gathered for a moment and leave together: nobody waits for them as a gate waits for its word, and a request to
Kafka costs the loop more than the events in it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from neverblink import telemetry
from neverblink.events import Event
from neverblink.service_life import Duty, keeping, time_limit

BOUND = 8192  # about seven minutes of two events a part at 10 parts/s: longer than a broker's restart
IN_FLIGHT = 64
FLUSH_S = 5.0
GATHER_S = 0.025


class Sender(Protocol):
    """What the outbox needs of a producer."""

    async def send(self, event: Event, *, trace: Mapping[str, str] | None = None) -> object:
        """Send one event and return once it is safe."""


Work = Callable[[], Awaitable[object]]


class Outbox:
    """A bounded queue before a producer: when it is full, the new event is dropped and counted."""

    def __init__(self, sender: Sender, on_drop: Callable[[str], None]) -> None:
        self._sender = sender
        self._on_drop = on_drop
        self._gathered: list[tuple[Work, str]] = []
        self._queue: asyncio.Queue[tuple[Work, str]] = asyncio.Queue()
        self._working = contextlib.AsyncExitStack()
        self._log = telemetry.logger("bridge")
        self._recurring = telemetry.Recurring(self._log)
        self._dropping = False
        self._in_hand = 0

    def put(self, event: Event, trace: Mapping[str, str]) -> None:
        """Take an event; never blocks."""
        self.put_work(lambda: self._sender.send(event, trace=trace), event.key)

    def put_work(self, work: Work, key: str) -> None:
        """Take something else that sends, such as a dead letter; `key` names the line when it is dropped."""
        if len(self._gathered) + self._queue.qsize() < BOUND:
            if not self._gathered:
                asyncio.get_running_loop().call_later(GATHER_S, self._release)
            self._gathered.append((work, key))
            self._dropping = False
            return
        if not self._dropping:
            self._log.error(
                f"{BOUND} events wait for Kafka: new ones are dropped and counted; verdicts are still written"
            )
        self._dropping = True
        self._on_drop(key)

    def _release(self) -> None:
        gathered, self._gathered = self._gathered, []
        for one in gathered:
            self._queue.put_nowait(one)

    async def __aenter__(self) -> "Outbox":
        duties = [Duty(f"outbox {number}", self._work) for number in range(IN_FLIGHT)]
        await self._working.enter_async_context(keeping("bridge", *duties))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release()
        try:
            async with time_limit(FLUSH_S):
                await self._queue.join()
        except TimeoutError:
            self._log.error(f"{self._queue.qsize() + self._in_hand} events could not be sent before the end")
        await self._working.aclose()

    async def _work(self) -> None:
        while True:
            work, key = await self._queue.get()
            self._in_hand += 1
            try:
                await work()
            except Exception as error:  # noqa: BLE001
                # The loop's boundary: an event that cannot be sent must not end the sending of the others.
                self._on_drop(key)
                self._recurring.tell(
                    type(error).__name__,
                    "an event could not be sent",
                    level=logging.ERROR,
                    fields={"key": key},
                    error=error,
                )
            finally:
                self._in_hand -= 1
                self._queue.task_done()
