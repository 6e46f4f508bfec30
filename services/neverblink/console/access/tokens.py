"""API tokens: what a program may read, of which lines, until when. The database holds their SHA-256."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select

from neverblink.console.access.audit import Actor, note
from neverblink.console.access.roles import Scope
from neverblink.console.access.said import SaidError
from neverblink.console.access.tables import TokenRow
from neverblink.http_serving.bearer import digest_of, new_token, presented

_PREFIX = "nbc_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")
MOST_TOKENS = 500
LONGEST_DAYS = 3650


class TokenError(SaidError):
    """A token that cannot be made or found; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What the bearer may read; `lines` None is all, `until` None for ever."""

    name: str
    scopes: frozenset[Scope]
    lines: tuple[str, ...] | None
    made: datetime
    made_by: str
    until: datetime | None


def tokens(connection: Connection) -> list[Token]:
    """Return all tokens by name."""
    return [_token(row) for row in connection.execute(select(*_COLUMNS).order_by(TokenRow.name))]


def make_token(
    connection: Connection,
    name: str,
    scopes: Sequence[Scope],
    lines: Sequence[str] | None,
    days: int | None,
    actor: Actor,
    now: datetime,
) -> str:
    """Make a token and return its text, which is kept nowhere. Raises TokenError."""
    if not _NAME.fullmatch(name):
        raise TokenError(
            "%(name)s is no name of a token: letters, digits, dot, underscore, space and hyphen", name=repr(name[:70])
        )
    if not scopes:
        raise TokenError("a token needs something that it may read")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise TokenError("a token is valid for 1 to %(longest)s days, not %(days)s", longest=LONGEST_DAYS, days=days)
    if Scope.AUDIT in scopes and lines is not None:
        raise TokenError("the audit is of the whole plant: a token that reads it cannot be one of some lines")
    if connection.scalar(select(func.count()).where(TokenRow.name == name)):
        raise TokenError("there is a token %(name)s already: take it away first", name=name)
    if (connection.scalar(select(func.count()).select_from(TokenRow)) or 0) >= MOST_TOKENS:
        raise TokenError("there are %(most)s tokens, as many as there may be", most=MOST_TOKENS)
    value = new_token(_PREFIX)
    words = sorted({scope.value for scope in scopes})
    until = None if days is None else now + timedelta(days=days)
    connection.execute(
        insert(TokenRow).values(
            name=name,
            digest=digest_of(value),
            scopes=words,
            lines=None if lines is None else sorted(lines),
            made=now,
            made_by=actor.who,
            until=until,
        )
    )
    told = {"scopes": words, "lines": None if lines is None else sorted(lines), "until": until}
    note(connection, now, actor, "token.make", name, told)
    return value


def remove_token(connection: Connection, name: str, actor: Actor, now: datetime) -> None:
    """Take a token away. Raises TokenError."""
    if not connection.execute(delete(TokenRow).where(TokenRow.name == name)).rowcount:
        raise TokenError("there is no token %(name)s", name=repr(name[:70]))
    note(connection, now, actor, "token.remove", name)


def token_of(connection: Connection, authorization: str | None, now: datetime) -> Token | None:
    """Return what an Authorization header grants, None for nothing.

    A token has 256 random bits: it is looked up by its hash, and how long that takes says nothing of it.
    """
    token = presented(authorization, _PREFIX)
    if token is None:
        return None
    row = connection.execute(select(*_COLUMNS).where(TokenRow.digest == digest_of(token))).first()
    if row is None or (row.until is not None and now >= row.until):
        return None
    return _token(row)


_COLUMNS = tuple(getattr(TokenRow, name) for name in Token.__slots__)


def _token(row: object) -> Token:
    found = row._mapping  # type: ignore[attr-defined]
    scopes = frozenset(Scope(word) for word in found["scopes"] if word in set(Scope))
    lines = None if found["lines"] is None else tuple(found["lines"])
    return Token(found["name"], scopes, lines, found["made"], found["made_by"], found["until"])
