"""A login provider in this process: it answers what OpenID Connect asks, and says of people whatever a test wants."""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

ISSUER = "https://login.plant.example"
CLIENT = "neverblink-console"
SECRET = "the client's secret"


@dataclass
class FakeProvider:
    """`claims` are added to each ID token, `changes` overwrite answers by path; `asked` is what was asked, by path."""

    now: Any
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "preferred_username": "ann"})
    userinfo: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, httpx.Response] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    asked: list[str] = field(default_factory=list)
    bad_challenge: str = ""
    _begun: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def let_in(self, address: str) -> str:
        """Let a person in at the page that an address leads to, and return where the provider leads back to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = f"code-{len(self._begun)}"
        self._begun[code] = query
        assert query["redirect_uri"] == "http://127.0.0.1:8760/sign-in/provider/back"
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        assert "openid" in query["scope"].split()
        return f"/sign-in/provider/back?code={code}&state={query['state']}"

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if path in self.changes:
            return self.changes[path]
        if path == "/.well-known/openid-configuration":
            return httpx.Response(200, json=self._metadata())
        if path == "/keys":
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        if path == "/token":
            return self._tokens(request)
        if path == "/me" and request.headers.get("authorization") == "Bearer x":
            return httpx.Response(200, json=self.userinfo)
        return httpx.Response(404)

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys", "end_session_endpoint": f"{ISSUER}/out",
            "userinfo_endpoint": f"{ISSUER}/me", **self.metadata,
        }  # fmt: skip

    def _tokens(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        begun = self._begun.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun is None or begun["code_challenge"] != challenge:
            return httpx.Response(400, json={"error": "invalid_grant"})
        now = int(self.now().timestamp())
        claims = {"iss": ISSUER, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": begun["nonce"]}
        claims |= {"auth_time": now, **self.claims}
        header = {"alg": "ES256", "kid": "one", **self.header}
        token = jwt.encode(header, {name: value for name, value in claims.items() if value is not None}, self.key)
        return httpx.Response(200, json={"access_token": "x", "token_type": "Bearer", "id_token": token})
