"""Scores that no part waits for: of late frames, and of a station's shadow model."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from neverblink import telemetry
from neverblink.scorer.deadline_batcher import DeadlineBatcher
from neverblink.scorer.decode_pool import NEVER, DecodePool
from neverblink.scorer.emitter import Emitter
from neverblink.scorer.models import Model
from neverblink.scorer.work import Arrival, Cause, Work
from neverblink.vision.inspector import Prepared


class SpareScoring:
    """Takes a frame where there is room, counts it where there is none, and never holds up its offset.

    At most `bound` frames are in hand, from decoding to the acknowledged score; what a crash loses of them is lost.
    """

    def __init__(self, pool: DecodePool, batcher: DeadlineBatcher[Work], emitter: Emitter, *, bound: int) -> None:
        self._pool = pool
        self._batcher = batcher
        self._emitter = emitter
        self._bound = bound
        self._in_hand: set[asyncio.Task[None]] = set()
        self._log = telemetry.logger("scorer")
        self._left_out = telemetry.meter("scorer").create_counter("neverblink.scorer.not_scored_spare", unit="{frame}")

    def late(self, arrival: Arrival, model: Model, prepared: Prepared | None) -> None:
        """Score a frame that is told as late; one that is not `prepared` is decoded when no other waits for it."""

        async def ready() -> Prepared:
            return prepared or await self._pool.prepared(arrival.frame, model, deadline=NEVER)

        self._begin(arrival, model, ready, "late-frame")

    def shadow(self, work: Work, model: Model) -> None:
        """Score a frame with its station's shadow model too."""
        self._begin(work.arrival, model, lambda: self._pool.prepared_again(work.prepared.image, model), "shadow-model")

    async def close(self) -> None:
        """Leave what is not scored."""
        for task in self._in_hand:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)

    def _begin(
        self, arrival: Arrival, model: Model, ready: Callable[[], Coroutine[Any, Any, Prepared]], cause: Cause
    ) -> None:
        if len(self._in_hand) >= self._bound:
            labels = {"line": arrival.frame.line, "station": arrival.frame.station, "cause": cause}
            self._left_out.add(1, labels)
            return
        task = asyncio.create_task(self._score(arrival, model, ready, cause))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _score(
        self, arrival: Arrival, model: Model, ready: Callable[[], Coroutine[Any, Any, Prepared]], cause: Cause
    ) -> None:
        try:
            work = Work(arrival, model, await ready(), arrival.times)
            self._batcher.put_spare(work)
            await self._emitter.for_statistics(work, await work.scored, cause)
        except Exception as error:  # noqa: BLE001 - the boundary: its verdict is told already, or another model's
            self._log.warning(f"part {arrival.frame.part} is not scored for statistics ({cause}): {error!r}")
