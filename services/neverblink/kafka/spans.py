"""Spans of messages, as OpenTelemetry's conventions for messaging have them: `send`, `poll` and `process`.

A record is processed in the trace that told it: its span is the child of the one that sent the record, and is linked to
the poll that brought it. A poll brings records of many traces, and is one of its own.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from neverblink import telemetry
from neverblink.events import TOPICS, Frame
from neverblink.events.envelope import trace_of
from neverblink.events.verdict import ScoredEvent
from neverblink.kafka.record import Record

MOST_LINKS = 64
"""Of a span that many records share; how many there were is an attribute besides."""

_SYSTEM = {"messaging.system": "kafka"}
_PROCESS: dict[str, AttributeValue] = {
    **_SYSTEM,
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """How a reader's spans name it. `topics` are full names by short ones."""

    topics: Mapping[str, str]
    client: str
    group: str | None = None

    @classmethod
    def of(cls, prefix: str, topics: Sequence[str], client: str, group: str | None = None) -> "Reader":
        """Return the reader of these topics, by their short names."""
        return cls({name: TOPICS[name].full_name(prefix) for name in topics}, client, group)

    def attributes(self, operation: str, kind: str) -> dict[str, AttributeValue]:
        """Return what each of its spans says."""
        said: dict[str, AttributeValue] = {
            **_SYSTEM,
            "messaging.operation.name": operation,
            "messaging.operation.type": kind,
            "messaging.client.id": self.client,
        }
        return said if self.group is None else {**said, "messaging.consumer.group.name": self.group}


@dataclass(slots=True, eq=False)
class Poll:
    """One poll of a reader, from its beginning; what it brings refers to it."""

    reader: Reader
    span: SpanContext | None = None
    began: int = field(default_factory=time.time_ns)


class Polls:
    """The polls of one reader. `now` is the one under way or the last, None in a process that is not traced."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.now: Poll | None = None

    def begin(self) -> None:
        """Begin a poll."""
        self.now = Poll(self._reader) if telemetry.is_traced() else None

    def brought(self, records: list[Record]) -> list[Record]:
        """Record the span of the poll, linked to what sent each record, and return them.

        Of a poll that brought nothing there is no span.
        """
        poll = self.now
        if poll is None or not records:
            return records
        destination = ", ".join(sorted({self._reader.topics[one.topic] for one in records}))
        attributes = self._reader.attributes("poll", "receive")
        attributes["messaging.destination.name"] = destination
        attributes["messaging.batch.message_count"] = len(records)
        senders = [telemetry.remote_context(trace_of(one.headers)) for one in records[:MOST_LINKS]]
        span = telemetry.tracer("kafka").start_span(
            f"poll {destination}", Context(), SpanKind.CLIENT, attributes, links_to(senders), poll.began
        )
        span.end()
        poll.span = span.get_span_context()
        return records


def said_of(event: Frame | ScoredEvent) -> dict[str, AttributeValue]:
    """Return the attributes by which a collector decides what to keep of a part's trace."""
    said: dict[str, AttributeValue] = {"neverblink.holdout": event.holdout, "neverblink.challenge": event.challenge}
    if isinstance(event, ScoredEvent):
        said["neverblink.decision"] = str(event.decision)
        said["neverblink.late"] = event.late
        if event.reason is not None:
            said["neverblink.reason"] = event.reason
    return said


def links_to(contexts: Iterable[Context]) -> list[Link]:
    """Return links to what is current in each context, of those that have anything."""
    found = [trace.get_current_span(one).get_span_context() for one in contexts]
    return [Link(one) for one in found if one.is_valid]


def begin_processing(
    record: Record,
    context: Context,
    *,
    message: str | None = None,
    reader: Reader | None = None,
    start_time: int | None = None,
    also: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
) -> Span:
    """Begin the span of a record's processing, in the context that `telemetry.context_of` gives for it.

    `message` is the event's id; `also` are attributes of the service, `links` to what it was processed with. `reader`
    is who reads, for a record that none of our own consumers brought.
    """
    poll = record.polled
    reader = reader if poll is None else poll.reader
    destination = record.topic if reader is None else reader.topics[record.topic]
    said = _PROCESS if reader is None else reader.attributes("process", "process")
    attributes: dict[str, AttributeValue] = {
        **said,
        "messaging.destination.name": destination,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.kafka.message.key": record.key,
        **(also or {}),
    }
    if message is not None:
        attributes["messaging.message.id"] = message
    if poll is not None and poll.span is not None:
        links = [*links, Link(poll.span)]
    return telemetry.tracer("kafka").start_span(
        f"process {destination}", context, SpanKind.CONSUMER, attributes, links, start_time
    )


@contextmanager
def sending(
    context: Context | None, destination: str, client: str, *, message: str | None = None, key: str = ""
) -> Iterator[Span]:
    """Give the span of sending a record, current; a failure is told in it."""
    span = telemetry.tracer("kafka").start_span(
        f"send {destination}",
        context,
        SpanKind.PRODUCER,
        {
            **_SYSTEM,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.client.id": client,
            "messaging.destination.name": destination,
            "messaging.kafka.message.key": key,
            **({} if message is None else {"messaging.message.id": message}),
        },
    )
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            # Also where the time for it was over: whoever waited sends it anew, in a span of its own.
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR, str(error) or None)
            raise
