"""Scores that no part waits for: of late frames, and of a station's shadow model."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

from neverblink import telemetry
from neverblink.scorer.deadline_batcher import DeadlineBatcher
from neverblink.scorer.decode_pool import DecodePool
from neverblink.scorer.emitter import Emitter
from neverblink.scorer.instruments import Instruments
from neverblink.scorer.models import Model
from neverblink.scorer.pixel_room import PixelRoom, pixel_bytes
from neverblink.scorer.work import Arrival, Cause, Work
from neverblink.vision.decode import Image
from neverblink.vision.inspector import Prepared


class SpareScoring:
    """Takes a frame where there is room, counts it where there is none, and never holds up its offset.

    At most `bound` frames are in hand, from decoding to the acknowledged score, and none is taken while their images
    hold `max_bytes`; what a crash loses of them is lost.
    """

    def __init__(
        self,
        pool: DecodePool,
        batcher: DeadlineBatcher[Work],
        emitter: Emitter,
        measured: Instruments,
        *,
        bound: int,
        max_bytes: int,
    ) -> None:
        self._pool = pool
        self._batcher = batcher
        self._emitter = emitter
        self._bound = bound
        self._room = PixelRoom(max_bytes)
        # One is decoded at a time: how many bytes it takes is known only afterwards.
        self._preparing = asyncio.Lock()
        self._in_hand: set[asyncio.Task[None]] = set()
        self._recurring = telemetry.Recurring(telemetry.logger("scorer"))
        self._measured = measured

    def late(self, arrival: Arrival, model: Model, prepared: Prepared | None) -> None:
        """Score a frame that is told as late; one that is not `prepared` is decoded when no other waits for it."""

        async def ready() -> Prepared:
            return prepared or await self._pool.prepared_spare(arrival.frame, model)

        self._begin(arrival, model, ready, "late-frame", None if prepared is None else prepared.image)

    def shadow(self, work: Work, model: Model) -> None:
        """Score a frame with its station's shadow model too."""
        image = work.prepared.image
        self._begin(work.arrival, model, lambda: self._pool.prepared_again(image, model), "shadow-model", image)

    async def close(self) -> None:
        """Leave what is not scored."""
        for task in self._in_hand:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)

    def _begin(
        self,
        arrival: Arrival,
        model: Model,
        ready: Callable[[], Coroutine[Any, Any, Prepared]],
        cause: Cause,
        image: Image | None,
    ) -> None:
        if len(self._in_hand) >= self._bound or self._room.is_full:
            self._leave_out(arrival, cause)
            return
        held = ExitStack()
        if image is not None:
            held.enter_context(self._room.holding(image.nbytes))
        task = asyncio.create_task(self._score(arrival, model, ready, cause, image, held))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)
        task.add_done_callback(lambda _: held.close())

    async def _score(
        self,
        arrival: Arrival,
        model: Model,
        ready: Callable[[], Coroutine[Any, Any, Prepared]],
        cause: Cause,
        image: Image | None,
        held: ExitStack,
    ) -> None:
        try:
            async with self._preparing:
                if image is None and self._room.is_full:
                    self._leave_out(arrival, cause)
                    return
                prepared = await ready()
                held.close()
                held.enter_context(self._room.holding(pixel_bytes(prepared)))
            work = Work(arrival, model, prepared, arrival.times)
            self._batcher.put_spare(work)
            await self._emitter.for_statistics(work, await work.scored, cause)
        except Exception as error:  # noqa: BLE001 - the boundary: its verdict is told already, or another model's
            sentence = f"part {arrival.frame.part} is not scored for statistics ({cause}): {error!r}"
            self._recurring.tell((cause, type(error)), sentence)

    def _leave_out(self, arrival: Arrival, cause: Cause) -> None:
        labels = {"line": arrival.frame.line, "station": arrival.frame.station, "cause": cause}
        self._measured.left_out.add(1, labels)
