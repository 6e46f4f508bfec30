"""Structured logs: one JSON object a line, on standard error."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

ROOT = "neverblink"


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
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            entry |= fields
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


def log_as_json(service: str, level: int) -> None:
    """Send this process's log to standard error, ours from `level` on and other packages' warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level)
