"""A trace on its way from one process to the next, as the headers `traceparent` and `tracestate`."""

from collections.abc import Mapping

from opentelemetry import propagate
from opentelemetry.context import Context


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
