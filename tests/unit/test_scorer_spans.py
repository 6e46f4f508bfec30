"""What a scorer says of frames and their batches in traces."""

from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from neverblink.camera.spans import Spans
from neverblink.camera.triggers import Trigger
from neverblink.scorer.spans import computing, scored
from neverblink.scorer.work import Work
from neverblink.telemetry.part_traces import PartIds
from neverblink.vision.stages import begins

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


async def test_a_batch_and_its_frames_are_linked_both_ways_and_name_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = TracerProvider(id_generator=PartIds()), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    work = []
    for number in range(2):
        with Spans("line-1", "top").trigger(Trigger(f"line-1/run/{number}", number, NOON), number):
            work.append(Work(None, None, None, None))  # type: ignore[arg-type]
    with computing(work):
        begins("embed")
        begins("search")
    scored(work[0])
    scored(work[1], "late-frame")
    scored(work[1])
    *frames, batch, first, second = exporter.get_finished_spans()
    assert [one.name for one in (batch, first, second)] == ["compute batch", "score", "score"]
    assert [link.context for link in batch.links] == [one.context for one in frames]
    assert [one.parent for one in (first, second)] == [one.context for one in frames]
    assert [link.context for one in (first, second) for link in one.links] == [batch.context] * 2
    assert [event.name for event in first.events] == [event.name for event in batch.events] == ["embed", "search"]
    assert (second.attributes or {})["neverblink.cause"] == "late-frame"
