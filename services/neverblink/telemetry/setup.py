"""OpenTelemetry set-up. Without an exporter in the environment, nothing is exported.

The standard variables decide: `OTEL_EXPORTER_OTLP_ENDPOINT` (or the traces/metrics one), `OTEL_SDK_DISABLED`,
`OTEL_RESOURCE_ATTRIBUTES`. The exporter speaks OTLP over HTTP and comes with the extra `otlp`.
"""

import logging
import os

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from neverblink import __version__
from neverblink.telemetry.logs import ROOT, log_as_json, logger


def setup(service: str, site: str, *, level: int = logging.INFO) -> None:
    """Set up logs, traces and metrics of this process. Call once, before the service's loop."""
    log_as_json(service, level)
    if not _exporter_wanted():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        logger("telemetry").warning(
            "an OTLP endpoint is set and the exporter is not installed: install neverblink[otlp]; "
            "traces and metrics of this process are not exported"
        )
        return
    resource = Resource.create(
        {"service.name": f"{ROOT}-{service}", "service.namespace": site, "service.version": __version__}
    )
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(traces)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))


def flush() -> None:
    """Export what is buffered; for the end of a process."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        shutdown = getattr(provider, "shutdown", None)
        if shutdown is not None:
            shutdown()


def tracer(room: str) -> trace.Tracer:
    """Return the tracer of a room (`scorer`, `bridge`)."""
    return trace.get_tracer(f"{ROOT}.{room}", __version__)


def meter(room: str) -> metrics.Meter:
    """Return the meter of a room."""
    return metrics.get_meter(f"{ROOT}.{room}", __version__)


def _exporter_wanted() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    names = ("ENDPOINT", "TRACES_ENDPOINT", "METRICS_ENDPOINT")
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in names)
