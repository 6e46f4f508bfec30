"""Tells what became of each part of a line: as an event, in the log, in figures, to the PLC's status words."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace

from neverblink import telemetry
from neverblink.bridge.gate_feedback import GateEvent
from neverblink.bridge.instruments import Instruments
from neverblink.bridge.line_status import LineStatus
from neverblink.bridge.outcome_reports import as_reported, gate_report, told_report
from neverblink.bridge.part_tracking import PartDecision
from neverblink.bridge.scheduler import Order, Told
from neverblink.bridge.spans import Spans
from neverblink.events import Actuation, Outcome
from neverblink.plc.contract import Alarm, Code
from neverblink.plc.word import NUMBERS, parts_behind

Report = Callable[[Actuation, Mapping[str, str]], None]

MEMORY = 4096
_AHEAD = NUMBERS // 2


class Telling:
    """The last parts of one line, and what is told of them, exactly once each."""

    def __init__(
        self,
        line: str,
        report: Report,
        instruments: Instruments,
        status: LineStatus,
        *,
        began: float,
        silence_passes: bool,
    ) -> None:
        self._line = line
        self._about = {"line": line}
        self._report = report
        self._instruments = instruments
        self._status = status
        self._began = began
        self._silence_passes = silence_passes
        self._decisions: OrderedDict[tuple[int, int], PartDecision] = OrderedDict()
        self._baseline: tuple[int, int] | None = None
        self._log = telemetry.logger("bridge")
        self._recurring = telemetry.Recurring(self._log)
        self.spans = Spans(line)

    def began_at(self, epoch: int, number: int) -> None:
        """Take where the PLC was when it was first asked: later parts are of our time."""
        if self._baseline is None:
            self._baseline = epoch, number

    def remember(self, decision: PartDecision) -> None:
        """Take a part's decision: its outcome and what the gate does follow."""
        self._decisions[decision.epoch, decision.number] = decision
        if len(self._decisions) > MEMORY:
            self._decisions.popitem(last=False)

    def settled(self, told: Told) -> None:
        """Tell the outcome of an order."""
        decision = self._decisions.get((told.order.epoch, told.order.number))
        if decision is None:
            return
        if told.order.code == Code.HELD and not decision.held:
            decision = replace(decision, held=True)
            self.remember(decision)
        self._tell(decision, told)

    def incomplete(self, decision: PartDecision, outcome: Outcome, why: str, now: float) -> None:
        """Tell of a part that was never ordered."""
        self.remember(decision)
        order = Order(decision.epoch, decision.number, decision.code, decision.deadline, now)
        self._tell(decision, Told(order, outcome, now, 0, why))

    def _tell(self, decision: PartDecision, settled: Told) -> None:
        told = as_reported(decision, settled, self._began)
        kind = "held" if decision.held else str(decision.decision)
        self._instruments.told.add(1, {**self._about, "decision": kind, "outcome": str(told.outcome)})
        if not decision.held:
            # Nobody waits for a held part's word, so that it is no trouble of the line when it comes late.
            self._status.count(told.outcome, decision.number)
            trace = telemetry.remote_context(decision.trace)
            self._instruments.record_told(told, decision.deadline, self._began, self._about, trace)
        if told.outcome is not Outcome.CONFIRMED:
            fields = {**self._about, "number": decision.number, "why": told.detail}
            if self._silence_passes and decision.code != Code.PASS:
                self._log.error(
                    f"part {decision.number} may pass the gate, and is not good: {told.outcome}",
                    extra={"fields": fields},
                )
            elif not decision.held:
                sentence = f"part {decision.number} was not told: {told.outcome}"
                self._recurring.tell(told.outcome, sentence, fields=fields)
        onwards = self.spans.told(decision, told)
        if (decision.epoch, decision.number) in self._decisions:
            self.remember(replace(decision, trace=onwards))  # what the gate does follows from it
        self._report(told_report(self._line, decision, told), onwards)

    def gate(self, event: GateEvent, now: float, *, bypassed: bool = False) -> None:
        """Tell what the gate did with a part; `bypassed`: it may have been in bypass then."""
        decision = self._decisions.get((event.epoch, event.number))
        ours = decision is not None or self._is_ours(event)
        report = gate_report(self._line, event, decision, ours, now, bypassed=bypassed)
        self._instruments.gate.add(1, {**self._about, "action": str(event.reported)})
        if report.incident:
            self._instruments.incidents.add(1, self._about)
            self._status.alarm(Alarm.INCIDENT, float("inf"))
            self._log.error(report.detail, extra={"fields": {**self._about, "number": event.number}})
        self._report(report, self.spans.gate(event, report, decision, now))

    def _is_ours(self, event: GateEvent) -> bool:
        """Return whether the part was triggered in our time, so that we would know a pass for it."""
        if self._baseline is None:
            return False
        epoch, last = self._baseline
        return event.epoch != epoch or 0 < parts_behind(event.number, last) < _AHEAD
