"""What the shipped collector keeps: every part that did not simply pass, and a share of the passes."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode
from opentelemetry.util.types import AttributeValue

from rigs.otel_collector import running_collector
from rigs.span_tree import OtlpReceiver

pytestmark = pytest.mark.plant

PASSES, SHARE = 200, 25
PASS: dict[str, AttributeValue] = {
    "neverblink.decision": "pass",
    "neverblink.outcome": "confirmed",
    "neverblink.late": False,
    "neverblink.holdout": False,
}
NOT_PASSED: dict[str, dict[str, AttributeValue]] = {
    "reject": {"neverblink.decision": "reject"},
    "unscored": {"neverblink.decision": "unscored", "neverblink.reason": "too-dark"},
    "late": {"neverblink.late": True},
    "untold": {"neverblink.outcome": "unknown"},
    "fail-safe": {"neverblink.fail_safe": True},
    "stale at the gate": {"neverblink.gate.action": "stale"},
    "not confirmed": {"neverblink.gate.confirmed": False},
    "incident": {"neverblink.incident": True},
    "held": {"neverblink.held": True},
    "holdout": {"neverblink.holdout": True},
    "challenge": {"neverblink.challenge": True},
    "verdict after the deadline": {"neverblink.effect": "late"},
    "judged by a person": {"neverblink.judgement": "defect"},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtlpReceiver]:
    """Send the parts through the collector; each has a span that says nothing, and one that says what became of it."""
    with (
        OtlpReceiver() as receiver,
        running_collector(
            tmp_path_factory.mktemp("collector"),
            receiver.endpoint,
            {"NEVERBLINK_DECISION_WAIT": "2s", "NEVERBLINK_PASSES_KEPT": str(SHARE)},
        ) as endpoint,
    ):
        provider = TracerProvider(resource=Resource.create({"service.name": "neverblink-test"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
        tracer = provider.get_tracer("test")
        parts = {**{f"pass {number}": {} for number in range(PASSES)}, **NOT_PASSED}
        for name, attributes in parts.items():
            with tracer.start_as_current_span("trigger", attributes={"neverblink.part": name}):
                tracer.start_span("part", attributes={"neverblink.part": name, **PASS, **attributes}).end()
        with tracer.start_as_current_span("trigger", attributes={"neverblink.part": "broken"}):
            failed = tracer.start_span("write", attributes={"neverblink.part": "broken"})
            failed.set_status(StatusCode.ERROR)
            failed.end()
        asyncio.run(receiver.until(lambda: NOT_PASSED.keys() <= parts_of(receiver), "all that did not simply pass"))
        provider.shutdown()
        yield receiver


def parts_of(receiver: OtlpReceiver) -> set[str]:
    return {one["part"] for one in receiver.all}


def test_every_part_that_did_not_simply_pass_is_kept_whole(kept: OtlpReceiver) -> None:
    whole = {name: {one.name for one in kept.all if one["part"] == name} for name in NOT_PASSED}
    assert whole == {name: {"trigger", "part"} for name in NOT_PASSED}
    assert "broken" in parts_of(kept)


def test_of_the_passes_a_share_is_kept_and_of_those_the_whole(kept: OtlpReceiver) -> None:
    passed = {name for name in parts_of(kept) if name.startswith("pass ")}
    # 50 are expected, with a standard deviation of 6.
    assert 20 <= len(passed) <= 80
    assert all({one.name for one in kept.all if one["part"] == name} == {"trigger", "part"} for name in passed)
