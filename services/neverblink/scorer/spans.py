"""What a scorer says of a frame in its part's trace, and of the batches in which frames are computed together."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from neverblink import telemetry
from neverblink.events import Frame
from neverblink.events.envelope import trace_of
from neverblink.events.verdict import ScoredEvent
from neverblink.kafka import Record
from neverblink.kafka.spans import MOST_LINKS, begin_processing, said_of
from neverblink.scorer.work import Batch, Cause, Work
from neverblink.vision.stages import listening

Stages = list[tuple[str, int]]


@contextmanager
def processing(record: Record, frame: Frame | None) -> Iterator[Span]:
    """Give the span of a record's processing, current; of one that is no frame where `frame` is None.

    Where nothing is traced here, what came is current: lines of the log still name the part's trace.
    """
    carried = trace_of(record.headers)
    if not telemetry.is_traced():
        with otel.use_span(otel.get_current_span(telemetry.remote_context(carried))) as span:
            yield span
        return
    context = telemetry.context_of(carried, None if frame is None else frame.part)
    also: dict[str, AttributeValue] = {}
    if frame is not None:
        also = {
            "neverblink.line": frame.line,
            "neverblink.station": frame.station,
            "neverblink.part": frame.part,
            **said_of(frame),
        }
    span = begin_processing(record, context, message=None if frame is None else frame.id, also=also)
    with otel.use_span(span, end_on_exit=True):
        yield span


def told(event: ScoredEvent) -> None:
    """Note on the span of the frame's processing what was decided."""
    span = otel.get_current_span()
    if span.is_recording():
        span.set_attributes(said_of(event))


def decoding() -> AbstractContextManager[object]:
    """Cover the wait for a decoder, and decoding."""
    return telemetry.tracer("scorer").start_as_current_span("decode") if telemetry.is_traced() else nullcontext()


def scored(work: Work, cause: Cause | None = None) -> None:
    """Record the span of a frame's score, from when it was prepared until it was scored, linked to its batch.

    Its events are the stages of the batch. `cause` says why the score must not act, where it must not.
    """
    batch, work.batch = work.batch, None  # once: a frame that turns out late is scored for statistics with this score
    if batch is None:
        return
    attributes: dict[str, AttributeValue] = {"neverblink.batch.size": batch.size}
    if cause is not None:
        attributes["neverblink.cause"] = cause
    span = telemetry.tracer("scorer").start_span(
        "score",
        otel.set_span_in_context(otel.NonRecordingSpan(work.span), Context()),
        attributes=attributes,
        links=[Link(batch.span)],
        start_time=work.prepared_ns,
    )
    for name, at in batch.stages:
        span.add_event(name, timestamp=at)
    span.end(batch.ended)


@contextmanager
def computing(batch: Sequence[Work]) -> Iterator[None]:
    """Cover the computing of a batch, in a trace of its own that is linked to the frames' and they to it.

    Its stages are events, in it and in the frames' scores: spans of their own would cost a frame half as much again.
    """
    if not telemetry.is_traced():
        yield
        return
    span = telemetry.tracer("scorer").start_span(
        "compute batch",
        Context(),
        attributes={"neverblink.batch.size": len(batch)},
        links=[Link(work.span) for work in batch[:MOST_LINKS] if work.span.is_valid],
    )
    stages: Stages = []
    try:
        with listening(lambda name: stages.append((name, time.time_ns()))):
            yield
    except BaseException as error:
        span.set_status(Status(StatusCode.ERROR, repr(error)))
        raise
    finally:
        ended = time.time_ns()
        for name, at in stages:
            span.add_event(name, timestamp=at)
        span.end(ended)
        made = Batch(span.get_span_context(), len(batch), tuple(stages), ended)
        for work in batch:
            work.batch = made
