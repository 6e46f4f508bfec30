"""The scorer: fetch → decode → batch by deadline → compute → emit → commit the watermark.

Every record that is taken ends in one verdict (or, when it names no line, in a dead letter), and its offset
is committed only after verdict and evidence are acknowledged.
"""

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, get_current_span

from neverblink import telemetry
from neverblink.events import Event, EventError, Evidence, Frame, Reason, Times
from neverblink.events.envelope import attributes, trace_of
from neverblink.events.evidence import EvidenceKind
from neverblink.events.identity import derived_id, evidence_id
from neverblink.kafka import DeadLetters, EventConsumer, EventProducer, KafkaError, Partition, Record
from neverblink.plant import ScorerSettings
from neverblink.scorer import verdicts
from neverblink.scorer.deadline_batcher import DeadlineBatcher, LateError
from neverblink.scorer.models import Model, Models
from neverblink.scorer.pictures import defects_of, evidence_pictures
from neverblink.scorer.watermark import Watermark
from neverblink.vision.decode import ImageError, decode
from neverblink.vision.hybrid import decide
from neverblink.vision.inspection import Inspection

_COMMIT_EVERY_S = 0.2
_LAST_WORK_S = 10.0
_RETRY_S = 0.5

_REASONS = {reason.value: reason for reason in Reason}
# Faults of the record itself: people want to see it. The others are faults of its surroundings.
_POISON = frozenset({Reason.CORRUPT_IMAGE, Reason.WRONG_TYPE, Reason.IMAGE_TOO_LARGE, Reason.DIGEST_MISMATCH})


@dataclass(slots=True)
class _Work:
    """A frame on its way through the scorer."""

    frame: Frame
    trace: dict[str, str]
    model: Model
    pixels: NDArray[np.uint8]
    times: Times
    scored: "asyncio.Future[Inspection]"
    span: SpanContext = field(default_factory=lambda: get_current_span().get_span_context())


class UnscorableError(Exception):
    """A frame that gets no score; `reason` is the verdict's, the message its detail."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class NotScoredError(Exception):
    """A late frame that is not scored for statistics: there was no room, or the settings say so."""


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
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`scales` are the mm per pixel of (line, station), where they are known."""
        self._consumer = consumer
        self._producer = producer
        self._models = models
        self._settings = settings
        self._scales = scales or {}
        self._clock = clock
        self._dead_letters = DeadLetters(producer, "scorer")
        self._watermark = Watermark()
        self._batcher: DeadlineBatcher[_Work] = DeadlineBatcher(
            max_batch=settings.max_batch,
            max_queue_delay_s=settings.max_queue_delay_ms / 1000,
            max_queue_size=settings.max_queue_size,
            clock=lambda: clock().timestamp(),
        )
        # Records in hand, from fetch to acknowledgement: this set is the bound on memory.
        self._in_hand: set[asyncio.Task[None]] = set()
        self._bound = settings.max_queue_size
        self._compute = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._pictures = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="pictures")
        self._log = telemetry.logger("scorer")
        self._tracer = telemetry.tracer("scorer")
        meter = telemetry.meter("scorer")
        self._verdicts = meter.create_counter("neverblink.scorer.verdicts", unit="{verdict}")
        self._defects = meter.create_counter("neverblink.scorer.defects", unit="{defect}")
        self._to_verdict = meter.create_histogram("neverblink.scorer.captured_to_verdict", unit="s")
        self._batch_size = meter.create_histogram("neverblink.scorer.batch_size", unit="{frame}")
        self._batch_time = meter.create_histogram("neverblink.scorer.batch_time", unit="s")
        self._late_dropped = meter.create_counter("neverblink.scorer.late_not_scored", unit="{frame}")
        consumer.on_revoked(self._give_back)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish and commit what is in hand."""
        work: list[asyncio.Task[None]] = [
            asyncio.create_task(part(), name=name)
            for name, part in (
                ("fetch", self._fetch_all),
                ("compute", self._compute_all),
                ("commit", self._commit_all),
            )
        ]
        fetching = work[0]
        stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        awaited: set[asyncio.Task[Any]] = {stopped, *work}
        try:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    task.result()
            fetching.cancel()
            if self._in_hand:
                await asyncio.wait(self._in_hand, timeout=_LAST_WORK_S)
            await self._commit()
        finally:
            awaited |= self._in_hand
            for task in awaited:
                task.cancel()
            await asyncio.gather(*awaited, return_exceptions=True)
            self._compute.shutdown(wait=True, cancel_futures=True)
            self._pictures.shutdown(wait=True, cancel_futures=True)

    # Fetch

    async def _fetch_all(self) -> None:
        while True:
            room = self._bound - len(self._in_hand)
            if room <= 0:
                await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                # A batch's worth per partition and round: a station with a backlog delays no other.
                records = await self._consumer.poll(room, per_partition=self._settings.max_batch)
            except KafkaError as error:
                self._log.warning(str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            for record in records:
                self._watermark.opened(record.place, record.offset)
                task = asyncio.create_task(self._handle(record))
                self._in_hand.add(task)
                task.add_done_callback(self._in_hand.discard)

    async def _handle(self, record: Record) -> None:
        """Carry one record to its acknowledged effects, whatever is wrong with it."""
        received = self._clock()
        context = telemetry.remote_context(trace_of(record.headers))
        with self._tracer.start_as_current_span(
            f"process {record.topic}",
            context,
            SpanKind.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
                "messaging.kafka.message.key": record.key,
            },
        ):
            own = telemetry.current_trace() or trace_of(record.headers)
            try:
                frame, _ = record.read(Frame)
            except EventError as error:
                await self._poison(record, Reason.BAD_EVENT, str(error))
            else:
                await self._score(record, frame, own, received)
        self._watermark.finished(record.place, record.offset)

    async def _score(self, record: Record, frame: Frame, own: dict[str, str], received: datetime) -> None:
        times = Times(captured=frame.captured, published=frame.published, received=received)
        try:
            work = await self._prepared(frame, own, times)
            in_time = await self._queued(work)
            inspection = await work.scored
        except UnscorableError as fault:
            await self._tell_unscored(frame, fault.reason, str(fault), times, own)
            if fault.reason in _POISON:
                sentence = str(fault)
                await self._until_sent(lambda: self._dead_letters.send(record, sentence))
        except NotScoredError:
            self._late_dropped.add(1, {"line": frame.line, "station": frame.station})
        except Exception as error:  # noqa: BLE001 - the boundary: no fault of a model may cost a part its verdict
            self._log.error(f"part {frame.part} could not be scored", exc_info=error)
            await self._tell_unscored(frame, Reason.SCORER_ERROR, repr(error), times, own)
        else:
            await self._tell_scored(work, inspection, in_time=in_time)

    async def _queued(self, work: _Work) -> bool:
        """Wait until the frame leaves in a batch; False when it is late and scored for statistics only."""
        try:
            await self._batcher.put(work, work.frame.deadline.timestamp())
        except LateError:
            await self._tell_late(work.frame, work.times, work.trace)
            if self._settings.timeout_action == "reject":
                raise NotScoredError from None
            displaced = self._batcher.put_late(work)
            if displaced is not None:
                displaced.scored.set_exception(NotScoredError())
            return False
        return True

    async def _prepared(self, frame: Frame, own: dict[str, str], times: Times) -> _Work:
        model = self._models.get(frame.product)
        if model is None:
            raise UnscorableError(Reason.NO_MODEL, f"this scorer has no model of product {frame.product}")
        if frame.dataref is not None:
            raise UnscorableError(
                Reason.OBJECT_MISSING,
                f"the image lies at {frame.dataref} and no object store is set up",
            )
        loop = asyncio.get_running_loop()
        pixels = await loop.run_in_executor(self._pictures, _decoded, frame)
        return _Work(frame, own, model, pixels, times, loop.create_future())

    # Compute

    async def _compute_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._batcher.take()
            batched = self._clock()
            for work in batch:
                work.times = work.times.model_copy(update={"batched": batched})
            links = [Link(work.span) for work in batch]
            with self._tracer.start_as_current_span(
                "compute batch", Context(), SpanKind.INTERNAL,
                {"neverblink.batch.size": len(batch)}, links=links,
            ):  # fmt: skip
                began = time.perf_counter()
                pictures = [(work.frame.product, work.pixels) for work in batch]
                try:
                    inspections = await loop.run_in_executor(self._compute, self._models.score, pictures)
                except Exception as error:  # noqa: BLE001 - each frame of the batch tells it as its own fault
                    for work in batch:
                        if not work.scored.done():
                            work.scored.set_exception(error)
                    continue
                took = time.perf_counter() - began
            self._batcher.times.learn(len(batch), took)
            self._batch_size.record(len(batch))
            self._batch_time.record(took)
            scored = self._clock()
            for work, inspection in zip(batch, inspections, strict=True):
                work.times = work.times.model_copy(update={"scored": scored})
                if not work.scored.done():
                    work.scored.set_result(inspection)

    # Emit

    async def _tell_scored(self, work: _Work, inspection: Inspection, *, in_time: bool) -> None:
        frame, model = work.frame, work.model
        # Above the deadline by now? Then the score is for statistics only.
        if in_time and self._clock() > frame.deadline:
            in_time = False
            await self._tell_late(frame, work.times, work.trace)
        score, threshold = inspection.anomaly.score, model.artifact.threshold
        scale = self._scales.get((frame.line, frame.station))
        decision = decide(
            score,
            threshold,
            inspection.findings,
            model.policy,
            unsure=model.artifact.manifest.calibration.is_unsure(score),
            mm_per_px=scale,
        )
        facts: dict[str, object] = {
            "score": score,
            "threshold": threshold,
            "artifact": model.reference,
            "decision": decision,
            "defects": defects_of(inspection.findings, model.product.defects, scale),
        }
        if not in_time:
            times = self._now_emitted(work.times)
            await self._send(verdicts.for_statistics(frame, times=times, **facts), work.trace)  # type: ignore[arg-type]
            return
        # Whatever a verdict names must be there to be looked at.
        shown = decision.reject or bool(inspection.findings)
        kinds: tuple[EvidenceKind, ...] = ("overlay", "thumbnail") if shown else ("thumbnail",)
        ids = tuple(evidence_id(frame.id, kind) for kind in kinds)
        verdict = verdicts.in_time(frame, ids, times=self._now_emitted(work.times), **facts)
        await self._send(verdict, work.trace)
        self._count(verdict.decision, frame, verdict.times)
        for defect in verdict.defects:
            self._defects.add(1, {"line": frame.line, "station": frame.station, "type": defect.type})
        pictures = await asyncio.get_running_loop().run_in_executor(
            self._pictures, evidence_pictures, work.pixels, inspection, model.artifact, kinds
        )
        for kind, body in pictures.items():
            await self._send(
                Evidence(
                    id=evidence_id(frame.id, kind),
                    frame=frame.id,
                    verdict=verdict.id,
                    line=frame.line,
                    station=frame.station,
                    part=frame.part,
                    kind=kind,
                    captured=frame.captured,
                    content_type="image/jpeg",
                    body=body,
                ),
                work.trace,
            )

    async def _tell_late(self, frame: Frame, times: Times, own: dict[str, str]) -> None:
        over = (self._clock() - frame.deadline).total_seconds()
        sentence = f"the deadline passed {over:.3f} s ago, before the part was scored"
        await self._tell_unscored(frame, Reason.LATE, sentence, times, own)

    async def _tell_unscored(
        self, frame: Frame, reason: Reason, sentence: str, times: Times, own: dict[str, str]
    ) -> None:
        verdict = verdicts.unscored(frame, reason, sentence, self._now_emitted(times))
        await self._send(verdict, own)
        self._count(f"unscored:{reason}", frame, verdict.times)
        self._log.warning(
            f"part {frame.part} is not scored: {sentence}",
            extra={"fields": {"line": frame.line, "station": frame.station, "reason": reason}},
        )

    async def _poison(self, record: Record, reason: Reason, sentence: str) -> None:
        try:
            known = attributes(record.headers)
        except EventError:
            known = {}
        place = derived_id("record", record.topic, record.partition, record.offset)
        verdict = verdicts.unreadable(known.get("id", place), record.key, known, reason, sentence, self._clock())
        if verdict is not None:
            await self._send(verdict, trace_of(record.headers))
        await self._until_sent(lambda: self._dead_letters.send(record, sentence))

    async def _send(self, event: Event, own: dict[str, str]) -> None:
        await self._until_sent(lambda: self._producer.send(event, trace=own))

    async def _until_sent(self, send: Callable[[], Awaitable[object]]) -> None:
        """Send until it is acknowledged: until then the frame's offset stays uncommitted."""
        while True:
            try:
                await send()
            except KafkaError as error:
                self._log.warning(f"{error}; trying again")
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _now_emitted(self, times: Times) -> Times:
        return times.model_copy(update={"emitted": self._clock()})

    def _count(self, decision: str, frame: Frame, times: Times) -> None:
        labels = {"line": frame.line, "station": frame.station, "decision": str(decision)}
        self._verdicts.add(1, labels)
        if times.emitted is not None:
            self._to_verdict.record((times.emitted - times.captured).total_seconds(), labels)

    # Commit

    async def _commit_all(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            with contextlib.suppress(KafkaError):  # the next round commits more
                await self._commit()

    async def _commit(self) -> None:
        due = self._watermark.due()
        if due:
            await self._consumer.commit(due)
            self._watermark.committed(due)

    async def _give_back(self, places: set[Partition]) -> None:
        """Commit what is finished of partitions that move away; the new owner scores the rest again."""
        with contextlib.suppress(KafkaError):
            await self._commit()
        self._watermark.forget(places)


def _decoded(frame: Frame) -> NDArray[np.uint8]:
    """Return the frame's pixels, (H, W, 3) uint8 RGB. Raises UnscorableError."""
    if hashlib.sha256(frame.body).hexdigest() != frame.sha256:
        raise UnscorableError(Reason.DIGEST_MISMATCH, "the image does not have the digest that its frame states")
    try:
        return decode(frame.body)
    except ImageError as error:
        raise UnscorableError(_REASONS.get(error.reason, Reason.CORRUPT_IMAGE), str(error)) from error
