"""Logs, traces and metrics: how a process sets them up, and how a room says what it does."""

from neverblink.telemetry.logs import JsonLines, logger
from neverblink.telemetry.part_traces import (
    context_of,
    first_of,
    in_ns,
    is_traced,
    part_context,
    trace_id_of,
)
from neverblink.telemetry.recurring import Recurring
from neverblink.telemetry.scraping import HEALTH, scraped
from neverblink.telemetry.setup import flush, meter, setup, trace_job, tracer
from neverblink.telemetry.time_left import record_time_left
from neverblink.telemetry.trace_context import current_trace, remote_context, trace_of_context

__all__ = [
    "HEALTH",
    "JsonLines",
    "Recurring",
    "context_of",
    "current_trace",
    "first_of",
    "flush",
    "in_ns",
    "is_traced",
    "logger",
    "meter",
    "part_context",
    "record_time_left",
    "remote_context",
    "scraped",
    "setup",
    "trace_id_of",
    "trace_job",
    "trace_of_context",
    "tracer",
]
