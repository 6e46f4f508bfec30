"""Whose account a person of the login provider gets: known by issuer and subject, never by name."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from neverblink.console.access.accounts import MOST_ACCOUNTS, NAME, Account, account_known_by, account_of, end_sessions
from neverblink.console.access.audit import Actor, note
from neverblink.console.access.provider.id_tokens import Proof
from neverblink.console.access.roles import Role, Roles
from neverblink.console.access.tables import AccountRow
from neverblink.console.language import N_
from neverblink.plant import LoginProvider

_MOST_GROUPS = 1000
_NO_ROLE = N_("The login provider gives you no role here: ask those who manage its groups.")
_WAITS = N_("Your account is made. An administrator must let you in.")
_OFF = N_("Your account may not sign in: ask an administrator.")
_FULL = N_("There are as many accounts as there may be: ask an administrator.")


@dataclass(frozen=True, slots=True)
class Entered:
    """The account of whoever comes, or why nobody is let in: a sentence that is translated where it is shown."""

    account: Account | None
    refusal: str | None


def entered(connection: Connection, settings: LoginProvider, proof: Proof, address: str, now: datetime) -> Entered:
    """Find or make the account of a person, with the roles that the provider's claims give."""
    account = account_known_by(connection, settings.issuer, proof.subject)
    given = roles_from(proof.claims, settings)
    who = Actor(settings.title if account is None else account.name, address)
    if settings.roles_claim is not None and given is None:
        if account is not None:
            end_sessions(connection, account.key)
        note(connection, now, who, "session.refused", "no role" if account is None else account.name)
        return Entered(None, _NO_ROLE)
    if account is None:
        if (connection.scalar(select(func.count()).select_from(AccountRow)) or 0) >= MOST_ACCOUNTS:
            return Entered(None, _FULL)
        account = _made(connection, settings, proof, given, who, now)
        if given is None:
            return Entered(None, _WAITS)
    elif not account.active:
        note(connection, now, who, "session.refused", account.name)
        return Entered(None, _WAITS if account.made == account.changed else _OFF)
    elif given is not None and given.held != account.roles.held:
        was, values = account.roles.words(), {"roles": given.words(), "changed": now}
        connection.execute(update(AccountRow).where(AccountRow.key == account.key).values(**values))
        end_sessions(connection, account.key)
        told = {"now": {"roles": given.words()}, "before": {"roles": was}}
        note(connection, now, Actor(settings.title, address), "account.change", account.name, told)
        account = account_of(connection, account.name)
    return Entered(account, None)


def roles_from(claims: Mapping[str, Any], settings: LoginProvider) -> Roles | None:
    """Return the roles that a person's groups give together, on each line the highest; None for none."""
    if settings.roles_claim is None:
        return None
    held: dict[str, Role] = {}
    for group in _groups(claims, settings.roles_claim):
        for line, word in settings.roles.get(group, {}).items():
            held[line] = max(Role.of(word), held.get(line, Role.VIEWER))
    return Roles(held) if held else None


def name_from(claims: Mapping[str, Any], settings: LoginProvider, subject: str) -> str:
    """Return the name of a new account: what the provider calls the person, as far as names here may be so."""
    value = claims.get(settings.name_claim)
    wish = re.sub(r"[^A-Za-z0-9._@-]+", ".", value).lstrip("._@-")[:56] if isinstance(value, str) else ""
    return wish if NAME.fullmatch(wish) else f"person-{hashlib.sha256(subject.encode()).hexdigest()[:8]}"


def _groups(claims: Mapping[str, Any], claim: str) -> list[str]:
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for step in claim.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [one for one in found[:_MOST_GROUPS] if isinstance(one, str)] if isinstance(found, list) else []


def _made(
    connection: Connection, settings: LoginProvider, proof: Proof, given: Roles | None, who: Actor, now: datetime
) -> Account:
    """Make an account. Without roles of the provider's it is one that an administrator must let in."""
    wish = name_from(proof.claims, settings, proof.subject)
    # A name that somebody has is somebody else's account: whoever may choose names at the provider gets no other's.
    name = next(
        name
        for name in (wish, *(f"{wish}-{number}" for number in range(2, MOST_ACCOUNTS + 3)))
        if account_of(connection, name) is None
    )
    roles = given or Roles({"*": Role.VIEWER})
    values: dict[str, Any] = {
        "key": name.casefold(), "name": name, "password": "", "one_time_until": None, "roles": roles.words(),
        "wall": False, "active": given is not None, "made": now, "made_by": settings.title, "changed": now,
        "issuer": settings.issuer, "subject": proof.subject,
    }  # fmt: skip
    connection.execute(insert(AccountRow).values(**values))
    note(connection, now, who, "account.make", name, {"roles": roles.words(), "by": settings.issuer})
    found = account_of(connection, name)
    assert found is not None
    return found
