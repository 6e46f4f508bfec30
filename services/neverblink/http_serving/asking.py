"""Questions of many requests to one database: so many at once, each bounded, none in the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from neverblink.errors import NeverblinkError
from neverblink.service_life import time_limit

_WAIT_S = 1.0

Answer = TypeVar("Answer")


class Records(Protocol):
    """What lends a session for one question, as `records.reading.ReadOnlyRecords` does."""

    def asking(self) -> AbstractContextManager[Session]:
        """Give a session for one question."""
        ...


class BusyError(NeverblinkError):
    """More questions are in hand than may be; ask again in a second."""


class Asking:
    """Runs questions in threads of its own; beyond `most` in hand a request waits a second, then is sent away."""

    def __init__(self, records: Records, most: int, *, service: str = "ledger-api") -> None:
        self._records = records
        self._free = asyncio.Semaphore(most)
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=service)

    async def __call__(self, question: Callable[[Session], Answer]) -> Answer:
        """Return the answer to one question. Raises BusyError when too many are in hand, else as the question does."""
        try:
            async with time_limit(_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise BusyError("too many questions are in hand: ask again in a second") from None
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._asked, question)
        # The place is free when the thread is, also for a client that went away in between.
        work.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(work)

    def close(self) -> None:
        """End the threads; each question ends by its own bound."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _asked(self, question: Callable[[Session], Answer]) -> Answer:
        with self._records.asking() as session:
            return question(session)
