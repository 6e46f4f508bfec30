"""Logs, traces and metrics: how a process sets them up, and how a room says what it does."""

from neverblink.telemetry.logs import JsonLines, logger
from neverblink.telemetry.recurring import Recurring
from neverblink.telemetry.scraping import HEALTH, scraped
from neverblink.telemetry.setup import flush, meter, setup, tracer
from neverblink.telemetry.trace_context import current_trace, remote_context, trace_of_context

__all__ = [
    "HEALTH",
    "JsonLines",
    "Recurring",
    "current_trace",
    "flush",
    "logger",
    "meter",
    "remote_context",
    "scraped",
    "setup",
    "trace_of_context",
    "tracer",
]
