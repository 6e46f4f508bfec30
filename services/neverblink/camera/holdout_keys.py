"""The file of keys that holdouts are drawn with: made, rotated, read. Its keys are shown nowhere.

A key holds from an instant on until the next one does. Old keys stay: a part of before is drawn again as it was.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neverblink.errors import NeverblinkError
from neverblink.events.parts import Instant
from neverblink.storage.whole_file import write_whole

_BYTES = 32
_MAX_FILE = 1024 * 1024
_MAX_KEYS = 1000


class HoldoutError(NeverblinkError, RuntimeError):
    """Parts cannot be drawn as the plant file asks; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret and from when on it holds; None: for all parts before the next one."""

    secret: bytes = field(repr=False)
    since: datetime | None = None


class _HeldKey(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    since: Instant | None = Field(default=None, alias="from")


class _Held(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keys: tuple[_HeldKey, ...] = Field(min_length=1, max_length=_MAX_KEYS)


def keys_in(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file, oldest first; none when there is no file. Raises HoldoutError."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise HoldoutError(f"{path} is larger than any file of holdout keys; `neverblink holdouts key` makes one")
        held = _Held.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise HoldoutError(f"the file of holdout keys {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise HoldoutError(
            f"{path} is no file of holdout keys: {place}: {fault['msg']}; `neverblink holdouts key` makes one"
        ) from error
    keys = [Key(bytes.fromhex(one.secret), one.since) for one in held.keys]
    for before, later in pairwise(keys):
        if not _follows(later.since, before):
            raise HoldoutError(f"{path}: each key must hold from a later instant on than the one before it")
    return tuple(keys)


def add_key(path: Path, since: datetime | None) -> Key:
    """Make a new key that holds from `since` on and put it behind those of the file. Raises HoldoutError.

    The file is readable by its owner alone. None, for all parts, is for the first key only.
    """
    keys = keys_in(path)
    if keys and not _follows(since, keys[-1]):
        last = keys[-1].since
        raise HoldoutError(
            f"{path} has a key that holds from {'the beginning' if last is None else f'{last:%Y-%m-%d %H:%M:%S %Z}'}"
            " on: the next one must hold from a later instant on"
        )
    if len(keys) >= _MAX_KEYS:
        raise HoldoutError(f"{path} holds {_MAX_KEYS} keys, as many as it may: begin a new file and keep this one")
    key = Key(secrets.token_bytes(_BYTES), None if since is None else since.astimezone(UTC))
    _write(path, (*keys, key))
    return key


def write_key(path: Path, secret: bytes) -> None:
    """Write a file with one known key, for a line that shall draw the same parts each time it runs; no plant's."""
    _write(path, [Key(secret)])


def key_at(keys: Sequence[Key], at: datetime) -> Key | None:
    """Return the key that holds at an instant, None before the first one."""
    return next((key for key in reversed(keys) if key.since is None or key.since <= at), None)


def _follows(since: datetime | None, key: Key) -> bool:
    return since is not None and (key.since is None or key.since < since)


def others_may_read(path: Path) -> bool:
    """Say whether users besides its owner may read the file, where the system knows such rights."""
    return os.name == "posix" and bool(path.stat().st_mode & 0o077)


def _write(path: Path, keys: Sequence[Key]) -> None:
    held = [{"from": None if key.since is None else key.since.isoformat(), "secret": key.secret.hex()} for key in keys]
    write_whole(path, orjson.dumps({"keys": held}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), mode=0o600)
