"""Says what came of a frame: events, sent until they are acknowledged."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Literal, TypedDict, TypeVar

from neverblink import telemetry
from neverblink.decisions.judgement import Judgement, judged
from neverblink.events import (
    ArtifactRef,
    CalibratedScores,
    Event,
    EventError,
    Evidence,
    Frame,
    Reason,
    Times,
    Verdict,
)
from neverblink.events.envelope import attributes, trace_of
from neverblink.events.evidence import EvidenceKind
from neverblink.events.identity import derived_id, evidence_id, verdict_id
from neverblink.kafka import DeadLetters, EventProducer, KafkaError, Place, Record, RecordTooLargeError
from neverblink.scorer import spans, verdicts
from neverblink.scorer.instruments import Instruments
from neverblink.scorer.pictures import evidence_pictures, kinds_of_evidence
from neverblink.scorer.standby.answer_follower import AnswerFollower
from neverblink.scorer.work import Arrival, Cause, FramePlace, Work
from neverblink.vision.errors import NoNumberError
from neverblink.vision.inspection import Inspection

_RETRY_S = 0.5

T = TypeVar("T")

Outcome = Literal["first", "second", "answered", "too-late", "left"]
"""What came of a frame that was scored for another scorer: its verdict was the first or not, somebody had answered
meanwhile, the deadline passed, or it cannot be scored and is left to its own scorer."""


class Facts(TypedDict):
    """What a verdict says of a score."""

    judgement: Judgement
    artifact: ArtifactRef
    calibrated: CalibratedScores | None


class Emitter:
    """Sends verdicts, evidence and dead letters. Holds no queue: whoever has a frame in hand waits here with it."""

    def __init__(
        self,
        producer: EventProducer,
        *,
        scales: Mapping[tuple[str, str], float],
        workers: int,
        clock: Callable[[], datetime],
        measured: Instruments,
        passes_shown: float = 1.0,
        answers: AnswerFollower | None = None,
    ) -> None:
        """`scales` are the mm per pixel of (line, station), where they are known; `passes_shown` the share of plain
        passes that get evidence. What `answers` knows to be answered is not told again; None: nobody else answers.
        """
        self._producer = producer
        self._dead_letters = DeadLetters(producer, "scorer")
        self._scales = scales
        self._clock = clock
        self._passes_shown = passes_shown
        self._answers = answers
        # Apart from the decoding threads: a picture to look at must not keep the next part's image waiting.
        self._drawing = ThreadPoolExecutor(workers, thread_name_prefix="evidence")
        self._recurring = telemetry.Recurring(telemetry.logger("scorer"))
        self._measured = measured

    def close(self) -> None:
        """End the threads."""
        self._drawing.shutdown(wait=True, cancel_futures=True)

    async def scored(self, work: Work, inspection: Inspection) -> None:
        """Send the verdict and its evidence; above the deadline by now, the score is for statistics only."""
        if self._clock() > work.frame.deadline:
            if await self.late(work.arrival):
                await self.for_statistics(work, inspection, "late-frame")
            return
        if self.is_answered(work.frame):
            return
        verdict, kinds, _ = await self._told(work, inspection)
        await self._shown(work, inspection, verdict, kinds)

    async def hedged(self, work: Work, inspection: Inspection, sent: Callable[[], None]) -> Outcome:
        """Send the verdict of another scorer's frame, and its evidence where it is the first in the partition.

        `sent` is called when the verdict is acknowledged.
        """
        if self._answers is not None and self._answers.answers.first(verdict_id(work.frame.id)) is not None:
            return "answered"
        if self._clock() > work.frame.deadline:
            return "too-late"
        verdict, kinds, place = await self._told(work, inspection)
        sent()
        if self._answers is None or not await self._answers.stands(verdict.id, place):
            return "second"
        await self._shown(work, inspection, verdict, kinds)
        return "first"

    async def has_answer(self, frame: Frame) -> bool:
        """Say the same of a frame that has just come: after a standstill by what was answered meanwhile, too."""
        if self._answers is not None:
            await self._answers.caught_up()
        return self.is_answered(frame)

    def is_answered(self, frame: Frame, *, is_late: bool = False) -> bool:
        """Say, and count, whether a frame has a verdict to which its scorer has nothing to add."""
        known = self._answers is not None and self._answers.answers.spares_the_owner(
            verdict_id(frame.id), is_late=is_late
        )
        if known:
            self._measured.answered.add(1, {"line": frame.line, "station": frame.station})
        return known

    async def _told(self, work: Work, inspection: Inspection) -> tuple[Verdict, tuple[EvidenceKind, ...], Place]:
        frame, facts = work.frame, self._facts(work, inspection)
        # Whatever a verdict names must be there to be looked at.
        kinds = kinds_of_evidence(frame, facts["judgement"], inspection, passes_shown=self._passes_shown)
        ids = tuple(evidence_id(frame.id, kind) for kind in kinds)
        verdict = verdicts.in_time(frame, ids, times=self._emitted(work.times), place=work.arrival.place, **facts)
        spans.told(verdict)
        place = await self._send(verdict, work.arrival)
        self._count(verdict.decision, frame, verdict.times)
        if verdict.score is not None and verdict.threshold:
            labels = {"line": frame.line, "station": frame.station}
            self._measured.score.record(max(0.0, verdict.score / verdict.threshold), labels)
        for defect in verdict.defects:
            self._measured.defects.add(1, {"line": frame.line, "station": frame.station, "type": defect.type})
        return verdict, kinds, place

    async def _shown(self, work: Work, inspection: Inspection, verdict: Verdict, kinds: Sequence[EvidenceKind]) -> None:
        frame = work.frame
        if not kinds:
            return
        try:
            await self._show(work, inspection, verdict, kinds)
        except Exception as error:  # noqa: BLE001 - the boundary: the verdict is told, and must not be told anew
            self._measured.evidence_lost.add(1, {"line": frame.line, "station": frame.station})
            self._recurring.tell(
                ("evidence", type(error)),
                f"part {frame.part} has its verdict, and its evidence cannot be had",
                level=logging.ERROR,
                error=error,
            )

    async def _show(self, work: Work, inspection: Inspection, verdict: Verdict, kinds: Sequence[EvidenceKind]) -> None:
        frame = work.frame
        pictures = await asyncio.get_running_loop().run_in_executor(
            self._drawing, evidence_pictures, work.prepared.image, inspection, work.model.artifact, kinds
        )
        evidence = [
            Evidence(
                id=evidence_id(frame.id, kind),
                frame=frame.id,
                verdict=verdict.id,
                line=frame.line,
                station=frame.station,
                part=frame.part,
                kind=kind,
                captured=frame.captured,
                identity=frame.identity,
                content_type="image/jpeg",
                body=body,
            )
            for kind, body in pictures.items()
        ]
        # Each is acknowledged or lost before the offset may move.
        sent = await asyncio.gather(*(self._send(one, work.arrival) for one in evidence), return_exceptions=True)
        for fault in sent:
            if isinstance(fault, BaseException):
                raise fault

    async def for_statistics(self, work: Work, inspection: Inspection, cause: Cause) -> None:
        """Send a score that must not act; one that is no number is logged and told to nobody."""
        spans.scored(work, cause)
        try:
            facts = self._facts(work, inspection)
        except NoNumberError as error:
            sentence = f"part {work.frame.part} has no score for statistics ({cause}): {error}"
            self._recurring.tell(("statistics", cause), sentence)
            return
        times, place = self._emitted(work.times), work.arrival.place
        verdict = verdicts.for_statistics(work.frame, cause=cause, times=times, place=place, **facts)
        await self._send(verdict, work.arrival)

    async def late(self, arrival: Arrival) -> bool:
        """Send the verdict of a frame whose deadline has passed; False where it was answered, whoever did it."""
        over = (self._clock() - arrival.frame.deadline).total_seconds()
        if self._answers is not None:
            # Nobody waits for it any more: there is time to ask.
            await self._answers.is_answered(verdict_id(arrival.frame.id))
            if self.is_answered(arrival.frame, is_late=True):
                return False
        await self.unscored(arrival, Reason.LATE, f"the deadline passed {over:.3f} s ago, before the part was scored")
        return True

    async def unscored(self, arrival: Arrival, reason: Reason, sentence: str) -> None:
        """Send the verdict of a frame without a score."""
        frame = arrival.frame
        verdict = verdicts.unscored(frame, reason, sentence, self._emitted(arrival.times), arrival.place)
        spans.told(verdict)
        await self._send(verdict, arrival)
        self._count(f"unscored:{reason}", frame, verdict.times)
        self._recurring.tell(
            ("unscored", frame.line, frame.station, reason),
            f"part {frame.part} is not scored: {sentence}",
            fields={"line": frame.line, "station": frame.station, "reason": reason},
        )

    async def unreadable(self, record: Record, reason: Reason, sentence: str) -> None:
        """Set a record aside that is no frame; where it names a line, its part gets an unscored verdict."""
        try:
            known = attributes(record.headers)
        except EventError:
            known = {}
        derived = derived_id("record", record.topic, record.partition, record.offset)
        place = FramePlace(record.partition, record.offset)
        verdict = verdicts.unreadable(
            known.get("id", derived), record.key, known, reason, sentence, self._clock(), place
        )
        if verdict is not None:
            trace = telemetry.current_trace() or trace_of(record.headers)
            spans.told(verdict)
            await self._until_sent(lambda: self._producer.send(verdict, trace=trace))
        await self.set_aside(record, sentence)

    async def set_aside(self, record: Record, sentence: str) -> None:
        """Send a record to the dead letters."""
        await self._until_sent(lambda: self._dead_letters.send(record, sentence))

    def _facts(self, work: Work, inspection: Inspection) -> Facts:
        frame, model = work.frame, work.model
        judgement = judged(
            inspection,
            model.calibration,
            model.rules,
            mm_per_px=self._scales.get((frame.line, frame.station)),
            edited=model.edited,
        )
        return {"judgement": judgement, "artifact": model.reference, "calibrated": model.calibrated}

    async def _send(self, event: Event, arrival: Arrival) -> Place:
        return await self._until_sent(lambda: self._producer.send(event, trace=arrival.trace))

    async def _until_sent(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send until it is acknowledged: until then the frame's offset stays uncommitted.

        Raises RecordTooLargeError, which no waiting mends.
        """
        while True:
            try:
                return await send()
            except RecordTooLargeError:
                raise
            except KafkaError as error:
                self._recurring.tell("unsent", f"{error}; trying again")
                await asyncio.sleep(_RETRY_S)

    def _emitted(self, times: Times) -> Times:
        return times.model_copy(update={"emitted": self._clock()})

    def _count(self, decision: str, frame: Frame, times: Times) -> None:
        labels = {"line": frame.line, "station": frame.station, "decision": str(decision)}
        self._measured.verdicts.add(1, labels)
        if times.emitted is not None:
            self._measured.to_verdict.record((times.emitted - times.captured).total_seconds(), labels)
        self._measured.record_way(times, frame.deadline, {"line": frame.line, "station": frame.station})
