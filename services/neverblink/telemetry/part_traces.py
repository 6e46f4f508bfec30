"""One trace a part: its id follows from the part's, so that every process tells of a part in the same trace.

A context that travelled says more (who caused it), and is used where there is one. Where none did, because a station
was silent, a person answers a day later or another station's camera speaks, the part's name is enough.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from neverblink.telemetry.trace_context import remote_context

_wanted: ContextVar[tuple[int, int] | None] = ContextVar("wanted trace and span id", default=None)
_site = ""


class PartIds(RandomIdGenerator):
    """Random ids, but for the span that a part's trace begins with."""

    def generate_trace_id(self) -> int:
        """Return the id of a trace that begins."""
        wanted = _wanted.get()
        return super().generate_trace_id() if wanted is None else wanted[0]

    def generate_span_id(self) -> int:
        """Return the id of a span."""
        wanted = _wanted.get()
        return super().generate_span_id() if wanted is None else wanted[1]


def name_site(site: str) -> None:
    """Say which site's parts this process tells of: two sites' parts may have the same name."""
    global _site
    _site = site


def is_traced() -> bool:
    """Return whether this process records spans: who asks first spares the work for spans that nobody wants."""
    return isinstance(trace.get_tracer_provider(), TracerProvider)


def trace_id_of(part: str) -> str:
    """Return the id of a part's trace, 32 hexadecimal digits."""
    return f"{_ids(part)[0]:032x}"


def part_context(part: str) -> Context:
    """Return the context of what belongs to a part and was caused by nothing else; empty when nothing is traced."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return Context()
    trace_id, span_id = _ids(part)
    sampled = provider.sampler.should_sample(None, trace_id, "part").decision is Decision.RECORD_AND_SAMPLE
    flags = TraceFlags((TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT) | TraceFlags.RANDOM_TRACE_ID)
    return trace.set_span_in_context(NonRecordingSpan(SpanContext(trace_id, span_id, True, flags)), Context())


def context_of(carried: Mapping[str, str], part: str | None) -> Context:
    """Return the context that travelled with an event, else that of the part which the event is about."""
    if carried or part is None:
        return remote_context(carried)
    return part_context(part)


@contextmanager
def first_of(part: str) -> Iterator[Context]:
    """Give the context in which the next span becomes the one that a part's trace begins with: start that, no other."""
    before = _wanted.set(_ids(part))
    try:
        yield Context()
    finally:
        _wanted.reset(before)


def in_ns(instant: float | datetime) -> int:
    """Return an instant, seconds of the epoch or a date, in the nanoseconds of spans."""
    seconds = instant.timestamp() if isinstance(instant, datetime) else instant
    return int(seconds * 1e9)


def _ids(part: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"neverblink part trace\n{_site}\n{part}".encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1
