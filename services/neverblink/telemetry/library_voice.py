"""What libraries log, as an operator can live with it: a sentence when something begins, a count now and then.

With its broker away a client of Kafka logs an error for every address it tries, sixty times a second in a bridge; our
own services already say once that the broker went, and once that it is back.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Final

FIRST_LINES: Final = 2
"""So many different things a library may say at once, before it is summed up."""

PERIOD_S: Final = 60.0
"""A library that goes on is summed up once in so long; after as long a silence it may speak anew."""

_MOST_KINDS: Final = 64
_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|\d+|'[^']*'|\"[^\"]*\"")


class LibraryVoice(logging.Filter):
    """Lets the first lines of each library through and counts the rest; records of `own` loggers pass untouched."""

    def __init__(self, own: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._own = own
        self._clock = clock
        self._lock = threading.Lock()
        self._spoke: dict[str, _Spoken] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged; one that sums up others says how many."""
        library = record.name.partition(".")[0]
        if library == self._own or record.levelno >= logging.CRITICAL:
            return True
        with self._lock:
            spoken = self._spoke.setdefault(library, _Spoken())
            held_back = spoken.next(_kind_of(record), self._clock())
        if held_back is None:
            return False
        if held_back:
            record.msg = f"{record.getMessage()} (and {held_back} more lines of {library} since its last one here)"
            record.args = None
        return True


class _Spoken:
    """What one library has said in this period."""

    def __init__(self) -> None:
        self._kinds: dict[str, None] = {}
        self._told_at: float | None = None
        self._heard_at = 0.0
        self._held_back = 0

    def next(self, kind: str, now: float) -> int | None:
        """Return how many lines were held back before this one, None when this one is held back too."""
        quiet_s, self._heard_at = now - self._heard_at, now
        if self._told_at is None or quiet_s >= PERIOD_S:
            self._kinds.clear()
        elif now - self._told_at >= PERIOD_S:
            pass  # it goes on: one line sums it up
        elif kind in self._kinds or len(self._kinds) >= FIRST_LINES:
            self._held_back += 1
            return None
        if len(self._kinds) < _MOST_KINDS:
            self._kinds[kind] = None
        self._told_at = now
        held_back, self._held_back = self._held_back, 0
        return held_back


def _kind_of(record: logging.LogRecord) -> str:
    """Return what is alike in lines that say the same of other addresses, numbers and names."""
    return f"{record.name}:{_VARIABLE.sub('#', str(record.msg))}"
