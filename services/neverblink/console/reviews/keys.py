"""Which key does what on the page for reviewers: for the numeric pad and gloves, or as an account has it."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from neverblink.console.access.accounts import Account
from neverblink.console.access.said import SaidError
from neverblink.console.access.tables import PreferenceRow

FIRST: Final[Mapping[str, tuple[str, ...]]] = {
    "normal": ("1", "g"),
    "inconclusive": ("2", "i"),
    "defect": ("3", "d"),
    "type": ("4", "t"),
    "look": ("5", "l"),
    "comment": ("6", "c"),
    "region": ("7", "r"),
    "next": ("8", "n"),
    "adopt": ("9", "m"),
    "undo": ("0", "u"),
    "skip": (".", "s"),
    "larger": ("+",),
    "smaller": ("-",),
    "take": ("Enter",),
}
"""The keys of whoever has chosen none, by action: that of the numeric pad first."""

MOST_KEYS: Final = 2
_NAME = "review-keys"
_LONGEST = 16
_BROWSERS = frozenset({"Tab", "Escape", "F1", "F5", "F11", "F12", "Shift", "Control", "Alt", "Meta", "Dead"})
"""Keys without which nobody finds a way through a page, or that a browser has for itself."""

Keys = Mapping[str, tuple[str, ...]]


class KeysError(SaidError):
    """Keys that would not do; the message says which, and why."""


def checked(chosen: Mapping[str, Sequence[str]]) -> Keys:
    """Return keys by action as they are kept. Raises KeysError."""
    found: dict[str, tuple[str, ...]] = {}
    held: set[str] = set()
    for action in FIRST:
        own = tuple(dict.fromkeys(key for one in chosen.get(action, ()) if (key := _key(one))))
        if not own:
            raise KeysError("every action needs a key")
        if len(own) > MOST_KEYS:
            raise KeysError("an action has two keys at most")
        for key in own:
            if key in held:
                raise KeysError("the key %(key)s would do two things", key=key)
            held.add(key)
        found[action] = own
    return found


def keys_of(connection: Connection, account: Account) -> Keys:
    """Return the keys of an account; what it has none of its own for has those that all begin with."""
    row = connection.execute(
        select(PreferenceRow.value).where(PreferenceRow.account == account.key, PreferenceRow.name == _NAME)
    ).first()
    if row is None:
        return FIRST
    try:
        return checked({action: word.split(" ") for action, word in row.value.items()})
    except KeysError:
        return FIRST  # kept by a version that knew other actions


def keep_keys(connection: Connection, account: Account, keys: Keys | None) -> None:
    """Keep the keys that an account has chosen; None: those that all begin with."""
    mine = (PreferenceRow.account == account.key, PreferenceRow.name == _NAME)
    connection.execute(delete(PreferenceRow).where(*mine))
    if keys is not None:
        value = {action: " ".join(own) for action, own in keys.items()}
        connection.execute(insert(PreferenceRow).values(account=account.key, name=_NAME, value=value))


def _key(text: str) -> str:
    """Return a key as browsers call it (`KeyboardEvent.key`), a letter small; the pad's comma is its dot."""
    key = text.strip()
    if not key:
        return ""
    if len(key) == 1:
        return key.lower()
    if len(key) > _LONGEST or not key.isascii() or not key.isalnum() or key in _BROWSERS:
        raise KeysError("%(key)s cannot be a key of an action", key=repr(key[:20]))
    return key
