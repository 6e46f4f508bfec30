"""A part's trace follows from its name, whoever tells of it; what is not traced costs and changes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from neverblink import telemetry
from neverblink.camera.spans import Spans
from neverblink.camera.triggers import Trigger
from neverblink.console.reviews.spans import telling
from neverblink.events import Decision, Review, Times, Tracking, Verdict
from neverblink.events.identity import frame_id, verdict_id
from neverblink.events.review import Judgement
from neverblink.kafka import Record
from neverblink.kafka.spans import MOST_LINKS, Polls, Reader
from neverblink.telemetry.part_traces import PartIds, name_site

PART = "line-1/3/7"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """This test's spans, as if its process had a collector."""
    return _exporting(monkeypatch, TracerProvider(id_generator=PartIds()))


def _exporting(monkeypatch: pytest.MonkeyPatch, provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


@pytest.fixture
def _no_site() -> Iterator[None]:
    yield
    name_site("")


def trigger(tracked: bool = True) -> Trigger:
    return Trigger(PART, 7, NOON, Tracking(epoch=3, number=7) if tracked else None)


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def test_two_cameras_and_a_reviewer_tell_of_a_part_in_one_trace(exporter: InMemorySpanExporter) -> None:
    for station in ("top", "side"):
        with Spans("line-1", station).trigger(trigger(), 1):
            pass
    review = Review(
        id="r1", verdict="v1", frame_id="f1", line="line-1", station="top", product="pcb", part=PART,
        judgement=Judgement.DEFECT, reviewer="ada", at=NOON,
    )  # fmt: skip
    with telling(review):
        pass
    spans = exporter.get_finished_spans()
    assert [one.name for one in spans] == ["trigger", "trigger", "review"]
    assert {trace_of(one) for one in spans} == {telemetry.trace_id_of(PART)}
    # All below the part's first span, which the bridge makes.
    assert len({one.parent.span_id for one in spans if one.parent is not None}) == 1
    assert spans[0].start_time == int(NOON.timestamp() * 1e9)


def test_a_part_that_no_plc_tracks_has_its_first_span_from_the_camera(exporter: InMemorySpanExporter) -> None:
    with Spans("line-1", "top").trigger(trigger(tracked=False), 1):
        pass
    (span,) = exporter.get_finished_spans()
    assert span.parent is None
    first = trace.get_current_span(telemetry.part_context(PART)).get_span_context()
    assert (span.context.trace_id, span.context.span_id) == (first.trace_id, first.span_id)


def test_a_verdict_that_the_camera_tells_itself_says_so_where_a_collector_decides(
    exporter: InMemorySpanExporter,
) -> None:
    frame = frame_id(NOON)
    verdict = Verdict(
        id=verdict_id(frame), frame_id=frame, line="line-1", station="top", product="pcb", part=PART, seq=1,
        decision=Decision.UNSCORED, reason="too-dark", times=Times(captured=NOON), deadline=NOON, late=True,
    )  # fmt: skip
    with Spans("line-1", "top").unscored(verdict, {}) as onwards:
        assert onwards["traceparent"].split("-")[1] == telemetry.trace_id_of(PART)
    (span,) = exporter.get_finished_spans()
    said = span.attributes or {}
    words = [said[f"neverblink.{name}"] for name in ("decision", "reason", "late", "holdout")]
    assert words == ["unscored", "too-dark", True, False]


@pytest.mark.usefixtures("_no_site")
def test_parts_of_the_same_name_have_different_traces_at_different_sites() -> None:
    name_site("plant-1")
    here = telemetry.trace_id_of(PART)
    name_site("plant-2")
    assert telemetry.trace_id_of(PART) != here


def test_where_few_traces_are_sampled_all_processes_sample_the_same_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = ParentBased(TraceIdRatioBased(0.5))
    exporter = _exporting(monkeypatch, TracerProvider(id_generator=PartIds(), sampler=sampler))
    kept = {}
    for number in range(40):
        part = f"line-1/3/{number}"
        with telemetry.first_of(part) as first:
            kept[part] = telemetry.tracer("bridge").start_span("part", first).is_recording()
        below = telemetry.tracer("camera").start_span("trigger", telemetry.part_context(part))
        assert below.is_recording() == kept[part]
    assert 5 < sum(kept.values()) < 35
    assert exporter.get_finished_spans() == ()


def test_a_poll_has_a_bounded_number_of_links_and_says_how_many_records_it_brought(
    exporter: InMemorySpanExporter,
) -> None:
    sent = ("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")
    records = [Record("frames", 0, number, NOON, "line-1/top", b"", (sent,)) for number in range(200)]
    polls = Polls(Reader.of("neverblink", ["frames"], "test", "scorer"))
    polls.begin()
    polls.brought(records)
    (span,) = exporter.get_finished_spans()
    assert len(span.links) == MOST_LINKS
    assert (span.attributes or {})["messaging.batch.message_count"] == 200


def test_a_process_that_exports_nothing_makes_no_spans_and_hands_on_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    assert not telemetry.is_traced()
    with Spans("line-1", "top").trigger(trigger(), 1) as span:
        assert not span.is_recording()
    assert telemetry.trace_of_context(telemetry.part_context(PART)) == {}
    came = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    assert telemetry.trace_of_context(telemetry.context_of(came, PART)) == came
    polls = Polls(Reader.of("neverblink", ["frames"], "test"))
    polls.begin()
    assert polls.now is None
    assert trace.get_current_span(Context()).get_span_context().is_valid is False
