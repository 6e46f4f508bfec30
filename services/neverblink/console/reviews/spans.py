"""What the console says of a part in its trace: that a person has judged it."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace as otel

from neverblink import telemetry
from neverblink.events import Event, Review


@contextmanager
def telling(event: Event) -> Iterator[None]:
    """Cover the telling of a person's answer, current; of anything else it says nothing."""
    if not isinstance(event, Review) or not telemetry.is_traced():
        yield
        return
    span = telemetry.tracer("console").start_span(
        "review",
        telemetry.part_context(event.part),
        attributes={
            "neverblink.line": event.line,
            "neverblink.station": event.station,
            "neverblink.part": event.part,
            "neverblink.judgement": str(event.judgement),
            "neverblink.withdrawn": event.withdrawn,
        },
    )
    with otel.use_span(span, end_on_exit=True):
        yield
