"""What a bridge says of a part in its trace: the verdict's arrival, the word's way to the PLC, what the gate did.

The span that a part's trace begins with is made here: nobody else knows of every part that the PLC has triggered, of
those whose stations were silent too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from neverblink import telemetry
from neverblink.bridge.gate_feedback import GateEvent
from neverblink.bridge.part_tracking import PartDecision
from neverblink.bridge.scheduler import Order, Told
from neverblink.events import Actuation, GateAction, Outcome, Verdict
from neverblink.events.identity import part_name
from neverblink.kafka import Record
from neverblink.kafka.spans import begin_processing, links_to, said_of

_MOST_OPEN = 4096


@contextmanager
def processing(record: Record, verdict: Verdict, trace: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Cover the taking of a verdict; gives the trace in which its part goes on."""
    if not telemetry.is_traced():
        yield trace
        return
    also = {"neverblink.line": verdict.line, "neverblink.station": verdict.station, "neverblink.part": verdict.part}
    context = telemetry.context_of(trace, verdict.part)
    span = begin_processing(record, context, message=verdict.id, also={**also, **said_of(verdict)})
    with otel.use_span(span, end_on_exit=True):
        yield telemetry.current_trace()


def took(effect: str) -> None:
    """Note on the span of the verdict's processing what it did."""
    otel.get_current_span().set_attribute("neverblink.effect", effect)


class Spans:
    """The spans of one line's parts. A process that is not traced makes none."""

    def __init__(self, line: str) -> None:
        self._line = line
        # As many as there are orders without an outcome, which the PLC's slots bound.
        self._telling: dict[tuple[int, int], Span] = {}

    def ordered(self, decision: PartDecision, now: float) -> None:
        """Begin the telling of a part."""
        if not telemetry.is_traced() or len(self._telling) >= _MOST_OPEN:
            return
        span = _tracer().start_span(
            "tell plc",
            telemetry.context_of(decision.trace, self._part(decision)),
            SpanKind.CLIENT,
            {**self._about(decision), "neverblink.decision": str(decision.decision)},
            links=links_to(telemetry.remote_context(one) for one in decision.others),
            start_time=telemetry.in_ns(now),
        )
        self._telling[decision.epoch, decision.number] = span

    def attempted(self, orders: Sequence[Order], began: float, ended: float, fault: BaseException | None) -> None:
        """Record one write to the PLC, in the trace of each part whose word was in it."""
        for order in orders:
            telling = self._telling.get((order.epoch, order.number))
            if telling is None:
                continue
            span = _tracer().start_span(
                "write",
                otel.set_span_in_context(telling, Context()),
                SpanKind.CLIENT,
                {"neverblink.code": order.code, "neverblink.batch.size": len(orders)},
                start_time=telemetry.in_ns(began),
            )
            if fault is not None:
                span.set_attribute("error.type", type(fault).__qualname__)
                span.set_status(StatusCode.ERROR, "no answer: whether the PLC has the word is unknown")
            span.end(telemetry.in_ns(ended))

    def told(self, decision: PartDecision, told: Told) -> Mapping[str, str]:
        """End the telling of a part, and record its whole; returns the trace in which what follows is told."""
        telling = self._telling.pop((decision.epoch, decision.number), None)
        if not telemetry.is_traced():
            return decision.trace
        outcome: dict[str, AttributeValue] = {
            "neverblink.outcome": str(told.outcome),
            "neverblink.attempts": told.attempts,
            "neverblink.slack_s": round(decision.deadline - told.at, 6),
        }
        whole = self._whole(decision, told, outcome)
        last = whole if telling is None else telling
        if telling is not None:
            telling.set_attributes(outcome)
            _mark_untold(telling, told)
            telling.end(telemetry.in_ns(told.at))
        return telemetry.trace_of_context(otel.set_span_in_context(last, Context()))

    def gate(self, event: GateEvent, report: Actuation, decision: PartDecision | None, now: float) -> Mapping[str, str]:
        """Record what the gate did, from when it was first read of the PLC until its sensor had its say."""
        carried = decision.trace if decision is not None else {}
        if not telemetry.is_traced():
            return carried
        part = self._part(decision) if decision is not None else part_name(self._line, event.epoch, event.number)
        attributes: dict[str, AttributeValue] = {
            "neverblink.line": self._line,
            "neverblink.part": part,
            "neverblink.gate.action": str(event.action),
            "neverblink.fail_safe": event.action in (GateAction.FAIL_SAFE, GateAction.STALE),
            "neverblink.incident": report.incident,
        }
        if event.confirmed is not None:
            attributes["neverblink.gate.confirmed"] = event.confirmed
        began = now if event.seen is None else event.seen
        context = telemetry.context_of(carried, part)
        span = _tracer().start_span("gate", context, attributes=attributes, start_time=telemetry.in_ns(began))
        if report.incident or event.confirmed is False:
            span.set_status(StatusCode.ERROR, report.detail)
        span.end(telemetry.in_ns(now))
        return telemetry.trace_of_context(otel.set_span_in_context(span, Context()))

    def _whole(self, decision: PartDecision, told: Told, outcome: dict[str, AttributeValue]) -> Span:
        part = self._part(decision)
        attributes: dict[str, AttributeValue] = {
            **self._about(decision),
            **outcome,
            "neverblink.decision": str(decision.decision),
            "neverblink.late": decision.late or told.outcome is Outcome.LATE,
            "neverblink.holdout": decision.holdout,
            "neverblink.held": decision.held,
        }
        if decision.reason is not None:
            attributes["neverblink.reason"] = decision.reason
        if decision.missing:
            attributes["neverblink.missing"] = list(decision.missing)
        with telemetry.first_of(part) as context:
            span = _tracer().start_span(
                "part", context, attributes=attributes, start_time=telemetry.in_ns(decision.triggered)
            )
        _mark_untold(span, told)
        span.end(telemetry.in_ns(told.at))
        return span

    def _about(self, decision: PartDecision) -> dict[str, AttributeValue]:
        return {
            "neverblink.line": self._line,
            "neverblink.part": self._part(decision),
            "neverblink.epoch": decision.epoch,
            "neverblink.number": decision.number,
        }

    def _part(self, decision: PartDecision) -> str:
        return decision.part or part_name(self._line, decision.epoch, decision.number)


def _mark_untold(span: Span, told: Told) -> None:
    if told.outcome is not Outcome.CONFIRMED:
        span.set_status(StatusCode.ERROR, told.detail)


def _tracer() -> Tracer:
    return telemetry.tracer("bridge")
