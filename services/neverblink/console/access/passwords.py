"""Passwords: hashed with Argon2id, few at once, and the one-time ones that somebody else hands over."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from neverblink.console.access.said import SaidError

SHORTEST: Final = 12
LONGEST: Final = 200
ONE_TIME_HOURS: Final = 72
_AT_ONCE = 2  # each hash takes 64 MiB for its time: so many at once, whoever knocks
_SIGNS = "abcdefghijkmnpqrstuvwxyz23456789"  # no sign that is read for another
_GROUPS, _GROUP = 4, 5

# RFC 9106, section 4, second recommended option: 64 MiB, three passes, four lanes.
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)


class PasswordError(SaidError):
    """A password that cannot be taken; the message says why."""


def one_time() -> str:
    """Return a password of 100 random bits that can be read out: four groups of five signs."""
    groups = ("".join(secrets.choice(_SIGNS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def check(password: str, name: str) -> None:
    """Raise PasswordError for a password that is too short, too long, too plain, or made of the name.

    Length is what counts (NIST SP 800-63B, 3.1.1): no rule asks for signs of every kind.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise PasswordError(
            "a password has %(shortest)s to %(longest)s characters, and this one has %(found)s",
            shortest=SHORTEST,
            longest=LONGEST,
            found=len(password),
        )
    if len(set(password.casefold())) < 5:
        raise PasswordError("the password repeats a few characters: choose one that others do not guess")
    if name.casefold() in password.casefold() and len(password) < SHORTEST + len(name):
        raise PasswordError("the password is little more than the account's name: choose another")


def hashed(password: str) -> str:
    """Return Argon2id's text of a password."""
    return _HASHER.hash(password)


class Passwords:
    """Checks and hashes passwords in threads of its own, two at once: more wait their turn."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="console-passwords")
        self._nobodys = hashed(secrets.token_hex(16))

    async def right(self, password: str, held: str | None) -> bool:
        """Say whether a password is the one; of nobody it is as much work, so that the time tells nothing."""
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, _is_right, password[: LONGEST + 1], held or self._nobodys
        )
        return await work and held is not None

    async def hash(self, password: str) -> str:
        """Return Argon2id's text of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, hashed, password)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _is_right(password: str, held: str) -> bool:
    try:
        return _HASHER.verify(held, password)
    except (VerificationError, InvalidHashError):
        return False
