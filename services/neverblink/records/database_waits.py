"""How long the database has been silent, and an end to the wait for one that stands still.

A server that is stopped keeps its TCP connections: its kernel acknowledges, so no time-out of the socket helps, and its
own limits stand still with it. Only the one who waits can end the wait.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Engine, event


class DatabaseWaits:
    """Follows the statements of one thread; another thread may ask and break off."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._open: dict[int, Any] = {}

    @property
    def silent_s(self) -> float:
        """Return for how long the present question has had no answer, 0 when there is none."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def follow(self, engine: Engine) -> None:
        """Take note of each statement and answer of an engine, and of its connections."""
        event.listen(engine, "connect", self._opened)
        event.listen(engine, "close", self._closed)
        for name in ("before_cursor_execute", "after_cursor_execute", "commit", "rollback"):
            event.listen(engine, name, self._heard)

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Count the time of the block, from the connection on; each statement begins it anew."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._since = None

    def break_off(self) -> None:
        """End the engine's connections: whoever waits for one, to answer or only to be alive, gets an error at once."""
        with self._lock:
            found = list(self._open.values())
        for connection in found:
            if hasattr(connection, "interrupt"):  # sqlite3
                connection.interrupt()
            else:
                # A driver has errors of its own for a connection that is closed already, which is what is wanted.
                with contextlib.suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as wire:
                    wire.shutdown(socket.SHUT_RDWR)
        self._heard()

    def _opened(self, connection: Any, *_: Any) -> None:
        with self._lock:
            self._open[id(connection)] = connection
        self._heard()

    def _closed(self, connection: Any, *_: Any) -> None:
        with self._lock:
            self._open.pop(id(connection), None)

    def _heard(self, *_: Any) -> None:
        if self._since is not None:
            self._since = self._clock()
