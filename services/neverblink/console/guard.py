"""Around every answer: headers that let a browser run nothing but ours, and how long the answer took."""

import time
from collections.abc import Callable
from typing import Any

from neverblink.console.instruments import Instruments

# No inline script or style, nothing from elsewhere, in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    # `no-referrer` would take the origin off our own forms.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_NOT_KEPT = (b"cache-control", b"no-store")


class Guard:
    """An ASGI application in which another one stands. Headers that the answer has itself stand."""

    def __init__(self, app: Any, *, tls: bool, measured: Instruments, clock: Callable[[], float] = time.monotonic):
        self._app = app
        self._tls = tls
        self._measured = measured
        self._clock = clock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = self._clock(), 500

        async def guarded(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name.lower() for name, _ in message["headers"]}
                wanted = [*HEADERS.items(), _NOT_KEPT, *([_HSTS] if self._tls else [])]
                message = {**message, "headers": [*message["headers"], *(one for one in wanted if one[0] not in own)]}
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        finally:
            if scope["path"] != "/live":  # it lasts as long as somebody looks
                self._measured.requests.record(self._clock() - began, {"status": f"{status // 100}xx"})
