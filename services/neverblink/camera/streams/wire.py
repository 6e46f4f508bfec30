"""A connection to a network camera: bytes in pieces of known ends, within a time; did they have to be waited for?"""

import socket
import ssl
import time
from typing import Self
from urllib.parse import urlsplit

from neverblink.plant import RtspSource

# The usual port of each scheme, and whether it speaks TLS.
_SCHEMES = {"rtsp": (554, False), "rtsps": (322, True), "http": (80, False), "https": (443, True)}
_PIECE = 64 * 1024
_LONGEST_LINE = 8 * 1024
_MOST_HEADERS = 100


class WireError(Exception):
    """The other side is gone, or speaks no language of ours; the message is for a person."""


class Wire:
    """A TCP or TLS connection. It is used by one thread.

    `waited` turns true when the next bytes were not there yet: nothing lies unread before what comes then.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._unread = bytearray()
        self.waited = True

    @classmethod
    def to(cls, settings: RtspSource) -> Self:
        """Connect to the host of a camera's URL, by TLS where its scheme says so. Raises WireError."""
        url = urlsplit(settings.url)
        host, (usual_port, secured) = url.hostname or "", _SCHEMES[url.scheme]
        try:
            connection = socket.create_connection((host, url.port or usual_port), settings.silent_after_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secured:
                ca_file = settings.ca_file
                context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
                connection = context.wrap_socket(connection, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise WireError(
                f"its certificate is not trusted ({error.verify_message}); set source.ca_file to it or its issuer's"
            ) from error
        except OSError as error:
            raise WireError(str(error.strerror or error)) from error
        except ValueError as error:  # a port that is none
            raise WireError(str(error)) from error
        return cls(connection)

    def close(self) -> None:
        """Let go of the connection."""
        self._socket.close()

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send all of it. Raises WireError."""
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(data)
        except OSError as error:
            raise WireError(f"it takes nothing: {error}") from error

    def has(self, size: int, deadline_s: float) -> bool:
        """Wait until `size` bytes are there, by `time.monotonic()` at most; say whether they are. Raises WireError."""
        while len(self._unread) < size:
            if not self._fill(deadline_s):
                return False
        return True

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, which are there, and leave them."""
        return bytes(self._unread[:size])

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes, which are there."""
        found = bytes(self._unread[:size])
        del self._unread[:size]
        return found

    def until(self, end: bytes, most: int, deadline_s: float) -> bytes | None:
        """Return what comes up to `end`, which is dropped; None when it did not come in time. Raises WireError."""
        looked = 0
        while (at := self._unread.find(end, max(0, looked - len(end)))) < 0:
            looked = len(self._unread)
            if looked > most:
                raise WireError(f"it sends {looked} bytes without an end")
            if not self._fill(deadline_s):
                return None
        return self.take(at + len(end))[: -len(end)]

    def head(self, deadline_s: float) -> tuple[str, dict[str, list[str]]] | None:
        """Return the first line and the headers of a message, by lower-case name; None when not all came in time.

        Raises WireError.
        """
        raw = self.until(b"\r\n\r\n", _LONGEST_LINE * 4, deadline_s)
        if raw is None:
            return None
        first, *lines = raw.decode("utf-8", "replace").lstrip("\r\n").split("\r\n")
        if len(lines) > _MOST_HEADERS:
            raise WireError(f"it sends {len(lines)} headers")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        return first, headers

    def _fill(self, deadline_s: float) -> bool:
        """Read what is there, or wait for more until the deadline; say whether something came. Raises WireError."""
        try:
            self._socket.settimeout(0.0)
            piece = self._socket.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError):
            self.waited = True
            left = deadline_s - time.monotonic()
            if left <= 0:
                return False
            try:
                self._socket.settimeout(left)
                piece = self._socket.recv(_PIECE)
            except (TimeoutError, ssl.SSLWantReadError):
                return False
            except OSError as error:
                raise WireError(f"the connection broke: {error}") from error
        except OSError as error:
            raise WireError(f"the connection broke: {error}") from error
        if not piece:
            raise WireError("it hung up")
        self._unread += piece
        return True
