"""What is said to the login provider, and what it answers: discovery, the way to it and back, the code's exchange."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from neverblink.console.access.provider.id_tokens import Proof, ProviderError, proof_of
from neverblink.console.access.provider.pending import Pending
from neverblink.plant import LoginProvider
from neverblink.plant.listening import on_loopback
from neverblink.plant.secret_line import first_line
from neverblink.service_life import time_limit

_ANSWER_S: Final = 10.0
_LARGEST = 512 * 1024
_KNOWN_FOR = timedelta(minutes=10)
_KEYS_AGAIN = timedelta(seconds=30)
"""A token that no known key has signed lets the keys be asked for anew, so often at most."""
_BACK = "/sign-in/provider/back"


@dataclass(frozen=True, slots=True)
class _Said:
    """What the provider says of itself."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    end_session: str | None
    basic: bool
    names_itself: bool
    at: datetime


class Login:
    """Sends people to the provider and believes what it says of them. `clock` gives now; `transport` is for tests."""

    def __init__(
        self,
        settings: LoginProvider,
        clock: Callable[[], datetime],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises ProviderError where the secret or the authorities' file cannot be read."""
        self.settings = settings
        self._clock = clock
        self._transport = transport
        self._secret = _secret_in(settings.secret_file)
        self._trust: ssl.SSLContext | bool = _trust_in(settings.ca_file)
        self._said: _Said | None = None
        self._keys: KeySet | None = None
        self._keys_at: datetime | None = None

    @property
    def back(self) -> str:
        """Return the address that the provider leads back to."""
        return self.settings.address.rstrip("/") + _BACK

    async def begin(self, wish: str, fresh: bool) -> tuple[str, Pending]:
        """Return the address of the provider's page, and what must come back. Raises ProviderError."""
        said = await self._known()
        pending = Pending.new(wish, fresh, int(self._clock().timestamp()))
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.back,
            "scope": " ".join(dict.fromkeys(("openid", *self.settings.scopes))),
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
            **({"prompt": "login", "max_age": "0"} if fresh else {}),
        }
        return _with(said.authorization, query), pending

    async def finish(self, pending: Pending, code: str, issuer: str | None) -> Proof:
        """Return who it is for the code that came back; `issuer` is who says to have sent it. Raises ProviderError."""
        said = await self._known()
        if issuer != self.settings.issuer and (issuer is not None or said.names_itself):
            raise ProviderError(f"another provider has sent the person back: {(issuer or 'none')[:255]!r}")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.back,
            "code_verifier": pending.verifier,
        }
        answer = await self._asked("POST", said.token, **self._as_client(said, form))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderError("the login provider's answer has no ID token")
        now = self._clock()
        try:
            proof = self._proof(token, await self._signing_keys(said), pending, now)
        except ProviderError:
            fresh = await self._signing_keys(said, again=True)
            if fresh is None:
                raise
            proof = self._proof(token, fresh, pending, now)
        return await self._completed(proof, said, answer.get("access_token"))

    async def _completed(self, proof: Proof, said: _Said, access: object) -> Proof:
        """Ask for the claims that we need and that an ID token need not have (OpenID Connect Core 1.0, 5.3 and 5.4)."""
        needed = {self.settings.name_claim, (self.settings.roles_claim or self.settings.name_claim).partition(".")[0]}
        if needed <= proof.claims.keys() or said.userinfo is None or not isinstance(access, str):
            return proof
        found = await self._asked("GET", said.userinfo, access=access)
        if found.get("sub") != proof.subject:
            raise ProviderError("the login provider tells of another person than its ID token is about")
        return replace(proof, claims={**found, **proof.claims})

    async def out(self) -> str | None:
        """Return the address that ends the session there too, None where it has none. Raises ProviderError."""
        said = await self._known()
        if said.end_session is None:
            return None
        back = self.settings.address.rstrip("/") + "/sign-in"
        return _with(said.end_session, {"client_id": self.settings.client_id, "post_logout_redirect_uri": back})

    def _proof(self, token: str, keys: KeySet | None, pending: Pending, now: datetime) -> Proof:
        assert keys is not None
        return proof_of(token, keys, self.settings.issuer, self.settings.client_id, pending, now)

    def _as_client(self, said: _Said, form: dict[str, str]) -> dict[str, Any]:
        """Return the form, and how it says that it is ours (RFC 6749, 2.3.1)."""
        client = self.settings.client_id
        if self._secret is None:
            return {"data": {**form, "client_id": client}}
        if said.basic:
            return {"data": form, "auth": httpx.BasicAuth(quote_plus(client), quote_plus(self._secret))}
        return {"data": {**form, "client_id": client, "client_secret": self._secret}}

    async def _known(self) -> _Said:
        now = self._clock()
        if self._said is not None and now - self._said.at < _KNOWN_FOR:
            return self._said
        issuer = self.settings.issuer
        found = await self._asked("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise ProviderError(f"the login provider calls itself {str(found.get('issuer'))[:255]!r}, not {issuer!r}")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        ends, more = found.get("end_session_endpoint"), found.get("userinfo_endpoint")
        self._said = _Said(
            authorization=_endpoint(found, "authorization_endpoint"),
            token=_endpoint(found, "token_endpoint"),
            keys=_endpoint(found, "jwks_uri"),
            userinfo=None if more is None else _endpoint(found, "userinfo_endpoint"),
            end_session=None if ends is None else _endpoint(found, "end_session_endpoint"),
            basic=not isinstance(methods, list) or "client_secret_basic" in methods,
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
            at=now,
        )
        return self._said

    async def _signing_keys(self, said: _Said, *, again: bool = False) -> KeySet | None:
        """Return the provider's keys; `again` asks anew, and gives None where they were only just asked for."""
        now = self._clock()
        age = None if self._keys_at is None else now - self._keys_at
        if again and age is not None and age < _KEYS_AGAIN:
            return None
        if not again and self._keys is not None and age is not None and age < _KNOWN_FOR:
            return self._keys
        found = await self._asked("GET", said.keys)
        try:
            self._keys = KeySet.import_key_set(found)  # type: ignore[arg-type]  # whatever came: it is checked there
        except (JoseError, KeyError, TypeError, ValueError) as error:
            raise ProviderError(f"the login provider's keys cannot be read: {error}") from error
        self._keys_at = now
        return self._keys

    async def _asked(self, method: str, url: str, access: str | None = None, **how: Any) -> Mapping[str, Any]:
        """Return the JSON object that an address answers: bounded in time and size, led nowhere else."""
        content, headers = bytearray(), {"accept": "application/json"}
        if access is not None:
            headers["authorization"] = f"Bearer {access}"
        try:
            async with (
                time_limit(_ANSWER_S),
                httpx.AsyncClient(timeout=_ANSWER_S, verify=self._trust, transport=self._transport) as client,
                client.stream(method, url, headers=headers, **how) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > _LARGEST:
                        raise ProviderError(f"the login provider's answer at {url} is larger than {_LARGEST} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise ProviderError(f"the login provider does not answer at {url}: {reason}") from error
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError:
            found = None
        if answer.status_code != 200:
            why = found.get("error") if isinstance(found, dict) else None
            raise ProviderError(f"the login provider answers {answer.status_code} at {url}: {str(why)[:100]!r}")
        if not isinstance(found, dict):
            raise ProviderError(f"the login provider's answer at {url} is no JSON object")
        return found


def _endpoint(found: Mapping[str, Any], name: str) -> str:
    url = found.get(name)
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    if parts.scheme != "https" and not (parts.scheme == "http" and on_loopback(parts.hostname or "")):
        raise ProviderError(f"the login provider's {name} is {str(url)[:255]!r}, which is no https:// address")
    assert isinstance(url, str)
    return url


def _with(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


def _secret_in(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        secret = first_line(file)
    except IndexError:
        secret = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ProviderError(f"console.oidc.secret_file {file} cannot be read: {error}") from error
    if not secret:
        raise ProviderError(f"console.oidc.secret_file {file} is empty: its first line is the client's secret")
    return secret


def _trust_in(file: Path | None) -> ssl.SSLContext | bool:
    if file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(file))
    except (OSError, ssl.SSLError) as error:
        raise ProviderError(f"console.oidc.ca_file {file} cannot be used: {error}") from error
