"""Bearer tokens: how one is made, known by its shape in a header, and kept as a hash alone.

A token is 256 random bits, so a plain SHA-256 of it can be neither turned back nor guessed.
"""

import re
import secrets
from hashlib import sha256

_BITS = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token(prefix: str) -> str:
    """Return a token that was never given before; the prefix says to people and scanners whose it is."""
    return prefix + secrets.token_urlsafe(32)


def presented(authorization: str | None, prefix: str) -> str | None:
    """Return the token that an Authorization header presents, None where it has no token of this prefix."""
    word, _, value = (authorization or "").partition(" ")
    token = value.strip()
    if word.lower() != "bearer" or not token.startswith(prefix) or not _BITS.fullmatch(token[len(prefix) :]):
        return None
    return token


def digest_of(token: str) -> str:
    """Return what is kept of a token: its SHA-256, as 64 hexadecimal digits."""
    return sha256(token.encode()).hexdigest()
