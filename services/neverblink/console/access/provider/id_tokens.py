"""ID tokens: who signed in at the provider, in its own signed words, and each check that they must pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from neverblink.console.access.provider.pending import Pending
from neverblink.errors import NeverblinkError

# Signatures of keys that the provider alone has: what is signed with the client's secret, or not at all, is refused.
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
LEEWAY_S: Final = 60
_LONGEST_SUBJECT = 255


class ProviderError(NeverblinkError, RuntimeError):
    """The login provider cannot be used, or what it says is not to be believed; the message says why."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Who it is: `subject` is the provider's word for the person; `at` when it last asked, where it says so."""

    subject: str
    claims: Mapping[str, Any]
    at: datetime | None


def proof_of(token: str, keys: KeySet, issuer: str, client_id: str, pending: Pending, now: datetime) -> Proof:
    """Return whom an ID token is about, after OpenID Connect Core 1.0, 3.1.3.7. Raises ProviderError."""
    now_s = int(now.timestamp())
    expected = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": pending.nonce},
    )
    try:
        claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
        expected.validate(claims)
    except (JoseError, ValueError, TypeError) as error:
        raise ProviderError(f"the login provider's ID token is refused: {error}") from error
    subject, audience, party = claims["sub"], claims["aud"], claims.get("azp")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise ProviderError("the login provider's ID token is refused: its subject is no text of 1 to 255 characters")
    others = isinstance(audience, list) and len(audience) > 1
    if (others and party is None) or (party is not None and party != client_id):
        raise ProviderError("the login provider's ID token is refused: it was made for another program")
    return Proof(subject, claims, _asked(claims, pending, now))


def _asked(claims: Mapping[str, Any], pending: Pending, now: datetime) -> datetime | None:
    at = claims.get("auth_time")
    known = isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at <= now.timestamp() + LEEWAY_S
    if not known:
        if pending.fresh:
            raise ProviderError("the login provider does not say when it asked who it is: its `auth_time` is missing")
        return None
    assert isinstance(at, int | float)
    if pending.fresh and at < pending.began - LEEWAY_S:
        raise ProviderError("the login provider did not ask anew who it is, as it was told to")
    return min(datetime.fromtimestamp(at, UTC), now)
