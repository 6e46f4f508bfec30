"""A sign-in that has been begun: kept in the browser that began it, signed, for ten minutes."""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass
from typing import Final, Self

import orjson

KEPT_S: Final = 600
_LONGEST = 3000
_PURPOSE = b"login provider"  # what other forms are signed with signs nothing here


@dataclass(frozen=True, slots=True)
class Pending:
    """What must come back: `state` in the address, `nonce` in the ID token; `verifier` proves that it was us who asked.

    `fresh` says that the person must say anew who it is; `began` is in seconds of the clock that counts from 1970.
    """

    state: str
    nonce: str
    verifier: str
    wish: str
    fresh: bool
    began: int

    @classmethod
    def new(cls, wish: str, fresh: bool, now_s: int) -> Self:
        """Begin one; `wish` is where the person wants to go on to."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), wish, fresh, now_s)

    @property
    def challenge(self) -> str:
        """Return what is sent ahead of the verifier (RFC 7636, S256)."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())


def sealed(pending: Pending, secret: bytes) -> str:
    """Return the cookie's value."""
    held = _text(orjson.dumps(asdict(pending)))
    return f"{held}.{_mark(held, secret)}"


def opened(value: str | None, secret: bytes, now_s: int) -> Pending | None:
    """Return what a cookie holds; None for one that is not ours, or too old."""
    held, _, mark = (value or "")[:_LONGEST].partition(".")
    if not hmac.compare_digest(mark.encode(), _mark(held, secret).encode()):
        return None
    try:
        found = Pending(**orjson.loads(base64.urlsafe_b64decode(held + "=" * (-len(held) % 4))))
    except (binascii.Error, orjson.JSONDecodeError, TypeError):
        return None
    return found if 0 <= now_s - found.began <= KEPT_S else None


def _mark(held: str, secret: bytes) -> str:
    key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
    return hmac.new(key, held.encode(), hashlib.sha256).hexdigest()


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
