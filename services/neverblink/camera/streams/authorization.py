"""User and password for HTTP and RTSP: Basic (RFC 7617) and Digest with MD5 (RFC 2617, RFC 7616)."""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

_PARAMETER = re.compile(r'([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))', re.IGNORECASE)


@dataclass(slots=True)
class Credentials:
    """A user's name and password, and how the camera wants them."""

    username: str
    password: str = field(repr=False)
    _digest: dict[str, str] = field(default_factory=dict, repr=False)
    _basic: bool = False
    _count: int = 0

    def challenged(self, challenges: Sequence[str]) -> bool:
        """Take the camera's `WWW-Authenticate` headers; return whether one of them can be answered."""
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            found = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
            if scheme.lower() == "digest" and found.get("algorithm", "MD5").upper() == "MD5" and "nonce" in found:
                self._digest, self._count = found, 0
                return True
            self._basic = self._basic or scheme.lower() == "basic"
        return self._basic

    def header(self, method: str, uri: str) -> str | None:
        """Return the value of `Authorization` for a request, None before the camera has asked for one."""
        if self._digest:
            return self._answer(method, uri)
        if self._basic:
            return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return None

    def _answer(self, method: str, uri: str) -> str:
        realm, nonce = self._digest.get("realm", ""), self._digest["nonce"]
        secret, asked = _md5(f"{self.username}:{realm}:{self.password}"), _md5(f"{method}:{uri}")
        fields = {"username": self.username, "realm": realm, "nonce": nonce, "uri": uri}
        plain = ""
        if "auth" in [word.strip() for word in self._digest.get("qop", "").split(",")]:
            self._count += 1
            count, own = f"{self._count:08x}", secrets.token_hex(8)
            fields["cnonce"] = own
            plain = f", qop=auth, nc={count}"
            fields["response"] = _md5(f"{secret}:{nonce}:{count}:{own}:auth:{asked}")
        else:
            fields["response"] = _md5(f"{secret}:{nonce}:{asked}")
        if "opaque" in self._digest:
            fields["opaque"] = self._digest["opaque"]
        escaped = (f'{name}="{value.translate(_ESCAPES)}"' for name, value in fields.items())
        return "Digest " + ", ".join(escaped) + plain


_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\"})


def _md5(text: str) -> str:
    # The protocol's own choice: it keeps the password off the wire, no more.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
