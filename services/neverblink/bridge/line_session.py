"""One line: keeps a session with its PLC, tells it every part's verdict in time, reports what became of it.

A line knows nothing of the others, so that none takes another down.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from logging import INFO, WARNING

from neverblink import telemetry
from neverblink.bridge.gate_feedback import GateFeedback
from neverblink.bridge.host_clocks import HostClocks
from neverblink.bridge.idle_verdicts import IdleVerdicts
from neverblink.bridge.instruments import Instruments
from neverblink.bridge.line_hold import LineHold
from neverblink.bridge.line_status import LineStatus, LinkState
from neverblink.bridge.outcome_reports import nobody_spoke
from neverblink.bridge.part_tracking import Effect, PartDecision, PartTracking, inherited
from neverblink.bridge.plc_watch import PlcWatch
from neverblink.bridge.profile import Look, Profile
from neverblink.bridge.profiles import profile_of
from neverblink.bridge.scheduler import Order, Scheduler, Write
from neverblink.bridge.telling import Report, Telling
from neverblink.bridge.write_budget import WriteBudget
from neverblink.events import Actuation, Decision, Hold, Outcome, Verdict
from neverblink.events.hold import BYPASS, HELD, RELEASED
from neverblink.plant import Line
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import PROFILES, Alarm, BridgeState, Code
from neverblink.plc.errors import PlcError, PlcUnreachableError
from neverblink.plc.opening import connect
from neverblink.plc.word import NUMBERS, parts_behind
from neverblink.service_life import Duty, keeping, unasked_end, wait_or_stop
from neverblink.service_life.back_off import BackOff
from neverblink.service_life.scoped_tasks import Start, scoped_tasks
from neverblink.service_life.time_limit import time_limit

MIN_BACK_OFF_S = 0.1
MAX_BACK_OFF_S = 1.0
LOOK_EVERY_S = 0.1  # GateRing holds 16 parts: enough for 160 parts a second
TICK_S = 0.02
STATE_TIMEOUT_S = 1.0
DRAIN_S = 1.0
# Where silence passes, a part triggered while we were away may be near the gate: when that was is not known.
UNSEEN_TRIGGER_S = 0.3
_AHEAD = NUMBERS // 2
_HOLDS = (RELEASED, HELD, BYPASS)


class LineSession:
    """The bridge of one line. `take` is called with each verdict and never waits; `run` does the rest."""

    def __init__(
        self,
        line: Line,
        report: Report,
        instruments: Instruments,
        *,
        clock: Callable[[], float] = time.time,
        tell_hold: Callable[[Hold], None] = lambda hold: None,
    ) -> None:
        if line.plc is None:
            raise ValueError(f"line {line.name} has no PLC")
        self.line = line
        self.ready = asyncio.Event()
        self._plc = line.plc
        self._instruments = instruments
        self._clock = clock
        self._log = telemetry.logger("bridge")
        self._recurring = telemetry.Recurring(self._log)
        self._about = {"line": line.name}
        self._fields = {"fields": self._about}
        stations = [station.name for station in line.stations if station.trigger.kind == "plc"]
        self._tracking = PartTracking(stations, line.timing.budget_s)
        self._budget = WriteBudget(self._plc.write_budget_min_ms / 1000, self._plc.write_budget_max_ms / 1000)
        self._profile = profile_of(self._plc)
        self._silence_passes = PROFILES[self._plc.profile].silence_passes
        self._scheduler = Scheduler(self._budget, self._profile.batch, line.timing.margin_ms / 1000)
        self._feedback = GateFeedback()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._look_now = asyncio.Event()
        self._look: Look | None = None
        self._began = clock()
        self._heartbeat = 0
        self._idle = IdleVerdicts(line, instruments, self._recurring)
        self._known_epoch: int | None = None
        self._expiries: Mapping[str, datetime] = {}
        self._status = LineStatus(line.name, self._plc.endpoint, instruments, clock)
        self._plc_watch = PlcWatch(line.name, instruments)
        self._clocks = HostClocks(line.name, self._log)
        self._hold = LineHold(line.name)
        self._hold_told = self._hold.state
        self._tell_hold = tell_hold
        self._telling = Telling(
            line.name, report, instruments, self._status, began=self._began, silence_passes=self._silence_passes
        )

    @property
    def state(self) -> LinkState:
        """Return where the line stands with its PLC."""
        return self._status.state

    @property
    def sentence(self) -> str:
        """Return why the line is not served, as it was last told; empty while it is."""
        return self._status.sentence

    def succeed(self, told: Sequence[Actuation]) -> None:
        """Go on where another bridge ended: these parts have their outcome, oldest first; those behind them not."""
        for event in told:
            decision = inherited(event)
            self._tracking.settled(decision)
            self._telling.remember(decision)
            self._plc_watch.has_seen(event.tracking.epoch, event.tracking.number)
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
            self._idle.count_untracked(verdict)
            return
        if self._plc_watch.refuses(verdict.times.captured.timestamp()):
            self._idle.count(Effect.REFUSED_COUNT, verdict)
            return
        seen = self._tracking.seen(verdict.tracking.epoch, verdict.tracking.number)
        offset_s = self._clocks.heard(verdict, seen, self._clock())
        captured = verdict.times.captured.timestamp() + offset_s
        deadline = self._deadline(verdict.deadline.timestamp() + offset_s, captured)
        effect, decision = self._tracking.add(verdict, deadline, trace, captured)
        self._idle.count(effect, verdict)
        if decision is not None:
            self._order(decision)

    def hear(self, said: Hold) -> None:
        """Take what the topic says of holds of this line."""
        self._hold.heard(said, self._clock())
        self._heed_hold()

    def _heed_hold(self) -> None:
        """Tell what is undecided as held while the line is on hold, and let people know when that changes."""
        held, state = self._hold.is_held, self._hold.state
        self._status.held = held
        self._scheduler.hold(held, urgent=self._silence_passes)
        for decision in self._tracking.hold() if held else ():
            self._order(decision)
        if state != self._hold_told:
            self._hold_told = state
            self._log.log(WARNING if held or state == BYPASS else INFO, self._hold.sentence, extra=self._fields)
            self._instruments.held.set(_HOLDS.index(state), self._about)

    def _deadline(self, stated: float, captured: float) -> float:
        """Return when the PLC must have the word: earlier than the frame says when the line runs faster."""
        timing = self.line.timing
        deadline = min(stated, self._clock() + timing.lead_s)
        if self._look is None or not 0 < self._look.lead_s < timing.lead_s:
            return deadline
        return min(deadline, captured + self._budget_at(self._look))

    def _budget_at(self, look: Look) -> float:
        """Return the seconds from trigger to deadline at the line's present speed, if that is faster than planned."""
        timing = self.line.timing
        lead = min(look.lead_s or timing.lead_s, timing.lead_s)
        return lead - (timing.lead_s - timing.budget_s)

    def _order(self, decision: PartDecision) -> None:
        if decision.decision is not Decision.REJECT and self._hold.covers(decision.triggered):
            decision = replace(decision, held=True)
        self._telling.remember(decision)
        now = self._clock()
        urgent = self._silence_passes and decision.code != Code.PASS
        order = Order(decision.epoch, decision.number, decision.code, decision.deadline, now, urgent, decision.holdout)
        self._telling.spans.ordered(decision, now)
        self._scheduler.submit(order, now)
        self._publish_outcomes()
        self._wake.set()
        if self._scheduler.wants_view():
            self._look_now.set()

    # The supervisor: a fresh session whenever the old one ends.

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the line's session until `stop` is set, then tell the PLC that we stop."""
        try:
            async with keeping("bridge", Duty(f"the clock of line {self.line.name}", self._keep_time)):
                await self._keep_session(stop)
        finally:
            why = "the bridge stops" if stop.is_set() else "the line's session ended unexpectedly"
            self._scheduler.give_up(why, self._clock())
            self._publish_outcomes()
            for decision in self._tracking.abandon():
                self._tell_incomplete(decision, Outcome.FAILED, f"{why}, before the part was decided")
            self._status.enter(LinkState.DOWN, why)

    async def _keep_session(self, stop: asyncio.Event) -> None:
        back_off = BackOff(MIN_BACK_OFF_S, MAX_BACK_OFF_S)
        while not stop.is_set():
            asked_s: float | None = None
            try:
                self._status.enter(LinkState.CONNECTING)
                async with connect(self._plc, f"bridge {self.line.name}") as connection:
                    self._status.enter(LinkState.VALIDATING)
                    self._expiries = connection.expiries
                    await self._serve(connection, await self._profile.open(connection), stop)
            except PlcError as error:
                refused = not isinstance(error, PlcUnreachableError)
                if not refused and self._status.is_served:
                    back_off.reset()
                self._status.enter(LinkState.REFUSED if refused else LinkState.DOWN, str(error))
                asked_s = error.retry_s
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
                # The line's boundary: whatever went wrong here, the other lines go on, and this one
                # begins again with a fresh session. A cancellation that nobody asked for is a fault too.
                unasked_end("bridge", f"the session of {self.line.name}", error)
                self._status.enter(LinkState.DOWN, "the session broke unexpectedly")
                asked_s = MAX_BACK_OFF_S
            await wait_or_stop(stop, back_off.next(asked_s))

    async def _serve(self, connection: PlcConnection, table: Profile, stop: asyncio.Event) -> None:
        """Work on one session until it is lost (PlcUnreachableError) or `stop` is set."""
        self._take_look(await self._plc_watch.ask(table, self._clock))
        self._instruments.reconnects.add(1, self._about)
        async with scoped_tasks() as start:
            works = [
                start(self._write_verdicts(table, start)),
                start(self._beat(table)),
                start(self._keep_looking(table)),
            ]
            stopping, lost = start(stop.wait()), start(connection.lost.wait())
            try:
                self._status.enter(LinkState.READY)
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
            async with time_limit(DRAIN_S):
                while self._scheduler.waiting:
                    self._settled.clear()
                    await self._settled.wait()
        with contextlib.suppress(TimeoutError):
            async with time_limit(STATE_TIMEOUT_S):
                await table.state({"BridgeState": BridgeState.STOPPING})

    # Verdicts go out.

    async def _write_verdicts(self, table: Profile, start: Start) -> None:
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
                async with time_limit(None if due is None else max(0.001, due - now)):
                    await self._wake.wait()

    async def _write(self, table: Profile, write: Write) -> None:
        began, began_at = time.perf_counter(), self._clock()
        fault: BaseException | None = None
        try:
            async with time_limit(write.timeout_s):
                answers = await table.tell(write.orders, self._clock())
        except BaseException as error:  # noqa: BLE001
            # Whatever happened, the write may be under way: unknown, and rewritten while there is time.
            fault = error
            self._scheduler.unanswered(write, time.perf_counter() - began, self._clock())
            if not isinstance(error, (TimeoutError, PlcUnreachableError)):
                unasked_end("bridge", f"a write to the PLC of {self.line.name}", error)
        else:
            self._scheduler.answered(write, answers, time.perf_counter() - began, self._clock())
        finally:
            self._instruments.write.record(time.perf_counter() - began, self._about)
            self._telling.spans.attempted(write.orders, began_at, self._clock(), fault)
            self._publish_outcomes()
            self._wake.set()

    # Heartbeat and status.

    async def _beat(self, table: Profile) -> None:
        period = self._plc.heartbeat_ms / 1000
        written: dict[str, int] = {}
        due = time.monotonic()
        while True:
            self._heartbeat = (self._heartbeat + 1) % NUMBERS
            status = self._status.words()
            changed = {name: value for name, value in status.items() if written.get(name) != value}
            try:
                async with time_limit(STATE_TIMEOUT_S):
                    await table.state({"BridgeHb": self._heartbeat, **changed})
            except TimeoutError as error:
                raise PlcUnreachableError(f"the PLC takes no heartbeat within {STATE_TIMEOUT_S:g} s") from error
            written |= changed
            # A late beat is not made up for: beats in a burst would tell the PLC nothing.
            due = max(due + period, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    # What the PLC says.

    async def _keep_looking(self, table: Profile) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with time_limit(LOOK_EVERY_S):
                    await self._look_now.wait()
            self._look_now.clear()
            self._take_look(await self._plc_watch.ask(table, self._clock))

    def _take_look(self, look: Look) -> None:
        now, view, before = self._clock(), look.view, self._look
        self._look = look
        self._telling.began_at(view.epoch, view.last_triggered)
        if (news := self._hold.asked(look.hold, now)) is not None:
            self._tell_hold(news)
        for decision in self._tracking.abandon(but_epoch=view.epoch) if self._is_behind(view.epoch) else ():
            why = f"the PLC began epoch {view.epoch}; the part belongs to {decision.epoch}"
            self._tell_incomplete(decision, Outcome.FAILED, why)
        unseen = self._open_triggered(look, before)
        if unseen:
            self._log.warning(f"the PLC triggered {unseen} parts while we were away", extra=self._fields)
        self._heed_hold()
        self._scheduler.look(view, now)
        self._publish_outcomes()
        events, lost = self._feedback.read(look.ring, view.epoch, view.last_triggered, now)
        bypassed = self._hold.bypassed(now - self.line.timing.lead_s)
        for event in events:
            self._telling.gate(event, now, bypassed=bypassed)
        if lost:
            self._instruments.gate_lost.add(lost, self._about)
            self._status.alarm(Alarm.GATE_LOST)
            self._log.warning(
                f"what the gate did with {lost} parts was overwritten before we read it",
                extra={"fields": {**self._about, **look.counters}},
            )
        self._plc_watch.look(look, before, self._expiries, now)
        self._instruments.waiting.set(self._scheduler.waiting, self._about)
        self._instruments.budget.set(self._budget.seconds, self._about)
        self._wake.set()

    def _open_triggered(self, look: Look, before: Look | None) -> int:
        """Open the parts triggered since the last look; return how many were too many."""
        view = look.view
        at, budget_s = view.asked_at, None
        if self._silence_passes:
            # Told after its true deadline, such a part has passed: its trigger may be as old as the last look.
            at = view.asked_at if before is None else before.view.asked_at
            budget_s = self._budget_at(look) if before is not None else min(self._budget_at(look), UNSEEN_TRIGGER_S)
        seen = None if before is None else (before.view.asked_at, self._clock())
        return self._tracking.triggered(view.epoch, view.last_triggered, at, view.slots, budget_s=budget_s, seen=seen)

    def _is_behind(self, epoch: int) -> bool:
        """Return whether parts of another epoch are open although the PLC has been in this one before."""
        # One look of patience: a verdict of a new epoch can arrive before the poll that tells the epoch.
        known = self._known_epoch
        self._known_epoch = epoch
        return known == epoch

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
                self._tell_incomplete(decision, Outcome.LATE, nobody_spoke(decision))
            self._scheduler.expire(now)
            self._publish_outcomes()

    def _publish_outcomes(self) -> None:
        settled = self._scheduler.take_settled()
        if settled:
            self._settled.set()
        for told in settled:
            self._telling.settled(told)

    def _tell_incomplete(self, decision: PartDecision, outcome: Outcome, why: str) -> None:
        if decision.decision is not Decision.REJECT and self._hold.covers(decision.triggered):
            decision = replace(decision, held=True)
        self._telling.incomplete(decision, outcome, why, self._clock())
