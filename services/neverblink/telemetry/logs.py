"""Structured logs on standard error: one JSON object a line, or a line for people where a terminal shows them."""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from opentelemetry import trace

from neverblink.shown import visible
from neverblink.telemetry.library_voice import LibraryVoice

ROOT = "neverblink"

LEVEL: Final = "NEVERBLINK_LOG_LEVEL"
"""debug, info, warning or error; our own lines from this level on, other packages' from warning on."""

FORMAT: Final = "NEVERBLINK_LOG_FORMAT"
"""json or text; without it text on a terminal and JSON elsewhere."""

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def logger(room: str) -> logging.Logger:
    """Return the logger of a room. Facts go into `extra={"fields": {...}}`, the message is a sentence."""
    return logging.getLogger(f"{ROOT}.{room}")


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
            "room": record.name.removeprefix(f"{ROOT}."),
            "message": record.getMessage(),
        }
        entry |= _trace_of_now()
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            entry |= fields
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


class TextLines(logging.Formatter):
    """One line for a person: time, level, message, the record's fields; control characters are shown, not obeyed."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, its traceback below it."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = getattr(record, "fields", None)
        facts = "".join(f" {name}={value}" for name, value in fields.items()) if isinstance(fields, dict) else ""
        room = record.name.removeprefix(f"{ROOT}.")
        line = f"{at} {record.levelname.lower():<7} {room}: {record.getMessage()}{facts}"
        error = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return visible(line.replace("\n", " ")) + visible(error, but="\n\t")


def set_up_logs(service: str, level: int | None = None) -> None:
    """Send this process's log to standard error, ours from `level` on and other packages' warnings, thinned out.

    Without a `level` the environment's counts, else info. What the environment has wrong is told and left aside.
    """
    said, wrong = os.environ.get(LEVEL, "").lower(), []
    if level is None:
        level = LEVELS.get(said, logging.INFO)
        if said and said not in LEVELS:
            wrong.append(f"{LEVEL} is {said!r}, and there are {', '.join(LEVELS)}: info it is")
    wanted = os.environ.get(FORMAT, "").lower()
    if wanted not in ("", "json", "text"):
        wrong.append(f"{FORMAT} is {wanted!r}, and there are json and text")
        wanted = ""
    as_text = wanted == "text" or (not wanted and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if as_text else JsonLines(service))
    handler.addFilter(LibraryVoice(ROOT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level)
    for sentence in wrong:
        logger("telemetry").warning(sentence)


def _trace_of_now() -> dict[str, str]:
    """Return the ids of the part's trace that this line belongs to; nothing outside of one."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
