"""A collector reads from our bytes what it would read from the library's."""

from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import AttributeValue

from neverblink.telemetry.setup import _send_traces
from neverblink.telemetry.span_wire import written

_TEXT = st.text(max_size=200)
_VALUES: st.SearchStrategy[AttributeValue] = st.one_of(
    _TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.lists(_TEXT, max_size=3)
)
_ATTRIBUTES = st.dictionaries(st.text(min_size=1, max_size=30), _VALUES, max_size=6)
_CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    trace_state=st.sampled_from([TraceState(), TraceState([("vendor", "a"), ("other", "b")])]),
)
_INSTANTS = st.integers(0, 2**63 - 1)


class _Counted(IdGenerator):
    """Ids one after the other: the library's are of the `random` module, which an example must not ask."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def generate_span_id(self) -> int:
        return next(self._numbers)

    def generate_trace_id(self) -> int:
        return next(self._numbers) << 64


@st.composite
def _spans(draw: st.DrawFn) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    for site in ("", "north"):
        # Of a few attributes more than the limit: what is dropped is counted.
        limits = SpanLimits(max_attributes=4, max_events=2, max_links=2)
        resource = Resource({"service.name": "neverblink-scorer", "service.namespace": site}, "https://schema/1")
        provider = TracerProvider(
            resource=resource, span_limits=limits, id_generator=_Counted(), shutdown_on_exit=False
        )
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        for version, schema in (("1", "https://schema/2"), (None, None)):
            tracer = provider.get_tracer("neverblink.test", version, schema_url=schema)
            for _ in range(draw(st.integers(0, 2))):
                parent = draw(st.none() | _CONTEXTS)
                span = tracer.start_span(
                    draw(_TEXT),
                    Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context()),
                    draw(st.sampled_from(SpanKind)),
                    draw(_ATTRIBUTES),
                    [Link(draw(_CONTEXTS), draw(_ATTRIBUTES)) for _ in range(draw(st.integers(0, 3)))],
                    draw(_INSTANTS),
                )
                for _ in range(draw(st.integers(0, 3))):
                    span.add_event(draw(_TEXT), draw(_ATTRIBUTES), draw(_INSTANTS))
                if draw(st.booleans()):
                    span.set_status(draw(st.sampled_from(StatusCode)), draw(st.none() | _TEXT))
                span.end(draw(_INSTANTS))
    return list(exporter.get_finished_spans())


@given(_spans())
def test_what_is_written_is_what_the_library_writes(spans: list[ReadableSpan]) -> None:
    assert ExportTraceServiceRequest.FromString(written(spans)) == encode_spans(spans)


def test_equal_values_of_different_types_stay_what_they_are() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for value in (True, 1, 1.0, "1", 0, False, -0.0, 0.0):
        provider.get_tracer("test").start_span("one", attributes={"said": value}).end()
    spans = exporter.get_finished_spans()
    assert ExportTraceServiceRequest.FromString(written(spans)) == encode_spans(spans)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Where a collector listens, and what it was sent."""
    sent: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    server.shutdown()
    server.server_close()


def test_the_exporter_sends_what_is_written_here(
    collector: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry import trace

    endpoint, sent = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    asked: list[int] = []

    def counted(spans: Sequence[ReadableSpan]) -> bytes:
        asked.append(len(spans))
        return written(spans)

    monkeypatch.setattr("neverblink.telemetry.span_wire.written", counted)
    made: list[TracerProvider] = []
    monkeypatch.setattr(trace, "set_tracer_provider", made.append)
    _send_traces(Resource({"service.name": "neverblink-test"}))
    made[0].get_tracer("test").start_span("decode").end()
    made[0].shutdown()
    assert asked == [1], "the library no longer asks us for the bytes of its requests"
    request = ExportTraceServiceRequest.FromString(sent[0])
    assert [one.name for one in request.resource_spans[0].scope_spans[0].spans] == ["decode"]
