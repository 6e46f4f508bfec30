"""Who may ask: bearer tokens, of which a file holds hashes only."""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neverblink.errors import NeverblinkError
from neverblink.events.parts import Instant, Name
from neverblink.http_serving.bearer import digest_of, new_token, presented
from neverblink.storage.whole_file import write_whole

_PREFIX = "nbl_"
_MAX_FILE = 1024 * 1024
_MAX_TOKENS = 1000


class TokenError(NeverblinkError, RuntimeError):
    """The file of tokens cannot be used; the message says what to do."""


class Grant(BaseModel):
    """What the bearer of one token may see: all lines, or those named; until an instant, or for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    lines: tuple[Name, ...] | None = None
    made: Instant
    until: Instant | None = None


class _Held(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[Grant, ...] = Field(default=(), max_length=_MAX_TOKENS)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was made, and what it grants. The text is kept nowhere."""

    text: str
    grant: Grant


def granted(path: Path) -> tuple[Grant, ...]:
    """Return what the file grants; nothing when there is none. Raises TokenError for a file that cannot be read."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise TokenError(f"{path} is larger than any file of tokens; `neverblink ledger token` writes one")
        return _Held.model_validate_json(path.read_bytes()).tokens
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TokenError(f"the file of tokens {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise TokenError(
            f"{path} is no file of tokens: {place}: {fault['msg']}; `neverblink ledger token` writes one"
        ) from error


def make_token(
    path: Path, name: str, now: datetime, lines: tuple[str, ...] | None = None, days: int | None = None
) -> NewToken:
    """Add a token of that name to the file, or put it in the place of the earlier one. Raises TokenError."""
    text = new_token(_PREFIX)
    until = None if days is None else now + timedelta(days=days)
    try:
        grant = Grant(name=name, sha256=digest_of(text), lines=lines, made=now.astimezone(UTC), until=until)
    except ValidationError as error:
        fault = error.errors()[0]
        raise TokenError(f"{fault['loc'][0]} {fault['input']!r} cannot be granted: {fault['msg']}") from error
    others = [one for one in granted(path) if one.name != name]
    if len(others) >= _MAX_TOKENS:
        raise TokenError(f"{path} holds {_MAX_TOKENS} tokens, as many as it may: remove some with --remove")
    _write(path, (*others, grant))
    return NewToken(text, grant)


def remove_token(path: Path, name: str) -> None:
    """Take a token away; a server that runs refuses it from the next request on. Raises TokenError."""
    held = granted(path)
    left = tuple(one for one in held if one.name != name)
    if len(left) == len(held):
        raise TokenError(f"{path} has no token {name!r}; it has {', '.join(one.name for one in held) or 'none'}")
    _write(path, left)


class Doorkeeper:
    """Knows bearers by their tokens, and the file's changes as soon as they are written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._grants: tuple[Grant, ...] = ()

    def grant_of(self, authorization: str | None, now: datetime) -> Grant | None:
        """Return what an Authorization header grants, None when it grants nothing. Raises TokenError."""
        self._look()
        token = presented(authorization, _PREFIX)
        if token is None:
            return None
        digest = digest_of(token)
        found: Grant | None = None
        for grant in self._grants:  # all of them, so that the time says nothing about where it was found
            if hmac.compare_digest(grant.sha256, digest):
                found = grant
        return found if found is None or found.until is None or now < found.until else None

    def _look(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except FileNotFoundError:
            seen = (0, 0, 0)
        except OSError as error:
            raise TokenError(f"the file of tokens {self._path} cannot be read: {error.strerror}") from error
        if seen != self._seen:
            self._grants = granted(self._path)
            self._seen = seen


def _write(path: Path, grants: tuple[Grant, ...]) -> None:
    content = {"tokens": [one.model_dump(mode="json") for one in grants]}
    write_whole(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), mode=0o600)
