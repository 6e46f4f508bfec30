"""The records as a reviewer's desk asks them: by the console's own threads and connections, bounded as all are."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy.orm import Session

from neverblink.http_serving.asking import Asking

P = ParamSpec("P")
T = TypeVar("T")


class Asked:
    """The console's questions to the records, for a desk."""

    def __init__(self, ask: Asking) -> None:
        self._ask = ask

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Give them for one act: nothing is opened, and nothing closed."""
        yield self

    async def ask(self, question: Callable[Concatenate[Session, P], T], *about: P.args, **more: P.kwargs) -> T:
        """Return the answer as the records are now. Raises LedgerError, BusyError."""
        return await self._ask(lambda session: question(session, *about, **more))
