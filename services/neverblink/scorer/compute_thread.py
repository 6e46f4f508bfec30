"""The one thread that runs the models: a batch out of the batcher, its inspections back to the loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from neverblink.scorer import spans
from neverblink.scorer.deadline_batcher import DeadlineBatcher, LateError
from neverblink.scorer.instruments import Instruments
from neverblink.scorer.models import Model
from neverblink.scorer.work import Work
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Prepared

Score = Callable[[Sequence[tuple[Model, Prepared]]], list[Inspection]]


class ComputeThread:
    """Takes its batches itself, so that the next one never waits for the loop, which emits the last."""

    def __init__(
        self, batcher: DeadlineBatcher[Work], score: Score, measured: Instruments, *, clock: Callable[[], datetime]
    ) -> None:
        """`score` is called in this thread alone."""
        self._batcher = batcher
        self._score = score
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._measured = measured

    async def run(self) -> None:
        """Work until the batcher is closed. Each `scored` of the work taken ends in an inspection or in a fault."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._work, loop)

    def close(self) -> None:
        """Close the batcher, finish the batch in hand and end the thread."""
        self._batcher.close()
        self._thread.shutdown(wait=True)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (taken := self._batcher.take()) is not None:
            if taken.expired:
                late = [LateError()] * len(taken.expired)
                loop.call_soon_threadsafe(_hand_over, taken.expired, late)
            if taken.batch:
                loop.call_soon_threadsafe(_hand_over, taken.batch, self._scored(taken.batch))

    def _scored(self, batch: Sequence[Work]) -> Sequence[Inspection | Exception]:
        batched = self._clock()
        with spans.computing(batch):
            began = time.perf_counter()
            found = self._inspections([(work.model, work.prepared) for work in batch])
            took = time.perf_counter() - began
        if not any(isinstance(one, Exception) for one in found):  # else the others were scored one by one
            self._batcher.learn(len(batch), took)
        self._measured.batch_size.record(len(batch))
        self._measured.batch_time.record(took)
        scored = self._clock()
        for work in batch:
            work.times = work.times.model_copy(update={"batched": batched, "scored": scored})
        return found

    def _inspections(self, work: Sequence[tuple[Model, Prepared]]) -> Sequence[Inspection | Exception]:
        try:
            return self._score(work)
        except Exception as error:  # noqa: BLE001 - the boundary: what a model stumbles over costs no other frame its score
            if len(work) == 1:
                return [error]
        return [found for one in work for found in self._inspections([one])]


def _hand_over(batch: Sequence[Work], found: Sequence[Inspection | Exception]) -> None:
    for work, one in zip(batch, found, strict=True):
        if work.scored.done():
            continue  # nobody waits for it any more
        if isinstance(one, Exception):
            work.scored.set_exception(one)
        else:
            work.scored.set_result(one)
