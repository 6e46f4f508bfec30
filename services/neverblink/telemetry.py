"""OpenTelemetry set-up and structured logs. Without an exporter in the environment, nothing is exported.

The standard variables decide: `OTEL_EXPORTER_OTLP_ENDPOINT` (or the traces/metrics one), `OTEL_SDK_DISABLED`,
`OTEL_RESOURCE_ATTRIBUTES`. The exporter speaks OTLP over HTTP and comes with the extra `otlp`.
"""

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from neverblink import __version__

_ROOT = "neverblink"


def setup(service: str, site: str, *, level: int = logging.INFO) -> None:
    """Set up logs, traces and metrics of this process. Call once, before the service's loop."""
    _log_as_json(service, level)
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
        {"service.name": f"{_ROOT}-{service}", "service.namespace": site, "service.version": __version__}
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
    return trace.get_tracer(f"{_ROOT}.{room}", __version__)


def meter(room: str) -> metrics.Meter:
    """Return the meter of a room."""
    return metrics.get_meter(f"{_ROOT}.{room}", __version__)


def logger(room: str) -> logging.Logger:
    """Return the logger of a room. Facts go into `extra={"fields": {...}}`, the message is a sentence."""
    return logging.getLogger(f"{_ROOT}.{room}")


def current_trace() -> dict[str, str]:
    """Return `traceparent` and `tracestate` of the current span, empty when none is recorded."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def remote_context(carrier: Mapping[str, str]) -> Context:
    """Return the context of a trace that began in another process."""
    return propagate.extract(carrier)


def trace_of_context(context: Context) -> dict[str, str]:
    """Return the headers that carry this context onwards."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return carrier


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, service, room, message, the record's fields, the error."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "room": record.name.removeprefix(f"{_ROOT}."),
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            entry |= fields
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


def _log_as_json(service: str, level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(level)


def _exporter_wanted() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    names = ("ENDPOINT", "TRACES_ENDPOINT", "METRICS_ENDPOINT")
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in names)
