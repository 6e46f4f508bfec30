"""What a camera node says of a part in its trace: from the trigger's instant on."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer
from opentelemetry.util.types import AttributeValue

from neverblink import telemetry
from neverblink.camera.triggers import Trigger
from neverblink.events import Verdict
from neverblink.kafka.spans import said_of


class Spans:
    """The spans of one station's node. A process that is not traced makes none."""

    def __init__(self, line: str, station: str) -> None:
        self._place: dict[str, AttributeValue] = {"neverblink.line": line, "neverblink.station": station}

    @contextmanager
    def trigger(self, trigger: Trigger, seq: int) -> Iterator[Span]:
        """Give the span of a trigger, current: from its instant until its picture is ready or its verdict told.

        A part that a PLC tracks has its first span from the bridge, which knows its end; any other begins here.
        """
        if not telemetry.is_traced():
            yield otel.INVALID_SPAN
            return
        if trigger.tracking is None:
            with telemetry.first_of(trigger.part) as context:
                span = self._triggered(context, trigger, seq)
        else:
            span = self._triggered(telemetry.part_context(trigger.part), trigger, seq)
        with otel.use_span(span, end_on_exit=True):
            yield span

    def _triggered(self, context: Context, trigger: Trigger, seq: int) -> Span:
        attributes = {**self._place, "neverblink.part": trigger.part, "neverblink.seq": seq}
        return _tracer().start_span("trigger", context, attributes=attributes, start_time=telemetry.in_ns(trigger.at))

    def capture(self) -> AbstractContextManager[object]:
        """Cover the taking of the picture."""
        return _tracer().start_as_current_span("capture") if telemetry.is_traced() else nullcontext()

    def quality(self) -> AbstractContextManager[object]:
        """Cover the measuring of the picture."""
        return _tracer().start_as_current_span("quality") if telemetry.is_traced() else nullcontext()

    def identify(self) -> AbstractContextManager[object]:
        """Cover the asking for who the part is."""
        return _tracer().start_as_current_span("identify") if telemetry.is_traced() else nullcontext()

    @contextmanager
    def unscored(self, verdict: Verdict, trace: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Cover the telling of a verdict by the camera itself; gives the trace in which it is told."""
        if not telemetry.is_traced():
            yield trace
            return
        attributes = {**self._place, "neverblink.part": verdict.part, **said_of(verdict)}
        span = _tracer().start_span("unscored", telemetry.context_of(trace, verdict.part), attributes=attributes)
        with otel.use_span(span, end_on_exit=True):
            yield telemetry.current_trace()


def _tracer() -> Tracer:
    return telemetry.tracer("camera")
