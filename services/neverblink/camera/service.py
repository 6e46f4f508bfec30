"""The camera node: trigger → grab → judge the image → publish, and a verdict for what cannot be published.

What can be told neither in time nor at all lies in the backlog on disk, and is sent when the broker is back.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from neverblink import telemetry
from neverblink.camera.backlog import Backlog
from neverblink.camera.claim_check import ClaimCheck
from neverblink.camera.frame_buffer import FrameBuffer
from neverblink.camera.frozen import FrozenWatch
from neverblink.camera.identification import Identification
from neverblink.camera.instruments import Instruments, instruments
from neverblink.camera.live import LiveSource
from neverblink.camera.marks import PLAIN, Marks
from neverblink.camera.picture import Picture, SourceError, encoded
from neverblink.camera.sources import Source, open_source
from neverblink.camera.spans import Spans
from neverblink.camera.spool import Spool
from neverblink.camera.triggers import Trigger, station_triggers
from neverblink.events import Decision, Frame, Quality, Reason, Times, Verdict
from neverblink.events.context import ContextValues
from neverblink.events.identity import frame_id, verdict_id
from neverblink.kafka import EventProducer, KafkaError
from neverblink.plant import HardwareTrigger, Line, LiveSettings, Station, Storage, VideoSource
from neverblink.service_life import Duty, end_all, given_time, keeping, time_limit, unasked_end
from neverblink.storage.frame_objects import ObjectError, ObjectStore
from neverblink.vision.quality import ImageQuality, judge, judge_size, measure

# Unpublishable frames tell the bridge at once; the time for that is small and must end.
_VERDICT_TIMEOUT_S = 5.0

# Told to stop, a node sends what it has in hand for so long; what Kafka has not taken by then it keeps on disk, for
# which it has a little time more. With the goodbye to Kafka and the collector it is below the process's grace time.
FINISH_S = 4.0
KEEP_S = 2.0
_MIB = 1024 * 1024

T = TypeVar("T")


class CameraNode:
    """One station's node. Every trigger ends in one published frame or one `unscored` verdict."""

    def __init__(
        self,
        line: Line,
        station: Station,
        producer: EventProducer,
        storage: Storage,
        *,
        source: Source | None = None,
        depth: int | None = None,
        context: Callable[[Trigger], ContextValues | None] = lambda _: None,
        mark: Callable[[Trigger], Marks] = lambda _: PLAIN,
        known: Callable[[Trigger], str | None] = lambda _: None,
        measured: Instruments | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`source` and the instruments `measured` are made where they are not given; `depth` is the product's, for
        16-bit pictures of a station that states none. `context` says what the line's context holds for a part, `mark`
        whether it is a holdout, and `known` which reference part it is.
        """
        name = f"{line.name}/{station.name}"
        self._line = line
        self._station = station
        self._producer = producer
        self._claims = ClaimCheck(ObjectStore.of(storage), station.payload.max_inline_bytes, name)
        self._clock = clock
        self._measured = measured or instruments()
        self._identification = Identification(
            line.name, station.name, station.product, context, self._measured.identity_left_out
        )
        self._mark = mark
        self._reference = known
        self._source = source or open_source(station, name, self._measured, depth=depth)
        # A folder or a recording that begins again shows the same pictures in turn, and rightly.
        live = isinstance(station.source, LiveSettings) and not isinstance(station.source, VideoSource)
        self._frozen = FrozenWatch(station.quality.frozen_after, cycles=live)
        self._budget = timedelta(seconds=line.timing.budget_s)
        self._buffer = FrameBuffer(station.buffer_frames)
        self._traces: dict[str, dict[str, str]] = {}
        self._seq = 0
        self._open = 0  # triggers that have not ended in a frame or a verdict yet
        self._displaced: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._sends: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.listening = asyncio.Event()
        self._log = telemetry.logger("camera")
        self._recurring = telemetry.Recurring(self._log)
        self._spans = Spans(line.name, station.name)
        self._labels = {"line": line.name, "station": station.name}
        self._backlog = self._backlog_in(storage, name)
        # One named thread grabs: the driver blocks, the loop never does.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"acquire-{line.name}-{station.name}")

    def _backlog_in(self, storage: Storage, name: str) -> Backlog:
        verdicts, frames = (
            Spool(
                storage.spool / name / kind,
                max_bytes=storage.spool_max_mib * _MIB,
                max_events=storage.spool_max_events,
            )
            for kind in ("verdicts", "frames")
        )
        return Backlog(
            verdicts,
            frames,
            name=name,
            send=self._send_kept,
            has_room=lambda: not len(self._buffer),
            clock=self._clock,
            labels=self._labels,
            measured=self._measured,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set or the last part is through, then publish what is buffered."""
        await self._backlog.open()
        if isinstance(self._source, LiveSource):
            self._source.start()  # before the first part: a network camera takes a second to connect
        duties = (
            self._duty("triggers", self._take_all, may_finish=True),
            self._duty("publishing", self._publish_all),
            self._duty("backlog", self._backlog.send_all),
        )
        stopped = asyncio.create_task(stop.wait())
        try:
            async with keeping("camera", *duties) as (triggers, *_):
                await asyncio.wait({triggers, stopped}, return_when=asyncio.FIRST_COMPLETED)
                await self._finish(triggers, stopped)
        finally:
            await end_all([stopped, *self._displaced], within_s=KEEP_S)
            await given_time(self._in_thread(self._source.close), seconds=KEEP_S, name="letting go of the camera")
            self._backlog.close()
            self._claims.close()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _finish(self, triggers: "asyncio.Task[None]", stopped: "asyncio.Task[Literal[True]]") -> None:
        """Tell what is in hand; what Kafka does not take in time is kept, and sent when the node runs again."""
        telling = asyncio.create_task(self._tell_all(triggers), name="telling the last parts")
        try:
            # Whose last part is through has all the time that it needs, until somebody wants it to stop.
            await asyncio.wait({telling, stopped}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({telling}, timeout=FINISH_S)
            if telling.done():
                telling.result()
                return
            self._leaving = True
            for limit in self._sends:
                limit.reschedule(asyncio.get_running_loop().time())
            await end_all([triggers], within_s=KEEP_S)
            if not await given_time(self._idle.wait(), seconds=KEEP_S, name="keeping the last parts"):
                left = f"{self._open} parts in hand could be neither told nor kept"
                self._log.error(left, extra={"fields": self._labels})
        finally:
            await end_all([telling], within_s=KEEP_S)

    async def _tell_all(self, triggers: "asyncio.Task[None]") -> None:
        if isinstance(self._station.trigger, HardwareTrigger):
            # Its pictures are parts: what has arrived is taken, then its triggers end by themselves.
            await self._in_thread(self._source.close)
            await asyncio.wait({triggers})
        await end_all([triggers])
        await self._idle.wait()

    @contextlib.asynccontextmanager
    async def _sending(self, seconds: float) -> AsyncIterator[None]:
        """As `time_limit`, which is over at once when the node leaves."""
        async with time_limit(0.0 if self._leaving else seconds) as limit:
            self._sends.add(limit)
            try:
                yield
            finally:
                self._sends.discard(limit)

    def _duty(self, what: str, work: Callable[[], Awaitable[None]], *, may_finish: bool = False) -> Duty:
        return Duty(f"{what} of {self._line.name}/{self._station.name}", work, may_finish=may_finish)

    async def _take_all(self) -> None:
        camera = self._source if isinstance(self._source, LiveSource) else None
        found = station_triggers(self._line, self._station, camera, self.listening)
        async with contextlib.aclosing(found) as triggers:
            async for trigger in triggers:
                # A trigger in hand ends in a frame or a verdict even when the node is told to stop meanwhile.
                await asyncio.shield(self.take(trigger))

    async def take(self, trigger: Trigger) -> None:
        """Turn one trigger into a buffered frame, or into a verdict that says why not."""
        self._seq += 1
        self._open += 1
        self._idle.clear()
        seq = self._seq
        with self._spans.trigger(trigger, seq):
            trace = telemetry.current_trace()
            if trigger.missed is not None:
                await self._unscorable(await self._known(trigger), seq, Reason.NO_IMAGE, trigger.missed, trace)
                return
            try:
                picture, measured = await self._in_thread(lambda: self._acquire(trigger))
            except SourceError as error:
                await self._unscorable(await self._known(trigger), seq, error.reason, str(error), trace)
                return
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
                # The boundary: neither a library's fault nor a cancellation that nobody asked for costs a verdict.
                unasked_end("camera", f"taking the picture of part {trigger.part}", error)
                await self._unscorable(await self._known(trigger), seq, Reason.NO_IMAGE, repr(error), trace)
                return
            # Asked for when the part was triggered: while its picture was taken, the PLC had time to answer.
            trigger = await self._known(trigger)
            quality = Quality.model_validate(asdict(measured))
            fault = self._fault(picture, measured)
            if fault is not None:
                await self._unscorable(trigger, seq, *fault, trace, quality)
                return
            self._hold(self._frame(trigger, seq, picture, quality), trace)

    async def _known(self, trigger: Trigger) -> Trigger:
        """Return the trigger with the part's marks, and its identity as far as it can be had in time."""
        left = (trigger.at + self._budget - self._clock()).total_seconds()
        said: str | None = None
        try:
            trigger = replace(trigger, marks=self._mark(trigger))
            with self._spans.identify():
                identity, said = await self._identification.of(trigger, left)
            trigger = replace(trigger, identity=identity)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            # The boundary: a part without a name is judged like any other.
            unasked_end("camera", f"identifying part {trigger.part}", error)
        announced = self._reference(trigger)  # asked for each part: an announcement may be about the next one
        reference = announced if said is None else said
        # A reference part is not of the line's production: none is drawn as a holdout.
        return trigger if reference is None else replace(trigger, marks=Marks(challenge=True, reference=reference))

    def _acquire(self, trigger: Trigger) -> tuple[Picture, ImageQuality]:
        with self._spans.capture():
            if trigger.shot is not None:
                picture = encoded(trigger.shot.whole(), self._station.payload)
            else:
                picture = self._source.grab(trigger.number, trigger.at)
        with self._spans.quality():
            return picture, measure(picture.pixels)

    def _fault(self, picture: Picture, quality: ImageQuality) -> tuple[Reason, str] | None:
        cycle = self._frozen.frozen_cycle(picture.sha256)
        if cycle:
            count = self._station.quality.frozen_after
            seen = f"last {count} pictures are identical" if cycle == 1 else f"same {cycle} pictures came {count} times"
            return Reason.FROZEN, f"the {seen}: the camera is frozen"
        limits = self._station.quality
        if judge_size(picture.pixels, limits) is not None:
            height, width = picture.pixels.shape[:2]
            expected = " × ".join("any" if side is None else str(side) for side in (limits.width, limits.height))
            return Reason.WRONG_SIZE, f"the picture has {width} × {height} pixels and the station expects {expected}"
        fault = judge(quality, limits)
        if fault is not None:
            seen = ", ".join(f"{name} {value:.3g}" for name, value in asdict(quality).items())
            return Reason(fault), f"the picture is {fault.replace('-', ' ')} ({seen}); see the station's quality limits"
        bound = self._station.payload.max_inline_bytes
        if len(picture.body) > bound and not self._claims.has_store:
            sentence = f"the picture has {len(picture.body)} bytes, payload.max_inline_bytes is {bound}"
            return Reason.IMAGE_TOO_LARGE, f"{sentence}, and the plant has no storage.objects for larger ones"
        return None

    def _frame(self, trigger: Trigger, seq: int, picture: Picture, quality: Quality) -> Frame:
        return Frame(
            id=frame_id(trigger.at),
            line=self._line.name,
            station=self._station.name,
            product=self._station.product,
            part=trigger.part,
            seq=seq,
            captured=trigger.at,
            published=self._clock(),
            deadline=trigger.at + self._budget,
            epoch=trigger.tracking.epoch if trigger.tracking else None,
            number=trigger.tracking.number if trigger.tracking else None,
            sha256=picture.sha256,
            size=len(picture.body),
            content_type=picture.content_type,
            body=picture.body,
            identity=trigger.identity,
            **trigger.marks.on_frame(),
            **quality.model_dump(),
        )

    def _hold(self, frame: Frame, trace: dict[str, str]) -> None:
        self._traces[frame.id] = trace
        displaced = self._buffer.put(frame)
        if displaced is not None:
            bound = self._station.buffer_frames
            sentence = f"{bound} frames wait for Kafka and this one had the least time left"
            # The buffer must not wait for Kafka, which is what it waits for already.
            reason = Reason.BROKER_AWAY if self._backlog.broker_away else Reason.OVERLOAD
            task = asyncio.create_task(self._give_up(displaced, reason, sentence), name=f"part {displaced.part}")
            self._displaced.add(task)
            task.add_done_callback(self._ended_displaced)

    @property
    def waiting(self) -> int:
        """Return how many frames wait for Kafka."""
        return len(self._buffer)

    async def _publish_all(self) -> None:
        while True:
            frame = await self._buffer.get()
            try:
                await self._publish(frame)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
                # The boundary: neither a library's fault nor a cancellation that nobody asked for costs a verdict.
                unasked_end("camera", f"publishing part {frame.part}", error)
                await self._give_up(frame, Reason.BROKER_AWAY, f"the frame could not be published: {error!r}")

    async def _publish(self, frame: Frame) -> None:
        trace = self._traces.get(frame.id, {})
        left = (frame.deadline - self._clock()).total_seconds()
        if left <= 0:
            reason = Reason.BROKER_AWAY if self._backlog.broker_away else Reason.LATE
            await self._give_up(frame, reason, "the deadline passed before the frame could be published")
            return
        claimed = frame
        try:
            async with self._sending(left):
                claimed = await self._claims.checked(frame)
                await self._producer.send(claimed, trace=trace)
        except ObjectError as error:
            await self._give_up(frame, error.reason, str(error))
            return
        except (TimeoutError, KafkaError) as error:
            if self._claims.is_needed(claimed):
                why = f"the object store did not take the image within the {left:.2f} s that were left"
                await self._give_up(frame, Reason.STORE_AWAY, why)
                return
            # What timed out may still be in the client's hands and be sent by it later, past its deadline, besides the
            # copy in the backlog: at most the batch in flight and the one behind it, and readers deduplicate.
            self._backlog.broker_away = True
            why = str(error) or f"Kafka did not take the frame within the {left:.2f} s that were left"
            await self._give_up(claimed, Reason.BROKER_AWAY, why)
            return
        self._backlog.broker_away = False
        self._traces.pop(frame.id, None)
        self._ended()
        self._measured.published.add(1, self._labels)
        now = self._clock()
        self._measured.to_publish.record((now - frame.captured).total_seconds(), self._labels)
        left_s = (frame.deadline - now).total_seconds()
        telemetry.record_time_left(left_s, self._measured.slack, None, self._labels)

    async def _send_kept(self, event: Frame | Verdict, trace: Mapping[str, str]) -> None:
        """Send what the backlog has kept. A frame's deadline has passed: it is scored for statistics only."""
        if isinstance(event, Frame):
            claimed = await self._claims.checked(event)
            await self._producer.send(claimed.model_copy(update={"published": self._clock()}), trace=trace)
        else:
            await self._producer.send(event, trace=trace)

    async def _give_up(self, frame: Frame, reason: Reason, sentence: str) -> None:
        trigger = Trigger(
            frame.part, frame.seq, frame.captured, frame.tracking, identity=frame.identity, marks=Marks.of(frame)
        )
        trace = self._traces.pop(frame.id, {})
        # Kept before the verdict is told: a broker that does not answer must not hold the image in memory.
        await self._backlog.keep(frame, trace)
        await self._unscorable(trigger, frame.seq, reason, sentence, trace, frame.quality, frame.id)

    async def _unscorable(
        self,
        trigger: Trigger,
        seq: int,
        reason: Reason,
        sentence: str,
        trace: Mapping[str, str],
        quality: Quality | None = None,
        frame: str | None = None,
    ) -> None:
        frame = frame or frame_id(trigger.at)
        now = self._clock()
        deadline = trigger.at + self._budget
        verdict = Verdict(
            id=verdict_id(frame),
            frame_id=frame,
            line=self._line.name,
            station=self._station.name,
            product=self._station.product,
            part=trigger.part,
            seq=seq,
            tracking=trigger.tracking,
            decision=Decision.UNSCORED,
            reason=reason,
            detail=sentence[:1000],
            quality=quality,
            times=Times(captured=trigger.at, emitted=now),
            deadline=deadline,
            late=now > deadline,
            identity=trigger.identity,
            **trigger.marks._asdict(),
        )
        self._measured.unscored.add(1, {**self._labels, "reason": reason})
        self._recurring.tell(
            reason, f"part {trigger.part} is not scored: {sentence}", fields={**self._labels, "reason": reason}
        )
        try:
            with self._spans.unscored(verdict, trace) as told:
                await self._tell(verdict, told)
        finally:
            self._ended()

    async def _tell(self, verdict: Verdict, trace: Mapping[str, str]) -> None:
        """Send a verdict, or keep it until the broker is back: then the PLC's own default protects the part."""
        if not (self._backlog.broker_away and self._backlog.usable):
            try:
                async with self._sending(_VERDICT_TIMEOUT_S):
                    await self._producer.send(verdict, trace=trace)
            except (TimeoutError, KafkaError) as error:
                self._backlog.broker_away = True
                self._recurring.tell(
                    "unsent",
                    f"the verdict of part {verdict.part} could not be sent in time: {str(error) or 'Kafka is away'}",
                    level=logging.ERROR,
                    fields={**self._labels, "verdict": verdict.id},
                )
            else:
                return
        await self._backlog.keep(verdict, trace)

    def _ended_displaced(self, task: "asyncio.Task[None]") -> None:
        self._displaced.discard(task)
        fault = "cancelled" if task.cancelled() else task.exception()
        if fault is not None:
            self._log.error(f"a displaced frame, {task.get_name()}, got no verdict: {fault!r}")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # In the context of whoever asks, so that the part's trace goes on.
        return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, work)

    def _ended(self) -> None:
        self._open -= 1
        if not self._open:
            self._idle.set()
