"""A database connection's one thread, for a service's loop that must not wait for SQL."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from neverblink.records.database import Database, LedgerError
from neverblink.records.engine import ANSWER_S

T = TypeVar("T")

_ASKED_S = 60.0
_LOOK_EVERY_S = 0.5
_LAST_ANSWER_S = 3.0


class SqlThread:
    """Runs questions one after the other; a database that stands still is left. `waits` says what waits for it then."""

    def __init__(self, database: Database, stop: asyncio.Event, *, name: str, waits: str) -> None:
        self._database = database
        self._stop = stop
        self._waits = waits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def close(self) -> None:
        """End the thread; a wait that is still under way there is broken off."""
        self._database.break_off()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, work: Callable[[], T]) -> T:
        """Run a question in the thread. Raises as it does.

        A database that stands still is left after ANSWER_S, and whatever else does after `_ASKED_S`; told to stop it
        waits for `_LAST_ANSWER_S` at most.
        """
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, work)
        future.add_done_callback(looked_at)
        give_up = loop.time() + _ASKED_S
        while True:
            done, _ = await asyncio.wait({future}, timeout=_LOOK_EVERY_S)
            if done:
                return future.result()
            if self._stop.is_set():
                give_up = min(give_up, loop.time() + _LAST_ANSWER_S)
            if loop.time() >= give_up:
                future.cancel()  # one that has not begun must not run when nobody waits for it
                self._database.break_off()
                raise LedgerError(self._waits)
            if self._database.silent_s > ANSWER_S:
                self._database.break_off()


def looked_at(work: "asyncio.Future[T]") -> None:
    """Take what a future said whose waiter may have gone."""
    if not work.cancelled():
        work.exception()
