"""OpenTelemetry set-up. Without an exporter in the environment, nothing is exported.

The standard variables decide: `OTEL_EXPORTER_OTLP_ENDPOINT` (or the traces/metrics one), `OTEL_SDK_DISABLED`,
`OTEL_RESOURCE_ATTRIBUTES`. The exporter speaks OTLP over HTTP and comes with the extra `otlp`. Metrics are kept for
Prometheus to ask for where `NEVERBLINK_HEALTH` is set.
"""

import os
import socket
import threading
import time
from functools import cache

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from neverblink import __version__
from neverblink.telemetry.logs import ROOT, logger, set_up_logs
from neverblink.telemetry.part_traces import PartIds, name_site
from neverblink.telemetry.scraping import wanted_reader
from neverblink.telemetry.span_wire import Request

FLUSH_S = 2.0

CONVENTIONS = "https://opentelemetry.io/schemas/1.44.0"
"""The version of OpenTelemetry's semantic conventions that our spans and metrics follow; docs/guides/tracing.md."""


def setup(service: str, site: str, *, level: int | None = None) -> None:
    """Set up logs, traces and metrics of this process. Call once, before the service's loop."""
    set_up_logs(service, level)
    name_site(site)
    scraped = wanted_reader()
    readers: list[MetricReader] = [] if scraped is None else [scraped]
    resource = Resource.create(
        {
            "service.name": f"{ROOT}-{service}",
            "service.namespace": site,
            "service.version": __version__,
            # Two processes of one service must not be taken for one whose counters jump.
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
    sent = _sent(resource)
    readers += [] if sent is None else [sent]
    # Not by the library at the end of the process, where nothing bounds it: `flush` does it.
    if readers:
        metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=readers, shutdown_on_exit=False))


def trace_job(job: str, site: str) -> None:
    """Set up the traces of a job about a site's parts, where the environment names a collector; `flush` ends them.

    What a job logs and measures is left as it is.
    """
    name_site(site)
    if _is_wanted("TRACES") and _has_exporter():
        _send_traces(Resource.create({"service.name": f"{ROOT}-{job}", "service.namespace": site}))


def _sent(resource: Resource) -> MetricReader | None:
    """Set up what is sent to a collector: traces; return the reader of metrics. Neither where nobody asks for it."""
    traces_wanted, metrics_wanted = _is_wanted("TRACES"), _is_wanted("METRICS")
    if not (traces_wanted or metrics_wanted):
        return None
    if not _has_exporter():
        return None
    if traces_wanted:
        _send_traces(resource)
    if not metrics_wanted:
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return PeriodicExportingMetricReader(OTLPMetricExporter())


def _has_exporter() -> bool:
    """Return whether the exporter is installed; say so where it is not."""
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401
    except ImportError:
        logger("telemetry").warning(
            "an OTLP endpoint is set and the exporter is not installed: install neverblink[otlp]; "
            "traces and metrics of this process are not exported"
        )
        return False
    return True


def _send_traces(resource: Resource) -> None:
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    # The library's exporter knows the way (endpoint, TLS, headers, retries); how spans are written is ours.
    trace_exporter.encode_spans = Request  # type: ignore[assignment, attr-defined]
    traces = TracerProvider(resource=resource, id_generator=PartIds(), shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(trace_exporter.OTLPSpanExporter()))
    trace.set_tracer_provider(traces)


def flush(within_s: float = FLUSH_S) -> None:
    """Export what is buffered, for at most so long; for the end of a process.

    A collector that takes connections and never answers holds an export for ten seconds and more: it is left alone.
    """
    threads = [
        threading.Thread(target=shutdown, name="flush-telemetry", daemon=True)
        for provider in (trace.get_tracer_provider(), metrics.get_meter_provider())
        if (shutdown := getattr(provider, "shutdown", None)) is not None
    ]
    until = time.monotonic() + within_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        logger("telemetry").warning(
            f"the collector did not take the last traces and metrics within {within_s:g} s: they are lost"
        )


def tracer(room: str) -> trace.Tracer:
    """Return the tracer of a room (`scorer`, `bridge`)."""
    return _tracer(trace.get_tracer_provider(), room)


@cache
def _tracer(provider: trace.TracerProvider, room: str) -> trace.Tracer:
    return provider.get_tracer(f"{ROOT}.{room}", __version__, schema_url=CONVENTIONS)


def meter(room: str) -> metrics.Meter:
    """Return the meter of a room."""
    return metrics.get_meter(f"{ROOT}.{room}", __version__)


def _is_wanted(signal: str) -> bool:
    """Return whether an endpoint is set for this signal, or for all: no other is ever sent anywhere."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    names = ("ENDPOINT", f"{signal}_ENDPOINT")
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in names)
