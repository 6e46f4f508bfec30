"""The scorer: fetch → decode → batch by deadline → compute → emit → commit the watermark.

Every record that is taken ends in one verdict (or, when it names no line, in a dead letter), and its offset
is committed only after verdict and evidence are acknowledged.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

from neverblink import telemetry
from neverblink.events import EventError, Frame, Reason, Times
from neverblink.events.envelope import trace_of
from neverblink.kafka import EventConsumer, EventProducer, Partition, Record
from neverblink.plant import ScorerSettings
from neverblink.scorer import spans
from neverblink.scorer.backlog import Backlog
from neverblink.scorer.committer import Committer
from neverblink.scorer.compute_threads import ComputeThreads
from neverblink.scorer.deadline_batcher import DeadlineBatcher, LateError
from neverblink.scorer.decode_pool import DecodePool
from neverblink.scorer.emitter import Emitter
from neverblink.scorer.fetcher import Fetcher
from neverblink.scorer.instruments import Instruments, instruments, observe_backlog, observe_decoded
from neverblink.scorer.model_memory import MIB
from neverblink.scorer.models import Model, Models
from neverblink.scorer.slot_follower import Freshness
from neverblink.scorer.spare_scoring import SpareScoring
from neverblink.scorer.standby.answer_follower import AnswerFollower
from neverblink.scorer.standby.hedging import Hedging
from neverblink.scorer.watermark import Watermark
from neverblink.scorer.work import Arrival, FramePlace, UnscorableError, Work
from neverblink.service_life import nobody_asked, refuse_ended
from neverblink.storage.frame_objects import ObjectStore

_LAST_WORK_S = 4.0

# Faults of the record itself: people want to see it. The others are faults of its surroundings.
_POISON = frozenset(
    {
        Reason.CORRUPT_IMAGE,
        Reason.WRONG_TYPE,
        Reason.NO_IMAGE,
        Reason.IMAGE_TOO_LARGE,
        Reason.DIGEST_MISMATCH,
        Reason.OBJECT_MISSING,
        Reason.WRONG_PRODUCT,
    }
)


class Scorer:
    """One member of the scorers' group."""

    def __init__(
        self,
        consumer: EventConsumer,
        producer: EventProducer,
        models: Models,
        settings: ScorerSettings,
        *,
        scales: Mapping[tuple[str, str], float] | None = None,
        depths: Mapping[tuple[str, str], int] | None = None,
        objects: ObjectStore | None = None,
        measured: Instruments | None = None,
        answers: AnswerFollower | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`scales` are the mm per pixel of (line, station), `depths` the bits that their 16-bit pictures use, where
        they are known; `objects` has large images.

        The instruments `measured` are made where they are not given.
        """
        self._measured = measured = measured or instruments()
        self._models = models
        self._clock = clock
        self._scores_late = settings.timeout_action == "delay"
        workers = min(4, os.cpu_count() or 1)
        watermark = Watermark()
        self._fetcher = Fetcher(
            consumer, watermark, self._handle, bound=settings.max_queue_size, per_turn=settings.max_batch
        )
        bound_bytes = settings.max_queue_mib * MIB
        self._decode_pool = DecodePool(objects, workers=workers, max_bytes=bound_bytes, depths=depths)
        self._batcher: DeadlineBatcher[Work] = DeadlineBatcher(
            max_batch=settings.max_batch,
            max_queue_delay_s=settings.max_queue_delay_ms / 1000,
            clock=lambda: clock().timestamp(),
        )
        self._compute = ComputeThreads(self._batcher, models, measured, clock=clock)
        self._emitter_of = partial(
            Emitter,
            scales=scales or {},
            workers=workers,
            clock=clock,
            measured=measured,
            passes_shown=settings.evidence_of_passes,
            answers=answers,
        )
        self._emitter = self._emitter_of(producer)
        self._spare = SpareScoring(
            self._decode_pool,
            self._batcher,
            self._emitter,
            measured,
            bound=max(settings.max_batch, settings.max_queue_size // 4),
            max_bytes=bound_bytes // 4,
        )
        self._spare_bytes = bound_bytes // 4
        self._watermark = watermark
        self._committer = Committer(consumer, watermark)
        self.backlog = Backlog(consumer, watermark, clock)
        self._recurring = telemetry.Recurring(telemetry.logger("scorer"))
        observe_decoded(lambda: self._decode_pool.held_bytes)
        observe_backlog(self.backlog, lambda: self._batcher.waiting)

    def taken(self) -> dict[Partition, int]:
        """Return the partitions that this scorer is at work on, and for each the first offset not yet taken.

        One that has been given to it, and of which it has read nothing yet, is not among them.
        """
        return self._watermark.taken()

    def emitter_of(self, producer: EventProducer) -> Emitter:
        """Return what tells verdicts as this scorer does, by another producer."""
        return self._emitter_of(producer)

    def for_others(self, emitter: Emitter, freshness: Freshness) -> Hedging:
        """Return what scores other scorers' frames in this one's spare time; `emitter` tells what came of them."""
        return Hedging(
            self._decode_pool, self._batcher, emitter, self._models, freshness,
            max_bytes=self._spare_bytes, measured=self._measured, clock=self._clock,
        )  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish and commit what is in hand."""
        fetching = asyncio.create_task(self._fetcher.run(), name="fetch")
        work = [
            fetching,
            asyncio.create_task(self._compute.run(), name="compute"),
            asyncio.create_task(self._committer.run(), name="commit"),
        ]
        stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopped, *work}, return_when=asyncio.FIRST_COMPLETED)
            refuse_ended("scorer", work)
            fetching.cancel()
            await self._fetcher.finish(_LAST_WORK_S)
            await self._committer.finish()
        finally:
            for task in (stopped, *work):
                task.cancel()
            await self._fetcher.close()
            await self._spare.close()
            self._compute.close()
            await asyncio.gather(stopped, *work, return_exceptions=True)
            self._decode_pool.close()
            self._emitter.close()

    async def _handle(self, record: Record) -> None:
        """Carry one record to its acknowledged effects, whatever is wrong with it: its partition must go on."""
        try:
            await self._carry(record)
        except (Exception, asyncio.CancelledError) as error:
            # The boundary: what could not even be told, or was cancelled although nobody asked, is set aside.
            if isinstance(error, asyncio.CancelledError) and not nobody_asked(error):
                raise
            self._tell_bug("a record has no verdict", error, **_place_of(record))
            try:
                await self._emitter.set_aside(record, f"no verdict could be sent: {error!r}")
            except Exception as fault:  # noqa: BLE001 - the boundary: the PLC's own default protects the part
                self._measured.given_up.add(1, {"topic": record.topic})
                self._tell_bug("a record is given up", fault, **_place_of(record))

    def _tell_bug(self, sentence: str, error: BaseException, **fields: object) -> None:
        self._recurring.tell((sentence, type(error)), sentence, level=logging.ERROR, fields=fields, error=error)

    async def _carry(self, record: Record) -> None:
        received = self._clock()
        try:
            frame, _ = record.read(Frame)
        except EventError as error:
            with spans.processing(record, None):
                await self._emitter.unreadable(record, Reason.BAD_EVENT, str(error))
            return
        with spans.processing(record, frame):
            times = Times(captured=frame.captured, published=frame.published, received=received)
            place = FramePlace(record.partition, record.offset)
            arrival = Arrival(frame, times, telemetry.current_trace() or trace_of(record.headers), place)
            if frame.identity_fault is not None:
                self._tell_left_out(frame, frame.identity_fault)
            try:
                with self.backlog.holding(frame.deadline):
                    await self._score(arrival)
            except UnscorableError as fault:
                await self._emitter.unscored(arrival, fault.reason, str(fault))
                if fault.reason in _POISON:
                    await self._emitter.set_aside(record, str(fault))
            except Exception as error:  # noqa: BLE001 - the boundary: no fault of a model may cost a part its verdict
                self._tell_bug("a part could not be scored", error, part=frame.part)
                await self._emitter.unscored(arrival, Reason.SCORER_ERROR, repr(error))

    def _tell_left_out(self, frame: Frame, fault: str) -> None:
        labels = {"line": frame.line, "station": frame.station}
        self._measured.identities_lost.add(1, labels)
        self._recurring.tell(
            ("identity", frame.line, frame.station),
            f"part {frame.part} is judged without its identity, which cannot be read: {fault}",
            fields=labels,
        )

    async def _score(self, arrival: Arrival) -> None:
        frame = arrival.frame
        if await self._emitter.has_answer(frame):
            return
        model = self._model_of(frame)
        if self._clock() >= frame.deadline:
            await self._tell_late(arrival, model)
            return
        deadline = frame.deadline.timestamp()
        async with AsyncExitStack() as held:
            with self._batcher.coming():
                with spans.decoding():
                    preparing = self._decode_pool.prepared(frame, model, deadline=deadline)
                    prepared = await held.enter_async_context(preparing)
                work = Work(arrival, model, prepared, arrival.times)
                self._batcher.put(work, deadline, frame.key)
            try:
                inspection = await work.scored
            except LateError:
                await self._tell_late(arrival, model, work)
                return
            spans.scored(work)
            await self._emitter.scored(work, inspection)
            shadow = self._models.shadow(frame.line, frame.station)
            if shadow is not None and shadow.product.name == frame.product:
                self._spare.shadow(work, shadow)

    async def _tell_late(self, arrival: Arrival, model: Model, work: Work | None = None) -> None:
        if await self._emitter.late(arrival) and self._scores_late:
            self._spare.late(arrival, model, None if work is None else work.prepared)

    def _model_of(self, frame: Frame) -> Model:
        model = self._models.active(frame.line, frame.station, frame.product)
        if model is not None:
            return model
        station = self._models.stations.get((frame.line, frame.station))
        if station is not None and station.product != frame.product:
            raise UnscorableError(
                Reason.WRONG_PRODUCT,
                f"the frame is of product {frame.product}, its station inspects {station.product}, and no model is"
                f" there for {frame.product}",
            )
        raise UnscorableError(Reason.NO_MODEL, f"this scorer has no model of product {frame.product}")


def _place_of(record: Record) -> dict[str, object]:
    return {"partition": record.partition, "offset": record.offset, "key": record.key}
