"""What Prometheus reads of a process: names, numbers and the traces behind them."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from neverblink.telemetry.exposition import family_name
from neverblink.telemetry.scraping import ScrapedMetrics
from rigs.registered_telemetry import REGISTRY

TRACE, SPAN = 0xABC, 0xDEF


@pytest.fixture
def measured() -> tuple[MeterProvider, ScrapedMetrics]:
    reader = ScrapedMetrics()
    resource = Resource({"service.name": "neverblink-scorer", "service.namespace": 'a "plant"\nof two lines'})
    return MeterProvider(resource=resource, metric_readers=[reader], shutdown_on_exit=False), reader


def test_a_counter_a_gauge_and_what_they_are_of(measured: tuple[MeterProvider, ScrapedMetrics]) -> None:
    provider, reader = measured
    meter = provider.get_meter("scorer")
    meter.create_counter("neverblink.scorer.verdicts", unit="{verdict}", description="Sent.").add(2, {"line": "a"})

    def memory(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(7, {"b": "x", "a.b": "y"})

    meter.create_observable_gauge("neverblink.scorer.model_memory", [memory], unit="By", description="Held.")
    assert reader.text(open_metrics=True).splitlines() == [
        "# TYPE target info",
        "# HELP target What these metrics are of.",
        'target_info{service_name="neverblink-scorer",service_namespace="a \\"plant\\"\\nof two lines"} 1',
        "# TYPE neverblink_scorer_verdicts counter",
        "# HELP neverblink_scorer_verdicts Sent.",
        'neverblink_scorer_verdicts_total{line="a"} 2.0',
        "# TYPE neverblink_scorer_model_memory_bytes gauge",
        "# HELP neverblink_scorer_model_memory_bytes Held.",
        'neverblink_scorer_model_memory_bytes{a_b="y",b="x"} 7.0',
        "# EOF",
    ]
    older = reader.text(open_metrics=False)
    assert "# TYPE neverblink_scorer_verdicts_total counter" in older
    assert "# EOF" not in older


def test_each_bucket_of_a_histogram_shows_the_last_trace_that_fell_into_it(
    measured: tuple[MeterProvider, ScrapedMetrics],
) -> None:
    provider, reader = measured
    slack = provider.get_meter("bridge").create_histogram(
        "neverblink.bridge.slack", unit="s", explicit_bucket_boundaries_advisory=(0.1, 1.0)
    )
    part = trace.set_span_in_context(
        NonRecordingSpan(SpanContext(TRACE, SPAN, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    )
    slack.record(0.05, {"line": "a"})
    slack.record(0.5, {"line": "a"}, part)
    slack.record(3.0, {"line": "a"}, part)
    lines = [line for line in reader.text(open_metrics=True).splitlines() if line.startswith("neverblink_bridge_slack")]
    ids = f'{{trace_id="{TRACE:032x}",span_id="{SPAN:016x}"}}'
    assert lines[0] == 'neverblink_bridge_slack_seconds_bucket{line="a",le="0.1"} 1'
    assert lines[1].startswith(f'neverblink_bridge_slack_seconds_bucket{{line="a",le="1.0"}} 2 # {ids} 0.5 ')
    assert lines[2].startswith(f'neverblink_bridge_slack_seconds_bucket{{line="a",le="+Inf"}} 3 # {ids} 3.0 ')
    assert lines[3:] == [
        'neverblink_bridge_slack_seconds_sum{line="a"} 3.55',
        'neverblink_bridge_slack_seconds_count{line="a"} 3',
    ]
    assert " # " not in "".join(
        line for line in reader.text(open_metrics=False).splitlines() if not line.startswith("#")
    )


def test_every_registered_metric_has_a_name_of_its_own_in_prometheus() -> None:
    names = {
        name: family_name(name, metric["unit"], is_gauge=metric["kind"] == "gauge")
        for name, metric in REGISTRY["metrics"].items()
    }
    assert len(set(names.values())) == len(names)
    assert names["neverblink.ledger.lag.time"] == "neverblink_ledger_lag_time_seconds"
    assert names["neverblink.bridge.certificate_left"] == "neverblink_bridge_certificate_left_days"
    assert names["messaging.client.sent.messages"] == "messaging_client_sent_messages"
