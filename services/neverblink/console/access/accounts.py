"""Accounts: who there is, with which roles, and how a password changes hands."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from neverblink.console.access.audit import Actor, note
from neverblink.console.access.passwords import ONE_TIME_HOURS, hashed, one_time
from neverblink.console.access.roles import Role, Roles
from neverblink.console.access.said import SaidError
from neverblink.console.access.tables import AccountRow, SessionRow

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
FIRST_NAME = "admin"
MOST_ACCOUNTS = 2000


class AccountError(SaidError):
    """A change of accounts that cannot be made; the message says why and what would do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who may use the console. `one_time_until` is set while the password is one that somebody else knows.

    `issuer` and `subject` are what a login provider knows the person by; None of an account with a password of ours.
    """

    key: str
    name: str
    password: str
    one_time_until: datetime | None
    roles: Roles
    wall: bool
    active: bool
    made: datetime
    made_by: str
    changed: datetime
    issuer: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """An account whose password was made for it, to be handed over and changed at the first sign-in."""

    account: Account
    password: str


def account_of(connection: Connection, name: str) -> Account | None:
    """Return the account of a name, in whatever case; None when there is none."""
    row = connection.execute(select(*_COLUMNS).where(AccountRow.key == name.casefold())).first()
    return None if row is None else _account(row)


def account_known_by(connection: Connection, issuer: str, subject: str) -> Account | None:
    """Return the account of whom a login provider knows by that word; None when there is none."""
    mine = (AccountRow.issuer == issuer) & (AccountRow.subject == subject)
    row = connection.execute(select(*_COLUMNS).where(mine)).first()
    return None if row is None else _account(row)


def accounts(connection: Connection) -> list[Account]:
    """Return all accounts by name."""
    return [_account(row) for row in connection.execute(select(*_COLUMNS).order_by(AccountRow.key))]


def make_first(connection: Connection, now: datetime, password: str) -> Account | None:
    """Make the first administrator where there is no account at all, else return None."""
    if connection.scalar(select(func.count()).select_from(AccountRow)):
        return None
    roles = Roles({"*": Role.ADMINISTRATOR})
    return _made(connection, FIRST_NAME, roles, False, password, Actor("console", "", "first start"), now)


def make_account(
    connection: Connection, name: str, roles: Roles, actor: Actor, now: datetime, *, wall: bool = False
) -> Handed:
    """Make an account with a one-time password. Raises AccountError."""
    if not NAME.fullmatch(name):
        raise AccountError(
            "%(name)s is no name of an account: letters, digits, dot, underscore, @ and hyphen, at most 64",
            name=repr(name[:70]),
        )
    if account_of(connection, name) is not None:
        raise AccountError("there is an account %(name)s already", name=name)
    if (connection.scalar(select(func.count()).select_from(AccountRow)) or 0) >= MOST_ACCOUNTS:
        raise AccountError("there are %(most)s accounts, as many as there may be", most=MOST_ACCOUNTS)
    _check_wall(roles, wall)
    password = one_time()
    return Handed(_made(connection, name, roles, wall, password, actor, now), password)


def change_account(
    connection: Connection, name: str, roles: Roles, actor: Actor, now: datetime, *, wall: bool, active: bool
) -> Account:
    """Give an account other roles, or take it away; its sessions end. Raises AccountError."""
    before = _known(connection, name)
    _check_wall(roles, wall)
    if before.active and before.roles.highest is Role.ADMINISTRATOR:
        _keep_one_administrator(connection, before, stays=active and roles.highest is Role.ADMINISTRATOR)
    changed: dict[str, Any] = {"roles": roles.words(), "wall": wall, "active": active, "changed": now}
    connection.execute(update(AccountRow).where(AccountRow.key == before.key).values(**changed))
    end_sessions(connection, before.key)
    told = {"roles": roles.words(), "wall": wall, "active": active}
    was = {"roles": before.roles.words(), "wall": before.wall, "active": before.active}
    note(connection, now, actor, "account.change", before.name, {"now": told, "before": was})
    return _known(connection, name)


def reset_password(connection: Connection, name: str, actor: Actor, now: datetime) -> Handed:
    """Give an account a new one-time password; its sessions end. Raises AccountError."""
    before = _known(connection, name)
    if before.issuer is not None:
        raise AccountError("%(name)s signs in at the login provider and has no password here", name=before.name)
    password = one_time()
    _set_password(connection, before.key, hashed(password), now + timedelta(hours=ONE_TIME_HOURS), now)
    note(connection, now, actor, "account.reset", before.name)
    return Handed(_known(connection, name), password)


def set_password(connection: Connection, account: Account, hashed_new: str, actor: Actor, now: datetime) -> None:
    """Take the password that a person chose for the own account; all its sessions end."""
    _set_password(connection, account.key, hashed_new, None, now)
    note(connection, now, actor, "account.password", account.name)


def open_again(connection: Connection, name: str, actor: Actor, now: datetime) -> Handed:
    """Make an administrator's way back in from the machine itself: active, administrator, with a one-time password.

    Raises AccountError.
    """
    roles = Roles({"*": Role.ADMINISTRATOR})
    if account_of(connection, name) is None:
        return make_account(connection, name, roles, actor, now)
    before = _known(connection, name)
    if before.issuer is not None:
        raise AccountError("%(name)s signs in at the login provider: open an account of another name", name=before.name)
    kept = roles if before.roles.highest is not Role.ADMINISTRATOR else before.roles
    change_account(connection, name, kept, actor, now, wall=False, active=True)
    return reset_password(connection, name, actor, now)


def end_sessions(connection: Connection, key: str) -> int:
    """End all sessions of an account, and return how many there were."""
    return connection.execute(delete(SessionRow).where(SessionRow.account == key)).rowcount


_COLUMNS = tuple(getattr(AccountRow, name) for name in Account.__slots__)


def _account(row: Any) -> Account:
    return Account(**{**row._mapping, "roles": Roles.read(row.roles)})


def _known(connection: Connection, name: str) -> Account:
    found = account_of(connection, name)
    if found is None:
        raise AccountError("there is no account %(name)s", name=repr(name[:70]))
    return found


def _made(
    connection: Connection, name: str, roles: Roles, wall: bool, password: str, actor: Actor, now: datetime
) -> Account:
    connection.execute(
        insert(AccountRow).values(
            key=name.casefold(),
            name=name,
            password=hashed(password),
            one_time_until=now + timedelta(hours=ONE_TIME_HOURS),
            roles=roles.words(),
            wall=wall,
            active=True,
            made=now,
            made_by=actor.who,
            changed=now,
        )
    )
    note(connection, now, actor, "account.make", name, {"roles": roles.words(), "wall": wall})
    return _known(connection, name)


def _set_password(connection: Connection, key: str, held: str, one_time_until: datetime | None, now: datetime) -> None:
    values: dict[str, Any] = {"password": held, "one_time_until": one_time_until, "changed": now}
    connection.execute(update(AccountRow).where(AccountRow.key == key).values(**values))
    end_sessions(connection, key)


def _check_wall(roles: Roles, wall: bool) -> None:
    if wall and roles.highest is not Role.VIEWER:
        raise AccountError("an account for a screen on the wall is not locked, so it may be a viewer and no more")


def _keep_one_administrator(connection: Connection, account: Account, *, stays: bool) -> None:
    others = [one for one in accounts(connection) if one.active and one.key != account.key]
    if not stays and not any(one.roles.highest is Role.ADMINISTRATOR for one in others):
        raise AccountError("%(name)s is the last administrator: make another one first", name=account.name)
