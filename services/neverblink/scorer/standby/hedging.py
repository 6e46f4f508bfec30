"""Scores one frame of another scorer: in spare time, with the models of now, and never after its deadline."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Final

from neverblink import telemetry
from neverblink.events import EventError, Frame, Times
from neverblink.events.envelope import trace_of
from neverblink.kafka import Record
from neverblink.scorer import spans
from neverblink.scorer.deadline_batcher import DeadlineBatcher
from neverblink.scorer.decode_pool import DecodePool
from neverblink.scorer.emitter import Emitter, Outcome
from neverblink.scorer.instruments import Instruments
from neverblink.scorer.models import Model, Models
from neverblink.scorer.pixel_room import PixelRoom, pixel_bytes
from neverblink.scorer.slot_follower import Freshness
from neverblink.scorer.standby.schedule import Took
from neverblink.scorer.work import Arrival, FramePlace, UnscorableError, Work
from neverblink.service_life.time_limit import time_limit

_FIRST_S: Final = 0.15
"""What the first frame is reckoned to take beside the engine: nothing was measured yet."""


class Hedging:
    """Takes a frame through decoding, engine and emission, each where nothing of this scorer's own waits."""

    def __init__(
        self,
        pool: DecodePool,
        batcher: DeadlineBatcher[Work],
        emitter: Emitter,
        models: Models,
        freshness: Freshness,
        *,
        max_bytes: int,
        measured: Instruments,
        clock: Callable[[], datetime],
    ) -> None:
        """`emitter` has a producer of its own; images of others hold `max_bytes` at most, and one lies above that."""
        self._pool = pool
        self._batcher = batcher
        self._emitter = emitter
        self._models = models
        self._freshness = freshness
        self._room = PixelRoom(max_bytes)
        # One is decoded at a time: how many bytes it takes is known only afterwards.
        self._preparing = asyncio.Lock()
        self._took = Took()
        self._measured = measured
        self._clock = clock
        self._recurring = telemetry.Recurring(telemetry.logger("scorer"))

    @property
    def has_room(self) -> bool:
        """Say whether one more image may be decoded."""
        return not self._room.is_full

    def is_ready(self) -> bool:
        """Say whether the models are those of now; asked while frames wait, which has it found out."""
        return self._freshness.is_fresh()

    def each_s(self) -> float:
        """Return what one frame behind the other takes of the engine."""
        return self._batcher.expected_s()[0]

    def needs_s(self) -> float:
        """Return what a frame needs from now to its acknowledged verdict, by what was measured."""
        took, seldom = self._took.cautiously(), self._batcher.expected_s()[1]
        return seldom + _FIRST_S if took is None else max(took, seldom)

    def model_of(self, frame: Frame) -> Model | None:
        """Return what scores the frame, None where this scorer must not: it has no model, or not the one wanted."""
        found = self._models.stations.get((frame.line, frame.station))
        if found is None or found.faults or found.product != frame.product:
            return None
        return found.active

    async def score(self, record: Record) -> Outcome:
        """Carry a record to its verdict, if that is the first its evidence too, and count what came of it."""
        frame: Frame | None = None
        outcome: Outcome = "left"
        try:
            frame, _ = record.read(Frame)
            with spans.processing(record, frame):
                outcome = await self._scored(frame, record)
        except (EventError, UnscorableError):
            pass  # its own scorer tells what is wrong with it
        except Exception as error:  # noqa: BLE001 - the boundary: its own scorer, or the PLC's default, protects the part
            self._recurring.tell(("hedge", type(error)), f"a frame of another scorer could not be scored: {error!r}")
        if frame is not None:
            self.count(frame, outcome)
        return outcome

    def count(self, frame: Frame, outcome: Outcome) -> None:
        """Count what came of a frame of another scorer."""
        self._measured.hedged.add(1, {"line": frame.line, "station": frame.station, "outcome": outcome})

    async def _scored(self, frame: Frame, record: Record) -> Outcome:
        model = self.model_of(frame)
        if model is None:
            return "left"
        began = self._clock()
        try:
            outcome = await self._told(frame, record, model, began)
        except TimeoutError:
            outcome = "too-late"
        if outcome == "too-late":
            self._took.at_least((self._clock() - began).total_seconds())
        return outcome

    async def _told(self, frame: Frame, record: Record, model: Model, began: datetime) -> Outcome:
        times = Times(captured=frame.captured, published=frame.published, received=began)
        place = FramePlace(record.partition, record.offset)
        arrival = Arrival(frame, times, telemetry.current_trace() or trace_of(record.headers), place)
        with ExitStack() as held:
            async with time_limit((frame.deadline - began).total_seconds()):
                async with self._preparing:
                    prepared = await self._pool.prepared_spare(frame, model, first=True)
                    held.enter_context(self._room.holding(pixel_bytes(prepared)))
                work = Work(arrival, model, prepared, times)
                self._batcher.put_spare(work, first=True)
                # Too late it is worth nothing, and would keep those behind it waiting.
                held.callback(self._batcher.drop_spare, work)
                inspection = await work.scored
                spans.scored(work)

            def sent() -> None:
                self._took.learn((self._clock() - began).total_seconds())

            return await self._emitter.hedged(work, inspection, sent)
