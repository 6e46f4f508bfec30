"""An application on a port, until it is told to stop; what uvicorn would guess is settled here."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn

from neverblink.errors import NeverblinkError
from neverblink.plant import Listening

_STOP_S = 3
_KEEP_ALIVE_S = 30
_HEAD_BYTES = 16 * 1024


class ServeError(NeverblinkError, OSError):
    """A server cannot listen; the message says where and why."""


class HttpServer:
    """Listens from the moment it is made on, and answers while `run` does. Raises ServeError.

    `section` is where the plant file says all this, for sentences; `most` bounds the connections that are open at
    once, and who comes beyond it is told to come back (503).
    """

    def __init__(self, service: str, app: Any, where: Listening, *, section: str, most: int) -> None:
        self._service = service
        self._socket = _listening(where, section)
        try:
            self._server = _Server(_config(app, where, section, most))
        except ServeError:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        scheme = "http" if where.cert_file is None else "https"
        self.address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        """Where it is reached, as a URL."""

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set, then let what is in hand finish for three seconds."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]), name=f"{self._service} http")
        stopping = asyncio.create_task(stop.wait(), name=f"{self._service} stop")
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._server.should_exit = True
            await serving
        finally:
            stopping.cancel()

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `run_service`."""
        yield


def _config(app: Any, where: Listening, section: str, most: int) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        ws="none",
        loop="none",
        limit_concurrency=most,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        ssl_certfile=where.cert_file,
        ssl_keyfile=where.key_file,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ServeError(
            f"{section}.cert_file {where.cert_file} and key_file {where.key_file} cannot be used: {error}"
        ) from error
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _listening(where: Listening, section: str) -> socket.socket:
    place = f"{where.host} port {where.port}"
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = found[0][0], found[0][4]
        server = socket.create_server(address, family=family, backlog=256)
        # Connections inherit it. asyncio does so by itself only for sockets that were made with the protocol's number;
        # without it an answer's body waits 40 ms until the kernel of who asked has acknowledged its head.
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server
    except OSError as error:
        raise ServeError(f"{section} cannot listen at {place}: {error.strerror or error}") from error
