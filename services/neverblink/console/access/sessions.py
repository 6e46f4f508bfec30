"""Sessions: a browser that has signed in. The cookie's value is 256 random bits; the database holds its SHA-256."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from neverblink.console.access.accounts import Account, account_of
from neverblink.console.access.tables import SessionRow
from neverblink.shown import visible

_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")
_TOUCH_EVERY = timedelta(seconds=15)  # a busy page need not write the database with every request
_WALL_FOR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class SessionRules:
    """After which idleness a session is locked, and after which time it ends."""

    lock_after: timedelta
    ends_after: timedelta


@dataclass(frozen=True, slots=True)
class Visit:
    """A session and whose it is. While it is `locked` only the password opens it again."""

    digest: str
    csrf: str
    account: Account
    locked: bool
    seen: datetime
    until: datetime
    proven: datetime | None


def begin(
    connection: Connection,
    account: Account,
    rules: SessionRules,
    now: datetime,
    address: str,
    agent: str,
    *,
    proven: datetime | None,
) -> str:
    """Begin a session and return the cookie's value; sessions that are over are swept away.

    `proven` is when the person last said who it is, None where the login provider does not tell.
    """
    connection.execute(delete(SessionRow).where(SessionRow.until <= now))
    value = secrets.token_urlsafe(32)
    connection.execute(
        insert(SessionRow).values(
            digest=_digest(value),
            account=account.key,
            csrf=secrets.token_urlsafe(32),
            made=now,
            seen=now,
            until=now + (_WALL_FOR if account.wall else rules.ends_after),
            locked=False,
            address=address[:64],
            agent=visible(agent)[:256],
            proven=proven,
        )
    )
    return value


def visit_of(
    connection: Connection, value: str | None, rules: SessionRules, now: datetime, *, touch: bool
) -> Visit | None:
    """Return the session of a cookie, None where there is none any more.

    `touch` says that a person did something: it puts off the lock. What follows the line by itself does not.
    """
    if value is None or not _SHAPE.fullmatch(value):
        return None
    row = connection.execute(
        select(
            SessionRow.account,
            SessionRow.csrf,
            SessionRow.seen,
            SessionRow.until,
            SessionRow.locked,
            SessionRow.proven,
        ).where(SessionRow.digest == _digest(value))
    ).first()
    if row is None or now >= row.until:
        return None
    account = account_of(connection, row.account)
    if account is None or not account.active:
        return None
    if account.one_time_until is not None and now >= account.one_time_until:
        return None  # the password is void before it was changed
    idle = not account.wall and now - row.seen >= rules.lock_after
    locked, seen = row.locked or idle, row.seen
    mine = SessionRow.digest == _digest(value)
    if locked and not row.locked:
        connection.execute(update(SessionRow).where(mine).values(locked=True))
    elif touch and not locked and now - seen >= _TOUCH_EVERY:
        seen = now
        connection.execute(update(SessionRow).where(mine).values(seen=now))
    return Visit(_digest(value), row.csrf, account, locked, seen, row.until, row.proven)


def end(connection: Connection, digest: str) -> None:
    """End one session."""
    connection.execute(delete(SessionRow).where(SessionRow.digest == digest))


def prove(connection: Connection, digest: str, at: datetime | None) -> None:
    """Keep when the person of a session has said anew who it is."""
    connection.execute(update(SessionRow).where(SessionRow.digest == digest).values(proven=at))


def lock(connection: Connection, digest: str) -> None:
    """Lock one session until the password is given."""
    connection.execute(update(SessionRow).where(SessionRow.digest == digest).values(locked=True))


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
