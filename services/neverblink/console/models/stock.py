"""Artifacts and reports as the console asks for them: in threads of its own, never longer than a person waits."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from neverblink import telemetry
from neverblink.errors import NeverblinkError
from neverblink.events import Slot
from neverblink.model_registry.changes import ModelsError
from neverblink.model_registry.golden_gate import GoldenGate
from neverblink.model_registry.known_artifacts import KnownArtifact, KnownArtifacts, Listed
from neverblink.model_registry.qualifications import QualificationStore
from neverblink.model_registry.registry import plants_slot
from neverblink.plant import Plant
from neverblink.service_life import time_limit
from neverblink.vision.artifact_manifest import ArtifactError

ANSWER_S: Final = 5.0
"""So long a page waits for the store."""

_FRESH_S: Final = 5.0
_AT_ONCE: Final = 3
_HELD_OUT_KEPT: Final = 16

Answer = TypeVar("Answer")
Floats = npt.NDArray[np.float32]


class StoreAwayError(NeverblinkError):
    """The store of artifacts does not answer in time."""


@dataclass(frozen=True, slots=True)
class Stock:
    """All artifacts, and what the plant file names for each product: a slot, or why it cannot be read.

    `stale` says that the store does not answer: this is what it held `at` an instant of the monotonic clock, in
    seconds.
    """

    listed: Listed = field(default_factory=Listed)
    plants: dict[str, Slot | str] = field(default_factory=dict)
    at: float = 0.0
    stale: bool = False


class ModelStock:
    """Asks the store: so many questions at once, each bounded, none in the event loop."""

    def __init__(self, plant: Plant, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises PlantError when no installed package knows the store."""
        self._plant = plant
        self._clock = clock
        self._known = KnownArtifacts(plant.storage)
        self.gate = GoldenGate(plant)
        self.reports = QualificationStore(plant.storage)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="console-models")
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._reading: asyncio.Future[Stock] | None = None
        self._last = Stock(at=-_FRESH_S)
        self._held_out: OrderedDict[str, Floats] = OrderedDict()
        self._log = telemetry.Recurring(telemetry.logger("console"))

    async def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return what `question` returns in a thread. Raises StoreAwayError when that takes too long, else as it does.

        A thread that still waits keeps its place: there are never more of them than were allowed.
        """
        try:
            async with time_limit(ANSWER_S):
                await self._free.acquire()
                return await asyncio.shield(self._begun(question))
        except TimeoutError as error:
            self._log.tell("store", f"the store of artifacts has not answered within {ANSWER_S:g} s; the pages say so")
            raise StoreAwayError("the store of artifacts does not answer") from error

    async def now(self) -> Stock:
        """Return what lies there: a few seconds old at most, or what was last known where the store is away."""
        if self._clock() - self._last.at < _FRESH_S and not self._last.stale:
            return self._last
        try:
            async with time_limit(ANSWER_S):
                if self._reading is None or self._reading.done():
                    await self._free.acquire()
                    self._reading = self._begun(self._read)
                self._last = await asyncio.shield(self._reading)
        except TimeoutError:
            return Stock(self._last.listed, self._last.plants, self._last.at, stale=True)
        return self._last

    async def held_out(self, artifact: KnownArtifact) -> Floats | None:
        """Return the sorted scores of an artifact's held-out good images, (m,) float32; None where they are not had."""
        if artifact.digest not in self._held_out:
            store = self._known.store
            try:
                found = await self.ask(lambda: store.held_out_scores(artifact.location))
            except (ArtifactError, StoreAwayError) as error:
                self._log.tell("held-out", f"{error}; the pages say so")
                return None
            self._held_out[artifact.digest] = found
            while len(self._held_out) > _HELD_OUT_KEPT:
                self._held_out.popitem(last=False)
        return self._held_out[artifact.digest]

    def close(self) -> None:
        """End the threads; each question ends by its store's bounds."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begun(self, question: Callable[[], Answer]) -> "asyncio.Future[Answer]":
        """Run a question for which a place was taken; the place is free again when the thread is."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, question)
        work.add_done_callback(lambda _: self._free.release())
        return work

    def _read(self) -> Stock:
        plants: dict[str, Slot | str] = {}
        for product in self._plant.products:
            try:
                plants[product.name] = plants_slot(self._plant, product.name)
            except (ArtifactError, ModelsError) as error:
                plants[product.name] = str(error)
        return Stock(self._known.listed(), plants, self._clock())
