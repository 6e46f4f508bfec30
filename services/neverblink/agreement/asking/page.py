"""A sitting in a browser: one page that this machine alone can open, keys for answers, one picture at a time."""

import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import orjson

from neverblink.agreement.asking.sitting import Sitting, blind_png
from neverblink.agreement.study import AgreementError

_HOST = "127.0.0.1"
_MOST_BODY = 4096
_SOCKET_S = 30.0


class AskingPage:
    """Serves a sitting on this machine, at a URL that nobody can guess, until the round is over.

    Use as a context. `url` is what a browser opens; `finished` is set when the page has said that the round is over.
    """

    def __init__(self, sitting: Sitting, folder: Path, appraiser: str) -> None:
        self._sitting, self._folder, self.appraiser = sitting, folder, appraiser
        self._lock = threading.Lock()
        self._token: str | None = None
        self.secret = secrets.token_urlsafe(18)
        self.finished = threading.Event()
        page = self

        class Handler(_Handler):
            asking = page

        try:
            self._server = ThreadingHTTPServer((_HOST, 0), Handler)
        except OSError as error:
            raise AgreementError(f"no page can be served on {_HOST}: {error.strerror}; ask with --terminal") from error
        self._server.daemon_threads = True
        self.host = f"{_HOST}:{self._server.server_port}"
        self.url = f"http://{self.host}/{self.secret}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="asking-page", daemon=True
        )

    def __enter__(self) -> "AskingPage":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(timeout=_SOCKET_S)
        self._server.server_close()

    def next(self) -> dict[str, object]:
        """Return what the page shows now: where the appraiser stands, and a picture's name that says nothing."""
        with self._lock:
            asked = self._sitting.next()
            if asked is None:
                self._token = None
                return {"done": True, "round": self._sitting.round}
            # A new name each time it is shown: no name can be recognised in a later round.
            self._token = secrets.token_urlsafe(12)
            return {
                "place": asked.place, "of": asked.of, "round": asked.round, "rounds": asked.rounds,
                "picture": self._token,
            }  # fmt: skip

    def picture(self, token: str) -> bytes | None:
        """Return the picture of that name, None when it is not the one that is shown. Raises AgreementError."""
        with self._lock:
            asked = self._sitting.next() if self._is_shown(token) else None
        return None if asked is None else blind_png(self._folder, asked.part)

    def answer(self, token: str, said: object) -> bool:
        """Keep an answer about the picture that is shown; False for another, as after a double click.

        Raises AgreementError.
        """
        with self._lock:
            if not self._is_shown(token) or said not in ("good", "defective"):
                return False
            self._sitting.answer("good" if said == "good" else "defective")
            self._token = None
            return True

    def back(self) -> bool:
        """Go back one part."""
        with self._lock:
            return self._sitting.back()

    def _is_shown(self, token: str) -> bool:
        return self._token is not None and secrets.compare_digest(self._token, token)


class _Handler(BaseHTTPRequestHandler):
    asking: ClassVar[AskingPage]
    timeout = _SOCKET_S
    protocol_version = "HTTP/1.1"
    server_version = "neverblink"
    sys_version = ""

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path == "":
            self._page()
        elif path == "next":
            shown = self.asking.next()
            self._json(HTTPStatus.OK, shown)
            if "done" in shown:
                self.asking.finished.set()
        elif path.startswith("picture/"):
            self._guarded(lambda: self._picture(path.removeprefix("picture/")))
        else:
            self._json(HTTPStatus.NOT_FOUND, {})

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        told = self._body()
        if path == "answer" and told is not None:
            self._guarded(lambda: self._answer(told))
        elif path == "back" and told is not None:
            self._json(HTTPStatus.OK, {"back": self.asking.back()})
        else:
            self._json(HTTPStatus.BAD_REQUEST, {})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: work is silent, and the path would name the secret."""

    def _answer(self, told: dict[str, object]) -> None:
        kept = self.asking.answer(str(told.get("picture", "")), told.get("answer"))
        self._json(HTTPStatus.OK if kept else HTTPStatus.CONFLICT, {"kept": kept})

    def _picture(self, token: str) -> None:
        png = self.asking.picture(token)
        if png is None:
            self._json(HTTPStatus.NOT_FOUND, {})
        else:
            self._send(HTTPStatus.OK, "image/png", png)

    def _guarded(self, work: Any) -> None:
        """Do what may fail with a sentence for the person in front of the page."""
        try:
            work()
        except AgreementError as error:
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})

    def _path(self) -> str | None:
        """Return what is asked for behind the secret; another host's name or no secret is told nothing."""
        begins = f"/{self.asking.secret}/"
        # A page of somebody else's that a browser was tricked to take for this address names another host.
        if self.headers.get("Host") != self.asking.host or not self.path.startswith(begins):
            self.close_connection = True
            self._json(HTTPStatus.NOT_FOUND, {})
            return None
        return self.path[len(begins) :]

    def _body(self) -> dict[str, object] | None:
        stated = self.headers.get("Content-Length", "")
        if not (stated.isdecimal() and len(stated) < 6 and int(stated) <= _MOST_BODY):
            self.close_connection = True
            return None
        try:
            told = orjson.loads(self.rfile.read(int(stated)))
        except (orjson.JSONDecodeError, OSError):
            self.close_connection = True
            return None
        return told if isinstance(told, dict) else None

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(12)
        text = files("neverblink.agreement.asking").joinpath("page.html").read_text(encoding="utf-8")
        policy = (
            f"default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'nonce-{nonce}';"
            f" style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._send(
            HTTPStatus.OK, "text/html; charset=utf-8", text.replace("NONCE", nonce).encode(),
            {"Content-Security-Policy": policy},
        )  # fmt: skip

    def _json(self, status: HTTPStatus, told: dict[str, object]) -> None:
        self._send(status, "application/json", orjson.dumps(told))

    def _send(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        told = {
            "Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", **(headers or {}),
        }  # fmt: skip
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
