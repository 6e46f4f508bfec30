"""The console's own database: opened, brought to today's layout, and asked in threads of its own."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from neverblink.console.access.layout import TablesError, bring_to_today
from neverblink.errors import NeverblinkError
from neverblink.records.columns import WRITES
from neverblink.records.engine import cause_of, engine_of
from neverblink.shown import without_secrets

_THREADS = 4

Answer = TypeVar("Answer")


class AccessError(NeverblinkError, RuntimeError):
    """The console's database cannot be used; the message says which, why, and what to do."""


class AccessDatabase:
    """Accounts, sessions, tokens and audit. Raises AccessError when it cannot be opened.

    `reading` and `writing` block and are for commands; `ask` and `change` run in threads, at most four at once.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
                raise AccessError(
                    f"console.database names a {parsed.get_backend_name()} database; write sqlite:/// or postgresql://"
                )
            self._engine = engine_of(parsed)
        except (ArgumentError, NoSuchModuleError) as fault:
            raise AccessError(
                f"console.database is {without_secrets(url)!r}, which is no database URL: write"
                " sqlite:///console.db or postgresql://user:password@host/database"
            ) from fault
        self.name = without_secrets(parsed.render_as_string(hide_password=True))
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="console-access")
        try:
            with self.writing() as connection:
                bring_to_today(connection)
        except TablesError as fault:
            raise AccessError(f"the database {self.name} {fault}") from fault
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            for end in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):  # another user's file: that user's mode
                    Path(f"{parsed.database}{end}").chmod(0o600)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection for questions. Raises AccessError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as fault:
            raise AccessError(f"the console's database {self.name} cannot be read: {cause_of(fault)}") from fault

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection in one transaction. Raises AccessError."""
        try:
            with self._engine.execution_options(**{WRITES: True}).begin() as connection:
                yield connection
        except SQLAlchemyError as fault:
            raise AccessError(f"the console's database {self.name} cannot be written: {cause_of(fault)}") from fault

    async def ask(self, question: Callable[[Connection], Answer]) -> Answer:
        """Return the answer to a question. Raises AccessError, and what the question raises."""

        def asked() -> Answer:
            with self.reading() as connection:
                return question(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, asked)

    async def change(self, work: Callable[[Connection], Answer]) -> Answer:
        """Return what `work` does, in one transaction. Raises AccessError, and what the work raises."""

        def changed() -> Answer:
            with self.writing() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, changed)

    def close(self) -> None:
        """Close every connection."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()
