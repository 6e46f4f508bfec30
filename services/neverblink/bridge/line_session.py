"""One line: keeps a session with its PLC, tells it every part's verdict in time, reports what became of it.

A line knows nothing of the others, so that none takes another down.
"""

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from opentelemetry import trace as otel
from opentelemetry.trace import SpanKind, StatusCode

from neverblink import telemetry
from neverblink.bridge.gate_feedback import GateEvent, GateFeedback
from neverblink.bridge.instruments import Instruments
from neverblink.bridge.part_tracking import Effect, PartDecision, PartTracking, inherited
from neverblink.bridge.profile import Look, Profile
from neverblink.bridge.profiles import profile_of
from neverblink.bridge.scheduler import Order, Scheduler, Told, Write
from neverblink.bridge.write_budget import WriteBudget
from neverblink.events import Actuation, Decision, GateAction, Outcome, Tracking, Verdict
from neverblink.events.identity import actuation_id
from neverblink.plant import Line
from neverblink.plc.connection import PlcConnection, PlcError, PlcUnreachableError, connect
from neverblink.plc.contract import PROFILES, Alarm, BridgeState
from neverblink.plc.word import NUMBERS, parts_behind

Report = Callable[[Actuation, Mapping[str, str]], None]

MIN_BACK_OFF_S = 0.1
MAX_BACK_OFF_S = 1.0
LOOK_EVERY_S = 0.1  # GateRing holds 16 parts: enough for 160 parts a second
TICK_S = 0.02
STATE_TIMEOUT_S = 1.0
DRAIN_S = 1.0
DEGRADED_AFTER = 3
ALARM_HOLD_S = 5.0
PLC_HEARTBEAT_S = 2.0
MEMORY = 4096
# Where silence passes, a part triggered while we were away may be near the gate: when that was is not known.
UNSEEN_TRIGGER_S = 0.3
_AHEAD = NUMBERS // 2


class LinkState(StrEnum):
    """Where the line stands with its PLC."""

    DOWN = "down"
    CONNECTING = "connecting"
    VALIDATING = "validating"
    READY = "ready"
    DEGRADED = "degraded"
    REFUSED = "refused"


@dataclass(slots=True)
class _PlcPulse:
    """The PLC's own heartbeat as we saw it."""

    value: int | None = None
    moved: float = 0.0
    silent: bool = False


class LineSession:
    """The bridge of one line. `take` is called with each verdict and never waits; `run` does the rest."""

    def __init__(
        self,
        line: Line,
        report: Report,
        instruments: Instruments,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if line.plc is None:
            raise ValueError(f"line {line.name} has no PLC")
        self.line = line
        self.state = LinkState.DOWN
        self.ready = asyncio.Event()
        self._plc = line.plc
        self._report = report
        self._instruments = instruments
        self._clock = clock
        self._log = telemetry.logger("bridge")
        self._tracer = telemetry.tracer("bridge")
        self._about = {"line": line.name}
        stations = [station.name for station in line.stations if station.trigger.kind == "plc"]
        self._tracking = PartTracking(stations, line.timing.budget_s)
        self._budget = WriteBudget(self._plc.write_budget_min_ms / 1000, self._plc.write_budget_max_ms / 1000)
        self._profile = profile_of(self._plc)
        self._silence_passes = PROFILES[self._plc.profile].silence_passes
        self._scheduler = Scheduler(self._budget, self._profile.batch, line.timing.margin_ms / 1000)
        self._feedback = GateFeedback()
        self._decisions: OrderedDict[tuple[int, int], PartDecision] = OrderedDict()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._look_now = asyncio.Event()
        self._look: Look | None = None
        self._baseline: tuple[int, int] | None = None
        self._pulse = _PlcPulse()
        self._began = clock()
        self._heartbeat = 0
        self._troubled_in_a_row = 0
        self._late_count = 0
        self._late_last = 0
        self._alarms: dict[Alarm, float] = {}
        self._untracked = 0
        self._known_epoch: int | None = None
        self._expiries: Mapping[str, datetime] = {}
        self._last_sentence = ""

    @property
    def sentence(self) -> str:
        """Return why the line is not served, as it was last told; empty while it is."""
        return self._last_sentence

    def succeed(self, told: Sequence[Actuation]) -> None:
        """Go on where another bridge ended: these parts have their outcome, oldest first; those behind them not."""
        for event in told:
            decision = inherited(event)
            self._tracking.settled(decision)
            self._remember(decision)
        if told:
            newest, lead = told[-1], timedelta(seconds=self.line.timing.lead_s)
            # Those that were on the belt with the newest one may lack an outcome too.
            behind = max(
                parts_behind(newest.tracking.number, event.tracking.number)
                if event.tracking.epoch == newest.tracking.epoch and newest.at - event.at <= lead
                else 0
                for event in told
            )
            oldest = (newest.tracking.number - (behind if behind < _AHEAD else 0)) % NUMBERS
            self._tracking.triggered(newest.tracking.epoch, oldest, self._began, 0)

    # Verdicts come in.

    def take(self, verdict: Verdict, trace: Mapping[str, str]) -> None:
        """Take one verdict of this line; its outcome is reported later, exactly once a part."""
        if verdict.tracking is None:
            self._count_verdict("untracked")
            self._untracked += 1
            if self._untracked & self._untracked - 1 == 0:  # the 1st, 2nd, 4th, 8th …
                self._log.warning(
                    f"{self._untracked} verdicts of {self.line.name} carry no part number and cannot be told "
                    "to the PLC: let it trigger the station (trigger: {kind: plc})",
                    extra={"fields": {**self._about, "station": verdict.station}},
                )
            return
        effect, decision = self._tracking.add(verdict, self._deadline(verdict), trace)
        self._count_verdict(effect)
        if effect in (Effect.LATE, Effect.FOREIGN_STATION):
            self._log.warning(
                f"a verdict had no effect: {effect}",
                extra={"fields": {**self._about, "station": verdict.station, "part": verdict.part}},
            )
        if decision is not None:
            self._order(decision)

    def _deadline(self, verdict: Verdict) -> float:
        """Return when the PLC must have the word: earlier than the frame says when the line runs faster."""
        timing = self.line.timing
        deadline = min(verdict.deadline.timestamp(), self._clock() + timing.lead_s)
        if self._look is None or not 0 < self._look.lead_s < timing.lead_s:
            return deadline
        return min(deadline, verdict.times.captured.timestamp() + self._budget_at(self._look))

    def _budget_at(self, look: Look) -> float:
        """Return the seconds from trigger to deadline at the line's present speed, if that is faster than planned."""
        timing = self.line.timing
        lead = min(look.lead_s or timing.lead_s, timing.lead_s)
        return lead - (timing.lead_s - timing.budget_s)

    def _order(self, decision: PartDecision) -> None:
        self._remember(decision)
        now = self._clock()
        urgent = self._silence_passes and decision.decision is not Decision.PASS
        order = Order(decision.epoch, decision.number, decision.code, decision.deadline, now, urgent)
        self._scheduler.submit(order, now)
        self._publish_outcomes()
        self._wake.set()
        if self._scheduler.wants_view():
            self._look_now.set()

    # The supervisor: a fresh session whenever the old one ends.

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the line's session until `stop` is set, then tell the PLC that we stop."""
        ticking = asyncio.create_task(self._keep_time(), name=f"clock {self.line.name}")
        back_off = MIN_BACK_OFF_S
        try:
            while not stop.is_set():
                wait = back_off
                back_off = min(back_off * 2, MAX_BACK_OFF_S)
                try:
                    self._enter(LinkState.CONNECTING)
                    async with connect(self._plc, f"bridge {self.line.name}") as connection:
                        self._enter(LinkState.VALIDATING)
                        self._expiries = connection.expiries
                        await self._serve(connection, await self._profile.open(connection), stop)
                except PlcError as error:
                    refused = not isinstance(error, PlcUnreachableError)
                    if not refused and self.state in (LinkState.READY, LinkState.DEGRADED):
                        wait = back_off = MIN_BACK_OFF_S
                    self._enter(LinkState.REFUSED if refused else LinkState.DOWN, str(error))
                    wait = error.retry_s or wait
                except Exception:  # noqa: BLE001
                    # The line's boundary: whatever went wrong here, the other lines go on, and this one
                    # begins again with a fresh session.
                    self._log.exception("the session broke", extra={"fields": self._about})
                    self._enter(LinkState.DOWN, "the session broke unexpectedly")
                    wait = MAX_BACK_OFF_S
                if not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait * random.uniform(0.8, 1.2)):
                            await stop.wait()
        finally:
            ticking.cancel()
            self._scheduler.give_up("the bridge stops", self._clock())
            self._publish_outcomes()
            for decision in self._tracking.abandon():
                self._tell_incomplete(decision, Outcome.FAILED, "the bridge stopped before the part was decided")
            self._enter(LinkState.DOWN, "the bridge stops")

    async def _serve(self, connection: PlcConnection, table: Profile, stop: asyncio.Event) -> None:
        """Work on one session until it is lost (PlcUnreachableError) or `stop` is set."""
        self._take_look(await table.look(self._clock()))
        self._instruments.reconnects.add(1, self._about)
        async with _tasks() as start:
            works = [
                start(self._write_verdicts(table, start)),
                start(self._beat(table)),
                start(self._keep_looking(table)),
            ]
            stopping, lost = start(stop.wait()), start(connection.lost.wait())
            try:
                self._enter(LinkState.READY)
                self.ready.set()
                await asyncio.wait([*works, stopping, lost], return_when=asyncio.FIRST_COMPLETED)
                for work in works:
                    if work.done():
                        await work
                if not stop.is_set():
                    raise PlcUnreachableError(f"the connection broke: {connection.lost_because or 'closed'}")
                await self._finish(table)
            finally:
                self._scheduler.disconnected()
                self._look = None

    async def _finish(self, table: Profile) -> None:
        """Write what is in hand, then say that we stop: the PLC rejects from now on what nobody releases.

        Where it would pass them, the parts that no verdict has reached are told as not good.
        """
        for decision in self._tracking.abandon() if self._silence_passes else ():
            self._order(decision)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._scheduler.waiting:
                    self._settled.clear()
                    await self._settled.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STATE_TIMEOUT_S):
                await table.state({"BridgeState": BridgeState.STOPPING})

    # Verdicts go out.

    async def _write_verdicts(self, table: Profile, start: "_Start") -> None:
        while True:
            self._wake.clear()
            now = self._clock()
            write = self._scheduler.next_write(now)
            self._publish_outcomes()
            if write is not None:
                start(self._write(table, write))
                continue
            due = self._scheduler.next_event(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.001, due - now)):
                    await self._wake.wait()

    async def _write(self, table: Profile, write: Write) -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(write.timeout_s):
                answers = await table.tell(write.orders, self._clock())
        except BaseException as error:
            # Whatever happened, the write may be under way: unknown, and rewritten while there is time.
            self._scheduler.unanswered(write, time.perf_counter() - began, self._clock())
            if isinstance(error, Exception) and not isinstance(error, (TimeoutError, PlcUnreachableError)):
                self._log.exception("a write broke unexpectedly", extra={"fields": self._about})
            elif not isinstance(error, Exception):
                raise
        else:
            self._scheduler.answered(write, answers, time.perf_counter() - began, self._clock())
        finally:
            self._instruments.write.record(time.perf_counter() - began, self._about)
            self._publish_outcomes()
            self._wake.set()

    # Heartbeat and status.

    async def _beat(self, table: Profile) -> None:
        period = self._plc.heartbeat_ms / 1000
        written: dict[str, int] = {}
        due = time.monotonic()
        while True:
            self._heartbeat = (self._heartbeat + 1) % NUMBERS
            status = self._status()
            changed = {name: value for name, value in status.items() if written.get(name) != value}
            try:
                async with asyncio.timeout(STATE_TIMEOUT_S):
                    await table.state({"BridgeHb": self._heartbeat, **changed})
            except TimeoutError as error:
                raise PlcUnreachableError(f"the PLC takes no heartbeat within {STATE_TIMEOUT_S:g} s") from error
            written |= changed
            # A late beat is not made up for: beats in a burst would tell the PLC nothing.
            due = max(due + period, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    def _status(self) -> dict[str, int]:
        now = self._clock()
        self._alarms = {alarm: until for alarm, until in self._alarms.items() if until > now}
        degraded = self.state is LinkState.DEGRADED
        return {
            "BridgeState": BridgeState.DEGRADED if degraded else BridgeState.READY,
            "LateCount": self._late_count % NUMBERS,
            "LateLastPart": self._late_last,
            "AlarmWord": sum(self._alarms),
        }

    def _alarm(self, alarm: Alarm, hold_s: float = ALARM_HOLD_S) -> None:
        self._alarms[alarm] = self._clock() + hold_s

    # What the PLC says.

    async def _keep_looking(self, table: Profile) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look_now.wait()
            self._look_now.clear()
            self._take_look(await table.look(self._clock()))

    def _take_look(self, look: Look) -> None:
        now, view, before = self._clock(), look.view, self._look
        self._look = look
        if self._baseline is None:
            self._baseline = view.epoch, view.last_triggered
        for decision in self._tracking.abandon(but_epoch=view.epoch) if self._is_behind(view.epoch) else ():
            why = f"the PLC began epoch {view.epoch}; the part belongs to {decision.epoch}"
            self._tell_incomplete(decision, Outcome.FAILED, why)
        unseen = self._open_triggered(look, before)
        if unseen:
            self._log.warning(f"the PLC triggered {unseen} parts while we were away", extra={"fields": self._about})
        self._scheduler.look(view, now)
        self._publish_outcomes()
        events, lost = self._feedback.read(look.ring, view.epoch, view.last_triggered, now)
        for event in events:
            self._tell_gate(event, now)
        if lost:
            self._instruments.gate_lost.add(lost, self._about)
            self._alarm(Alarm.GATE_LOST)
            self._log.warning(
                f"what the gate did with {lost} parts was overwritten before we read it",
                extra={"fields": {**self._about, **look.counters}},
            )
        self._watch_plc(look, before, now)
        self._wake.set()

    def _open_triggered(self, look: Look, before: Look | None) -> int:
        """Open the parts triggered since the last look; return how many were too many."""
        view = look.view
        at, budget_s = view.asked_at, None
        if self._silence_passes:
            # Told after its true deadline, such a part has passed: its trigger may be as old as the last look.
            at = view.asked_at if before is None else before.view.asked_at
            budget_s = self._budget_at(look) if before is not None else min(self._budget_at(look), UNSEEN_TRIGGER_S)
        return self._tracking.triggered(view.epoch, view.last_triggered, at, view.slots, budget_s=budget_s)

    def _is_behind(self, epoch: int) -> bool:
        """Return whether parts of another epoch are open although the PLC has been in this one before."""
        # One look of patience: a verdict of a new epoch can arrive before the poll that tells the epoch.
        known = self._known_epoch
        self._known_epoch = epoch
        return known == epoch

    def _watch_plc(self, look: Look, before: Look | None, now: float) -> None:
        if look.plc_heartbeat != self._pulse.value:
            if self._pulse.silent:
                self._log.info("the PLC's program runs again", extra={"fields": self._about})
            self._pulse = _PlcPulse(look.plc_heartbeat, now)
        elif now - self._pulse.moved > PLC_HEARTBEAT_S and not self._pulse.silent:
            self._pulse.silent = True
            self._log.error(
                f"PlcHb has not moved for {PLC_HEARTBEAT_S:g} s: the server answers and the PLC's program "
                "does not run; the gate cannot be trusted",
                extra={"fields": self._about},
            )
        if before is not None and look.stop_request != before.stop_request:
            text = "the PLC asks for a stop" if look.stop_request else "the PLC's stop was reset"
            self._log.warning(text, extra={"fields": {**self._about, **look.counters}})
        for name, value in look.counters.items():
            self._instruments.plc_counter.set(value, {**self._about, "counter": name})
        for which, end in self._expiries.items():
            left = (end.timestamp() - now) / 86400
            self._instruments.certificate_left.set(left, {**self._about, "certificate": which})
        self._instruments.waiting.set(self._scheduler.waiting, self._about)
        self._instruments.budget.set(self._budget.seconds, self._about)

    # Outcomes are reported.

    async def _keep_time(self) -> None:
        """Settle what time settles, whether or not there is a session."""
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock()
            if self._silence_passes:
                # Nobody else rejects the part: we must, while there is time to tell it.
                for decision in self._tracking.expire(now + self._budget.seconds + TICK_S):
                    self._order(decision)
            for decision in self._tracking.expire(now):
                self._tell_incomplete(decision, Outcome.LATE, _nobody_spoke(decision))
            self._scheduler.expire(now)
            self._publish_outcomes()

    def _publish_outcomes(self) -> None:
        settled = self._scheduler.take_settled()
        if settled:
            self._settled.set()
        for told in settled:
            decision = self._decisions.get((told.order.epoch, told.order.number))
            if decision is not None:
                self._tell(decision, told)

    def _tell_incomplete(self, decision: PartDecision, outcome: Outcome, why: str) -> None:
        self._remember(decision)
        now = self._clock()
        order = Order(decision.epoch, decision.number, decision.code, decision.deadline, now)
        self._tell(decision, Told(order, outcome, now, 0, why))

    def _tell(self, decision: PartDecision, told: Told) -> None:
        outcome, detail = told.outcome, told.detail
        if outcome is not Outcome.CONFIRMED and decision.deadline < self._began:
            outcome, detail = Outcome.UNKNOWN, "the verdict was due before this bridge started"
        if decision.missing and detail is None:
            detail = f"{_nobody_spoke(decision)}, so it was told as not good"
        self._count_outcome(outcome, decision.number)
        attributes = {**self._about, "decision": str(decision.decision), "outcome": str(outcome)}
        self._instruments.told.add(1, attributes)
        slack = decision.deadline - told.at
        if outcome is Outcome.CONFIRMED:
            self._instruments.verdict_to_write.record(told.at - told.order.accepted, self._about)
            self._instruments.slack.record(slack, self._about)
        else:
            fields = {"fields": {**self._about, "number": decision.number, "why": detail}}
            if self._silence_passes and decision.decision is not Decision.PASS:
                self._log.error(f"part {decision.number} may pass the gate, and is not good: {outcome}", extra=fields)
            else:
                self._log.warning(f"part {decision.number} was not told: {outcome}", extra=fields)
        self._report(
            Actuation(
                id=actuation_id(self.line.name, decision.epoch, decision.number, "told"),
                line=self.line.name,
                part=decision.part,
                tracking=Tracking(epoch=decision.epoch, number=decision.number),
                stage="told",
                verdicts=decision.verdicts,
                decision=decision.decision,
                code=decision.code,
                outcome=outcome,
                at=_instant(told.at),
                deadline=_instant(decision.deadline),
                slack_ms=round(slack * 1000, 3),
                trigger_to_told_ms=round((told.at - decision.triggered) * 1000, 3),
                attempts=told.attempts,
                detail=detail,
            ),
            self._span(decision, told, outcome, detail),
        )

    def _tell_gate(self, event: GateEvent, now: float) -> None:
        decision = self._decisions.get((event.epoch, event.number))
        ours = decision is not None or self._is_ours(event)
        released = decision is not None and decision.decision is Decision.PASS
        incident = event.action is GateAction.PASSED and ours and not released
        self._instruments.gate.add(1, {**self._about, "action": str(event.reported)})
        detail = None
        if incident:
            detail = "the gate passed a part that we did not pass: stop the line and check the PLC program"
            self._instruments.incidents.add(1, self._about)
            self._alarm(Alarm.INCIDENT, float("inf"))
            self._log.error(detail, extra={"fields": {**self._about, "number": event.number}})
        elif event.confirmed is False:
            detail = f"the gate {event.action} the part, and the confirm sensor did not see it so"
        elif not ours:
            detail = "the part was triggered before this bridge started"
        self._report(
            Actuation(
                id=actuation_id(self.line.name, event.epoch, event.number, "gate"),
                line=self.line.name,
                part=decision.part if decision else None,
                tracking=Tracking(epoch=event.epoch, number=event.number),
                stage="gate",
                verdicts=decision.verdicts if decision else (),
                decision=decision.decision if decision else None,
                code=decision.code if decision else None,
                gate=event.reported,
                at=_instant(now),
                deadline=_instant(decision.deadline) if decision else None,
                incident=incident,
                detail=detail,
            ),
            decision.trace if decision else {},
        )

    def _is_ours(self, event: GateEvent) -> bool:
        """Return whether the part was triggered in our time, so that we would know a pass for it."""
        if self._baseline is None:
            return False
        epoch, last = self._baseline
        return event.epoch != epoch or 0 < parts_behind(event.number, last) < _AHEAD

    def _remember(self, decision: PartDecision) -> None:
        self._decisions[decision.epoch, decision.number] = decision
        if len(self._decisions) > MEMORY:
            self._decisions.popitem(last=False)

    def _count_outcome(self, outcome: Outcome, number: int) -> None:
        if outcome is Outcome.CONFIRMED:
            self._troubled_in_a_row = 0
            if self.state is LinkState.DEGRADED:
                self._enter(LinkState.READY)
            return
        self._troubled_in_a_row += 1
        self._late_count += 1
        self._late_last = number
        self._alarm({Outcome.LATE: Alarm.LATE, Outcome.UNKNOWN: Alarm.UNKNOWN}.get(outcome, Alarm.REFUSED_PART))
        if self._troubled_in_a_row >= DEGRADED_AFTER and self.state is LinkState.READY:
            self._enter(LinkState.DEGRADED, f"{self._troubled_in_a_row} parts in a row were not told in time")

    def _count_verdict(self, effect: str) -> None:
        self._instruments.verdicts.add(1, {**self._about, "effect": str(effect)})

    def _span(self, decision: PartDecision, told: Told, outcome: Outcome, detail: str | None) -> Mapping[str, str]:
        """Record the way from verdict to PLC in the part's trace; return the trace to go on with."""
        span = self._tracer.start_span(
            "tell plc",
            telemetry.remote_context(decision.trace),
            SpanKind.CLIENT,
            {
                "neverblink.line": self.line.name,
                "neverblink.epoch": decision.epoch,
                "neverblink.number": decision.number,
                "neverblink.decision": str(decision.decision),
                "neverblink.outcome": str(outcome),
                "neverblink.attempts": told.attempts,
                "neverblink.slack_s": decision.deadline - told.at,
            },
            start_time=int(told.order.accepted * 1e9),
        )
        if outcome is not Outcome.CONFIRMED:
            span.set_status(StatusCode.ERROR, detail)
        span.end(int(told.at * 1e9))
        return telemetry.trace_of_context(otel.set_span_in_context(span)) or decision.trace

    def _enter(self, state: LinkState, sentence: str = "") -> None:
        self.state = state
        self._instruments.state.set(list(LinkState).index(state), self._about)
        fields = {"fields": {**self._about, "link": str(state), "endpoint": self._plc.endpoint}}
        if state in (LinkState.DOWN, LinkState.REFUSED, LinkState.DEGRADED):
            if sentence != self._last_sentence:
                self._log.warning(sentence, extra=fields)
            self._last_sentence = sentence
        elif state is LinkState.READY:
            self._last_sentence = ""
            self._log.info(f"{self.line.name} is ready", extra=fields)


_Start = Callable[[Awaitable[object]], "asyncio.Future[object]"]


@contextlib.asynccontextmanager
async def _tasks() -> AsyncIterator[_Start]:
    """Give a way to start tasks that all end with the block."""
    running: set[asyncio.Future[object]] = set()

    def ended(task: "asyncio.Future[object]") -> None:
        running.discard(task)
        # When the connection breaks, several end with the same error; the first is told, none is left unread.
        if not task.cancelled():
            task.exception()

    def start(work: Awaitable[object]) -> "asyncio.Future[object]":
        task = asyncio.ensure_future(work)
        running.add(task)
        task.add_done_callback(ended)
        return task

    try:
        yield start
    finally:
        left = list(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _nobody_spoke(decision: PartDecision) -> str:
    return f"no verdict of {', '.join(decision.missing)} by the deadline"


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
