"""Follows the models topic: what it says is opened in a thread of its own, then swapped in between two frames."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import inf

from neverblink import telemetry
from neverblink.events import ModelSlots
from neverblink.kafka import KafkaError, LatestEvents
from neverblink.scorer.models import Models, Place

READ_WITHIN_S = 30.0
"""The topic holds one event a station, and some that compaction has not taken yet: seconds even for large plants."""

_POLL_S = 0.2
_AGAIN_S = 1.0
_FRESH_S = 1.0
_WANTED_S = 3.0
_LOOK_S = 1.0


class Freshness:
    """Whether all that the models topic says has been applied within the last second.

    It is found out while somebody asks, and for some seconds after.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked = self._read = -inf

    def is_fresh(self) -> bool:
        """Say so, and want to know it from now on."""
        self._asked = self._clock()
        return self._asked - self._read <= _FRESH_S

    @property
    def is_wanted(self) -> bool:
        """Say whether somebody has asked lately."""
        return self._clock() - self._asked <= _WANTED_S

    async def find_out(self, events: LatestEvents[ModelSlots]) -> None:
        """Ask whether what was returned and applied is all; for whoever polls. Raises KafkaError."""
        began = self._clock()
        if await events.is_read(_LOOK_S):
            self._read = began


class SlotFollower:
    """Applies changes of the topic for as long as a scorer runs.

    A station that does not have the models it should is tried again every `retry_s`: the store may have been away.
    """

    def __init__(
        self,
        events: LatestEvents[ModelSlots],
        models: Models,
        *,
        freshness: Freshness | None = None,
        retry_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        self._models = models
        self._freshness = freshness or Freshness()
        self._retry_s = retry_s
        self._clock = clock
        self._log = telemetry.logger("scorer")
        self._recurring = telemetry.Recurring(self._log)

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        # One load at a time: two would take twice the memory and more of the time of what computes.
        loader = ThreadPoolExecutor(1, thread_name_prefix="models")
        retry_at = self._clock() + self._retry_s
        try:
            while True:
                try:
                    changes = latest(self._models, await self._events.poll(_POLL_S))
                except Exception as error:  # noqa: BLE001 - the boundary: whoever stops following never swaps again
                    self._log.warning(f"changes of models are not seen: {error!r}")
                    await asyncio.sleep(_AGAIN_S)
                    continue
                if self._clock() >= retry_at:
                    changes = self._in_fault() | changes
                    retry_at = self._clock() + self._retry_s
                for place, wanted in changes.items():
                    found = await loop.run_in_executor(loader, self._models.opened, place, wanted)
                    self._models.put(place, found)
                if self._freshness.is_wanted:
                    await self._find_out()
        finally:
            # A load that is under way ends by itself; nobody waits for what it finds.
            loader.shutdown(wait=False, cancel_futures=True)

    async def _find_out(self) -> None:
        try:
            await self._freshness.find_out(self._events)
        except KafkaError as error:
            self._recurring.tell("end", f"whether the models are those of now is not known: {error}")

    def _in_fault(self) -> dict[Place, ModelSlots | None]:
        return {place: found.wanted for place, found in self._models.stations.items() if found.faults}


def latest(models: Models, events: Iterable[tuple[str, ModelSlots | None]]) -> dict[Place, ModelSlots | None]:
    """Return the last event of each station that the plant has; None where it was deleted."""
    found: dict[Place, ModelSlots | None] = {}
    for key, event in events:
        line, _, station = key.partition("/")
        if (line, station) in models.stations:
            found[line, station] = event
    return found
