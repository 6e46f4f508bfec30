"""What the ledger says of a part in its trace: that an event about it is kept, and its pictures."""

import time
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Link

from neverblink import telemetry
from neverblink.events import Event
from neverblink.events.envelope import trace_of
from neverblink.kafka import Record
from neverblink.kafka.spans import MOST_LINKS, begin_processing, links_to
from neverblink.ledger.evidence_book import Picture


def kept(batch: Sequence[tuple[Record, Event]], began: int) -> None:
    """Record that events were kept together, from `began` in ns until now.

    The transaction is a trace of its own; each event that belongs to a trace has a span there, and both are linked.
    """
    if not batch or not telemetry.is_traced():
        return
    contexts = [telemetry.context_of(trace_of(record.headers), getattr(event, "part", None)) for record, event in batch]
    together = telemetry.tracer("ledger").start_span(
        "keep",
        Context(),
        attributes={"neverblink.batch.size": len(batch)},
        links=links_to(contexts[:MOST_LINKS]),
        start_time=began,
    )
    ended = time.time_ns()
    together.end(ended)
    linked = [Link(together.get_span_context())]
    for (record, event), context in zip(batch, contexts, strict=True):
        if otel.get_current_span(context).get_span_context().is_valid:
            begin_processing(record, context, message=event.id, start_time=began, links=linked).end(ended)


def pictures_kept(pictures: Iterable[tuple[Picture, Mapping[str, str]]], began: int) -> None:
    """Record that pictures lie in the evidence store, put there from `began` in ns until now.

    Each comes with the trace that the record carried which it came from; without one there is no span.
    """
    if not telemetry.is_traced():
        return
    ended = time.time_ns()
    for picture, carried in pictures:
        context = telemetry.remote_context(carried)
        if otel.get_current_span(context).get_span_context().is_valid:
            attributes = {
                "neverblink.line": picture.line,
                "neverblink.station": picture.station,
                "neverblink.picture": picture.kind,
            }
            tracer = telemetry.tracer("ledger")
            tracer.start_span("keep picture", context, attributes=attributes, start_time=began).end(ended)
