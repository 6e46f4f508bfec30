"""The threads that run the models: a batch out of the batcher, its inspections back to the loop."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from typing import Protocol, TypeVar

from torch import Tensor

from neverblink.scorer import spans
from neverblink.scorer.deadline_batcher import DeadlineBatcher, LateError
from neverblink.scorer.instruments import Instruments
from neverblink.scorer.models import Model
from neverblink.scorer.work import Work
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Prepared

Image = tuple[Model, Prepared]

T = TypeVar("T")
Found = TypeVar("Found")


class Halves(Protocol):
    """Scoring in its two halves, each of one result an image; no half is called twice at once."""

    def embed(self, work: Sequence[Image]) -> Sequence[Tensor]:
        """Run the networks."""

    def judge(self, work: Sequence[Image], features: Sequence[Tensor]) -> Sequence[Inspection]:
        """Search, and find and name defects."""


class ComputeThreads:
    """Two threads with a batch each: while one's is searched, the other's is in the network.

    What a search does in one thread so leaves no core idle. They take their batches themselves: the next one never
    waits for the loop, which emits the last. Nobody takes one before the network is free for it: until then a frame
    that is more urgent may come.
    """

    def __init__(
        self, batcher: DeadlineBatcher[Work], halves: Halves, measured: Instruments, *, clock: Callable[[], datetime]
    ) -> None:
        """`halves` are called in these threads alone."""
        self._batcher = batcher
        self._halves = halves
        self._clock = clock
        self._network = threading.Lock()
        self._search = threading.Lock()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="compute")
        self._measured = measured

    async def run(self) -> None:
        """Work until the batcher is closed. Each `scored` of the work taken ends in an inspection or in a fault."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, self._work, loop) for _ in range(2)))

    def close(self) -> None:
        """Close the batcher, finish the batches in hand and end the threads."""
        self._batcher.close()
        self._threads.shutdown(wait=True)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with ExitStack() as network:
                network.enter_context(self._network)
                taken = self._batcher.take()
                if taken is None:
                    return
                if taken.expired:
                    late = [LateError()] * len(taken.expired)
                    loop.call_soon_threadsafe(_hand_over, taken.expired, late)
                if taken.batch:
                    loop.call_soon_threadsafe(_hand_over, taken.batch, self._scored(taken.batch, network.close))

    def _scored(self, batch: Sequence[Work], leave_network: Callable[[], None]) -> Sequence[Inspection | Exception]:
        batched = self._clock()
        with spans.computing(batch):
            began = time.perf_counter()
            images = [(work.model, work.prepared) for work in batch]
            features = _each(self._halves.embed, images)
            leave_network()
            with self._search:
                found = self._judged(images, features)
            took = time.perf_counter() - began
        if not any(isinstance(one, Exception) for one in found):  # else the others were scored one by one
            self._batcher.learn(len(batch), took)
        self._measured.batch_size.record(len(batch))
        self._measured.batch_time.record(took)
        scored = self._clock()
        for work in batch:
            work.times = work.times.model_copy(update={"batched": batched, "scored": scored})
        return found

    def _judged(
        self, images: Sequence[Image], features: Sequence[Tensor | Exception]
    ) -> Sequence[Inspection | Exception]:
        embedded = [
            (image, made) for image, made in zip(images, features, strict=True) if not isinstance(made, Exception)
        ]
        judged = iter(
            _each(lambda some: self._halves.judge([one for one, _ in some], [made for _, made in some]), embedded)
        )
        return [made if isinstance(made, Exception) else next(judged) for made in features]


def _each(run: Callable[[Sequence[T]], Sequence[Found]], work: Sequence[T]) -> Sequence[Found | Exception]:
    """Run all at once, and where that raises one by one: what a model stumbles over costs no other frame its score."""
    try:
        return run(work)
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, it is this frame's alone
        if len(work) == 1:
            return [error]
    return [found for one in work for found in _each(run, [one])]


def _hand_over(batch: Sequence[Work], found: Sequence[Inspection | Exception]) -> None:
    for work, one in zip(batch, found, strict=True):
        if work.scored.done():
            continue  # nobody waits for it any more
        if isinstance(one, Exception):
            work.scored.set_exception(one)
        else:
            work.scored.set_result(one)
