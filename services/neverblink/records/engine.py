"""How a database is opened: SQLite's one lock and journal, PostgreSQL's bounds, and what a driver says in one line."""

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError

from neverblink.records.columns import WRITES
from neverblink.shown import without_secrets

CONNECT_S = 5.0
ANSWER_S = 6.0
"""A database that has not answered a statement for so long stands still."""
LOCK_WAIT_S = 5.0


def engine_of(url: URL) -> Engine:
    """Return what opens a database whose every wait is bounded; connections with WRITES begin by taking the lock.

    Raises SQLAlchemy's NoSuchModuleError for an unknown driver.
    """
    if url.get_backend_name() == "postgresql":
        driver = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
        return create_engine(driver, pool_pre_ping=True, connect_args=_postgresql_limits(url))
    engine = create_engine(url)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` says BEGIN, before changes of tables too
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(LOCK_WAIT_S * 1000)}")
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not stop the writer
    cursor.execute("PRAGMA synchronous=FULL")  # Kafka's offset moves next: a commit must outlive a power cut
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin: whoever writes takes the one lock first, so that what it reads is what it changes."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")


def _postgresql_limits(url: URL) -> dict[str, Any]:
    """Return what bounds every wait for PostgreSQL; what the URL states itself stands.

    The server's own limits end what it still works on; a server that stands still is left by `Database.break_off`.
    """
    limits: dict[str, Any] = {
        "connect_timeout": int(CONNECT_S),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": int(ANSWER_S * 1000),
        "options": f"-c statement_timeout={int(ANSWER_S * 1000)} -c lock_timeout={int(LOCK_WAIT_S * 1000)}",
    }
    return {name: value for name, value in limits.items() if name not in url.query}


def cause_of(fault: Exception) -> str:
    """Return the first line of what a driver says, without secrets."""
    original = fault.orig if isinstance(fault, DBAPIError) and fault.orig is not None else fault
    said = str(original).strip()
    return without_secrets(said.splitlines()[0]) if said else type(original).__name__
