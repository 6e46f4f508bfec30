"""Questions to the records from a loop that must not wait for SQL: each has a thread and a session of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy.orm import Session

from neverblink.records.questions import review_queue as queue
from neverblink.records.questions.review_queue import Judged, Said
from neverblink.records.reading import ReadOnlyRecords
from neverblink.records.slices import slices

P = ParamSpec("P")
T = TypeVar("T")

_ANSWER_S = 30.0
_AT_ONCE = 200


class Asks(Protocol):
    """What answers a question to the records."""

    async def ask(self, question: Callable[Concatenate[Session, P], T], *about: P.args, **more: P.kwargs) -> T:
        """Return the answer as the records are now. Raises LedgerError."""
        ...


class Asking:
    """The records, opened for reading alone."""

    def __init__(self, records: ReadOnlyRecords) -> None:
        self._records = records

    async def ask(self, question: Callable[Concatenate[Session, P], T], *about: P.args, **more: P.kwargs) -> T:
        """Return the answer as the records are now. Raises LedgerError."""

        def answered() -> T:
            with self._records.asking() as session:
                return question(session, *about, **more)

        return await asyncio.to_thread(answered)


@asynccontextmanager
async def asking(ledger: str) -> AsyncIterator[Asking]:
    """Open the records at a database URL, and close them at the end. Raises LedgerError."""
    records = await asyncio.to_thread(ReadOnlyRecords, ledger, answer_s=_ANSWER_S)
    try:
        yield Asking(records)
    finally:
        records.close()


async def said_about(records: Asks, judged: Sequence[Judged]) -> dict[str, list[Said]]:
    """Return what the records know of the answers about these verdicts, by verdict. Raises LedgerError."""
    found: dict[str, list[Said]] = {}
    for some in slices([one.verdict for one in judged], _AT_ONCE):
        found |= await records.ask(queue.said_about, some)
    return found
