"""Puts pictures into the evidence store and writes their rows, within its room; shared by all who keep some."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from neverblink.errors import NeverblinkError
from neverblink.ledger.evidence_book import EvidenceBook, Picture
from neverblink.ledger.instruments import EvidenceInstruments
from neverblink.ledger.retention import Retention, Tidied
from neverblink.ledger.sql_thread import SqlThread, looked_at
from neverblink.records.database import Database
from neverblink.records.evidence_store import (
    EvidenceDamagedError,
    EvidenceStore,
    EvidenceStoreError,
    EvidenceStoreFullError,
)
from neverblink.storage.frame_objects import ObjectError

T = TypeVar("T")

AT_ONCE: Final = 4
"""Pictures that are put side by side: a store far away takes tens of milliseconds for each."""
IN_HAND_BYTES: Final = 32 * 1024 * 1024
"""Pictures in hand together; one that is larger is alone."""

_STORE_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class ToKeep:
    """A picture on its way: `load` returns its bytes, in a thread, and `digest` is what they shall have."""

    row: Picture
    load: Callable[[], bytes]


class EvidenceDesk:
    """One store, one database connection of its own, a thread for SQL and a few for the store.

    Keeping records never waits here: they have another connection. Two who keep pictures take turns.
    """

    def __init__(
        self,
        database: Database,
        book: EvidenceBook,
        store: EvidenceStore,
        retention: Retention,
        measured: EvidenceInstruments,
        stop: asyncio.Event,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self.book = book
        self.store = store
        self.retention = retention
        self.clock = clock
        self.measured = measured
        self._stop = stop
        self._turn = asyncio.Lock()
        waits = "the ledger's database or the evidence store stands still; evidence waits for it"
        self._sql = SqlThread(database, stop, name="evidence-sql", waits=waits)
        self._putting = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="evidence-store")
        self._left: set[asyncio.Future[NeverblinkError | None]] = set()

    def close(self) -> None:
        """End the threads; a wait that is still under way there is broken off."""
        self._sql.close()
        self._putting.shutdown(wait=False, cancel_futures=True)

    async def ask(self, work: Callable[[], T]) -> T:
        """Run a question to the database or the retention in the SQL thread; see `SqlThread.ask`."""
        return await self._sql.ask(work)

    async def keep(self, pictures: Sequence[ToKeep]) -> list[NeverblinkError | None]:
        """Keep pictures, at most `IN_HAND_BYTES` of them; return for each why its bytes could not be had, or None.

        Raises EvidenceStopped when there is no room, EvidenceStoreError and LedgerError when store or database are at
        fault: then what was kept has no row and is put once more, to the same place.
        """
        async with self._turn:
            await self._wait_for_left()
            fresh = {one.row.digest: one.row.bytes for one in pictures}
            await self.ask(partial(self.retention.make_room, fresh, self.clock()))
            try:
                failed = await self._put(pictures)
            except EvidenceStoreFullError:
                # The disk knows better than our count: what nobody needs goes, and the next try may fit.
                await self.ask(partial(self.retention.make_way, sum(fresh.values()), self.clock()))
                raise
            kept = [one.row for one, fault in zip(pictures, failed, strict=True) if fault is None]
            await self.ask(partial(self.retention.keep, kept, self.clock()))
            for row in kept:
                self.measured.kept.add(1, {"kind": row.kind, "why": row.why})
            self.measured.stored.set(self.retention.bytes)
            return failed

    async def tidy(self, shelf: str) -> Tidied:
        """Find and mend what a crash has left on one shelf. Raises EvidenceStoreError, LedgerError."""
        async with self._turn:
            return await self.ask(partial(self.retention.tidy, shelf, self.clock()))

    async def _put(self, pictures: Sequence[ToKeep]) -> list[NeverblinkError | None]:
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(self._putting, self._put_one, one) for one in pictures]
        for future in work:
            future.add_done_callback(looked_at)
        if work:
            _, self._left = await asyncio.wait(work, timeout=_STORE_ANSWER_S)
        if self._left:
            raise EvidenceStoreError(
                f"the evidence store {self.store.name} has not answered for {_STORE_ANSWER_S:.0f} s"
            )
        return [future.result() for future in work]

    def _put_one(self, picture: ToKeep) -> NeverblinkError | None:
        """Return why these bytes cannot be kept; what the store is at fault for is raised."""
        try:
            self.store.put(picture.load(), picture.row.digest)
        except (ObjectError, EvidenceDamagedError) as error:
            return error
        return None

    async def _wait_for_left(self) -> None:
        """A put that nobody waited for any more is not followed by others until it is done: memory stays bounded."""
        if self._left:
            _, self._left = await asyncio.wait(self._left, timeout=_STORE_ANSWER_S)
        if self._left:
            raise EvidenceStoreError(f"the evidence store {self.store.name} still does not answer")
