"""The ledger's database: opened, checked and written, with sentences for what goes wrong."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    StatementError,
)
from sqlalchemy.exc import SQLAlchemyError as SqlFault
from sqlalchemy.orm import Session

from neverblink.errors import NeverblinkError
from neverblink.records.columns import WRITES
from neverblink.records.database_waits import DatabaseWaits
from neverblink.records.engine import cause_of, engine_of
from neverblink.records.layout import LayoutError, Tell, layout_of, migrate, steps_from
from neverblink.records.part_tables import PartRow  # noqa: F401 - whoever opens the records knows all their tables
from neverblink.records.tables import SCHEMA_VERSION
from neverblink.shown import without_secrets


class LedgerError(NeverblinkError, RuntimeError):
    """The ledger cannot be opened, read or written; the message says which one, why, and what to do."""


class LedgerAbsent(LedgerError):  # noqa: N818
    """There is no ledger at that place yet."""


class UnkeepableError(NeverblinkError, ValueError):
    """One event that the database refuses, whatever is tried again."""


class Database:
    """One ledger. Not for two threads at once, but for `silent_s` and `break_off`.

    `create` makes the tables where they are missing and changes those of an older layout, which `tell` is told of in
    sentences; without it a missing ledger is LedgerAbsent, and one of another layout LedgerError.
    Raises LedgerError when it cannot be opened.
    """

    def __init__(self, url: str, *, create: bool, tell: Tell = lambda _: None) -> None:
        self._url = _parsed(url)
        self.name = _name_of(self._url)
        self._waits = DatabaseWaits()
        if not create:
            _must_exist(self._url)
        try:
            self._engine = _opened(self._url)
            self._writing = self._engine.execution_options(**{WRITES: True})
            self._waits.follow(self._engine)
            if create:
                self._create(tell)
            with self._engine.connect() as connection:
                check_layout(connection, self.name)
        except LayoutError as fault:
            raise _of_another_layout(self.name, str(fault)) from fault
        except (SqlFault, ImportError, OSError) as fault:
            raise self._explained(fault, "opened") from fault

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection in one transaction, for the ledger alone; other rooms read.

        Raises UnkeepableError when the database refuses a value, LedgerError when the database is at fault.
        """
        try:
            with self._waits.asked(), self._writing.begin() as connection:
                yield connection
        except (DataError, IntegrityError, ValueError, OverflowError) as fault:
            raise UnkeepableError(cause_of(fault)) from fault
        except SqlFault as fault:
            if _is_of_the_event(fault):
                raise UnkeepableError(cause_of(fault)) from fault
            raise self._explained(fault, "written") from fault

    @contextlib.contextmanager
    def asking(self) -> Iterator[Connection]:
        """Lend a connection for questions, whose answers `silent_s` waits for too. Raises LedgerError."""
        try:
            with self._waits.asked(), self._engine.begin() as connection:
                yield connection
        except SqlFault as fault:
            raise self._explained(fault, "read") from fault

    @property
    def silent_s(self) -> float:
        """Return for how long the database has not answered a question of `writing` or `asking`; 0 when none waits."""
        return self._waits.silent_s

    def break_off(self) -> None:
        """End the connection whose answer is waited for in another thread: `writing` then raises LedgerError there."""
        self._waits.break_off()

    def session(self) -> Session:
        """Return a session for questions."""
        return Session(self._engine)

    def explained(self, fault: SqlFault) -> LedgerError:
        """Return the sentence for a question that the database could not answer."""
        return self._explained(fault, "read")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _create(self, tell: Tell) -> None:
        migrate(self._engine, lambda step: tell(f"the ledger {self.name}: {step}"))
        self._keep_others_out()

    def _keep_others_out(self) -> None:
        """A ledger that an older version has made may be readable by everybody: parts, lots and names are in it."""
        file = self._url.database
        if self._url.get_backend_name() != "sqlite" or not file:
            return
        for path in (Path(file), Path(f"{file}-wal"), Path(f"{file}-shm")):
            with contextlib.suppress(OSError):  # another user's file: that user's mode
                path.chmod(path.stat().st_mode & ~0o007)

    def _explained(self, fault: Exception, done: str) -> LedgerError:
        return explained(self.name, fault, done)


def known_url(text: str) -> tuple[URL, str]:
    """Return the URL of a ledger that is there, and its name for people. Raises LedgerError, LedgerAbsent."""
    url = _parsed(text)
    _must_exist(url)
    return url, _name_of(url)


def check_layout(connection: Connection, name: str) -> None:
    """Raise LedgerError unless the database of that name has today's layout, LedgerAbsent when it has no tables."""
    try:
        layout = layout_of(connection)
    except LayoutError as fault:
        raise _of_another_layout(name, str(fault)) from fault
    if layout is None:
        raise LedgerAbsent(f"{name} has no ledger in it yet: `neverblink ledger run` makes the tables")
    if layout < SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {name} has table layout {layout} and this program reads layout {SCHEMA_VERSION}: "
            "start `neverblink ledger run` of this version, which changes it, or do it by hand with "
            "`neverblink ledger migrate`"
        )
    if layout > SCHEMA_VERSION:
        raise _of_another_layout(name, f"table layout {layout}")


def steps_to_today(url: str) -> tuple[str, int | None, list[str]]:
    """Return a database's name for people, its layout, and in words what `Database(create=True)` would change.

    Makes nothing. Raises LedgerError when the database cannot be read.
    """
    parsed = _parsed(url)
    name = _name_of(parsed)
    if _file_is_missing(parsed):
        return name, None, steps_from(None)
    try:
        engine = _opened(parsed)
        try:
            with engine.connect() as connection:
                layout = layout_of(connection)
        finally:
            engine.dispose()
    except LayoutError as fault:
        raise _of_another_layout(name, str(fault)) from fault
    except (SqlFault, ImportError, OSError) as fault:
        raise explained(name, fault, "opened") from fault
    return name, layout, steps_from(layout)


def _name_of(url: URL) -> str:
    return without_secrets(url.render_as_string(hide_password=True))


def _must_exist(url: URL) -> None:
    if _file_is_missing(url):
        raise LedgerAbsent(
            f"there is no ledger at {url.database} yet: `neverblink ledger run` writes one when verdicts arrive"
        )


def _file_is_missing(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file())


def _of_another_layout(name: str, found: str) -> LedgerError:
    return LedgerError(
        f"the ledger {name} has {found} and this program writes layout {SCHEMA_VERSION}: use the program that made "
        "it, or name another database in storage.ledger"
    )


def explained(name: str, fault: Exception, done: str) -> LedgerError:
    """Return the sentence for what a database's driver says; `done` is opened, read or written."""
    cause = cause_of(fault)
    for sign, advice in _ADVICE:
        if sign in cause.lower():
            return LedgerError(f"the ledger {name} cannot be {done}: {cause}; {advice}")
    return LedgerError(f"the ledger {name} cannot be {done}: {cause}")


# What drivers say, in lower case, and what helps.
_ADVICE = (
    ("unable to open database file", "does its folder exist, and may this user write there?"),
    ("readonly database", "this user may not write the file or its folder"),
    ("read-only", "this user may not write the file or its folder"),
    ("database or disk is full", "free some space on its disk"),
    ("no space left", "free some space on its disk"),
    ("not a database", "the file is something else; name another one in storage.ledger"),
    ("is locked", "another program holds it; the ledger has one writer per SQLite file"),
    ("password authentication failed", "check user and password in storage.ledger"),
    ("connection refused", "is PostgreSQL running there?"),
    ("connection failed", "is PostgreSQL running there, and do user and database exist?"),
    ("statement timeout", "its disk or another program holds it up"),
    ("lock timeout", "another program holds its tables"),
    ("no module named", "install the driver: `pip install 'psycopg[binary]'`"),
)


# Classes of SQLSTATE that speak of a value, not of the database: cardinality, data, integrity, no such feature,
# a limit of the program (a key too long for its index). All others, unknown ones too, are tried again: to set events
# aside that only a database in trouble refuses would lose them.
_OF_THE_EVENT = ("21", "22", "23", "0A", "54")


def _is_of_the_event(fault: SqlFault) -> bool:
    """Say whether the database refuses a value, whatever is tried again."""
    if isinstance(fault, DBAPIError):
        state = getattr(fault.orig, "sqlstate", None)
        return isinstance(state, str) and state.startswith(_OF_THE_EVENT)
    # Raised before any database was asked, while a value was turned into what it takes.
    return isinstance(fault, StatementError)


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except ArgumentError as fault:
        shown = repr(without_secrets(text))
        raise LedgerError(
            f"storage.ledger is {shown}, which is not a database URL; write sqlite:///ledger.db or "
            "postgresql://user:password@host/database"
        ) from fault
    if backend not in {"sqlite", "postgresql"}:
        raise LedgerError(f"storage.ledger names a {backend} database; the ledger writes sqlite and postgresql")
    return url


def _opened(url: URL) -> Engine:
    try:
        return engine_of(url)
    except NoSuchModuleError as fault:
        raise LedgerError(f"storage.ledger names an unknown driver: {url.drivername}") from fault
