"""The records for whoever only asks: opened so that nothing can be written, each question bounded in time."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from neverblink.records.database import LedgerError, check_layout, explained, known_url
from neverblink.records.engine import CONNECT_S, LOCK_WAIT_S

_LOOK_EVERY = 2000  # SQLite's instructions between two looks at the clock: well below a millisecond
_CANCELLED = "57014"  # SQLSTATE of a statement that took longer than statement_timeout


class QuestionTooLongError(LedgerError):
    """A question took longer than it may."""


class ReadOnlyRecords:
    """The ledger's database for questions of several threads at once.

    SQLite is opened with mode=ro and query_only, PostgreSQL with default_transaction_read_only; a question sees the
    records as they were when it began. `file` is SQLite's, None of PostgreSQL. `answer_s` bounds one question, `most`
    how many there are at once. Raises LedgerError, and LedgerAbsent where there is no ledger.
    """

    def __init__(self, url: str, *, answer_s: float, most: int = 1) -> None:
        parsed, self.name = known_url(url)
        self._answer_s = answer_s
        self.file = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        try:
            self._engine = _read_only(parsed, answer_s, most)
            with self._engine.connect() as connection:
                check_layout(connection, self.name)
        except (SQLAlchemyError, ImportError, OSError) as fault:
            raise explained(self.name, fault, "opened") from fault

    @contextmanager
    def asking(self) -> Iterator[Session]:
        """Give a session for one question. Raises QuestionTooLongError, or LedgerError for what else goes wrong."""
        try:
            with Session(self._engine) as session:
                driver = session.connection().connection.driver_connection
                if isinstance(driver, sqlite3.Connection):
                    give_up = time.monotonic() + self._answer_s
                    driver.set_progress_handler(lambda: time.monotonic() > give_up, _LOOK_EVERY)
                yield session
        except SQLAlchemyError as fault:
            if _took_too_long(fault):
                raise QuestionTooLongError(
                    f"the question took longer than {self._answer_s:g} s: ask for a shorter time, or filter by line,"
                    " product, lot or decision"
                ) from fault
            raise explained(self.name, fault, "read") from fault

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _read_only(url: URL, answer_s: float, most: int) -> Engine:
    pool: dict[str, Any] = {"pool_size": most, "max_overflow": 0, "pool_timeout": answer_s}
    if url.get_backend_name() == "postgresql":
        driver = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
        options = (
            f"-c default_transaction_read_only=on -c statement_timeout={int(answer_s * 1000)}"
            f" -c lock_timeout={int(LOCK_WAIT_S * 1000)} -c jit=off"
        )
        limits = {
            "connect_timeout": int(CONNECT_S),
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": int(answer_s * 1000 + 2000),
            "options": options,
        }
        return create_engine(driver, pool_pre_ping=True, isolation_level="REPEATABLE READ", connect_args=limits, **pool)

    file = quote(str(Path(url.database or "").absolute()))

    def opened() -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout={int(LOCK_WAIT_S * 1000)}")
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA mmap_size=268435456")
        return connection

    engine = create_engine("sqlite://", creator=opened, poolclass=QueuePool, **pool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _took_too_long(fault: SQLAlchemyError) -> bool:
    if not isinstance(fault, DBAPIError):
        return False
    return getattr(fault.orig, "sqlstate", None) == _CANCELLED or "interrupted" in str(fault.orig)
