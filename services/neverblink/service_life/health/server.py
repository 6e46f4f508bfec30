"""Answers `/livez`, `/readyz`, `/version` and `/metrics` from a thread of its own: a service that stands still says so.

It is small on purpose, for it runs beside a line: GET alone, one answer a connection, so many connections at once, each
bounded in bytes and seconds. Whatever happens to it, the service goes on.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from neverblink import __version__, telemetry
from neverblink.service_life.health.places import HealthPlaceError, place_of
from neverblink.service_life.health.state import STATE, State
from neverblink.service_life.time_limit import time_limit
from neverblink.telemetry.exposition import OPEN_METRICS, OPEN_METRICS_TYPE, TEXT_TYPE

_MOST_AT_ONCE: Final = 16
_HEAD_BYTES: Final = 8 * 1024
_WITHIN_S: Final = 5.0
_AGAIN_S: Final = 15.0
_BEGIN_S: Final = 5.0
_END_S: Final = 2.0
_JSON: Final = "application/json"
_WORDS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    kind: str = _JSON

    @classmethod
    def of(cls, status: int, said: Mapping[str, Any]) -> "Answer":
        """Return it as JSON."""
        return cls(status, orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE))

    def on_the_wire(self, *, body: bool) -> bytes:
        """Return head and body; of a HEAD request the head alone."""
        head = (
            f"HTTP/1.1 {self.status} {_WORDS[self.status]}\r\nContent-Type: {self.kind}\r\n"
            f"Content-Length: {len(self.body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + (self.body if body else b"")


def answer_to(path: str, accept: str, state: State) -> Answer:
    """Return what is answered to a path; `accept` says whether whoever asks reads OpenMetrics."""
    if path == "/livez":
        alive, said = state.life()
        return Answer.of(200 if alive else 503, said)
    if path == "/readyz":
        all_done, said = state.readiness()
        return Answer.of(200 if all_done else 503, said)
    if path == "/version":
        return Answer.of(200, {"service": state.service, "version": __version__})
    if path == "/metrics":
        open_metrics = OPEN_METRICS in accept
        text = telemetry.scraped(open_metrics=open_metrics)
        if text is None:
            return Answer.of(404, {"error": "nothing is measured in this process"})
        return Answer(200, text.encode(), OPEN_METRICS_TYPE if open_metrics else TEXT_TYPE)
    return Answer.of(404, {"error": "there are /livez, /readyz, /version and /metrics"})


@contextlib.contextmanager
def serving(service: str, state: State = STATE) -> Iterator[None]:
    """Answer while the block runs, where the environment says at which place; nothing costs where it does not."""
    stated = os.environ.get(telemetry.HEALTH)
    if not stated:
        yield
        return
    try:
        host, port = place_of(stated)
    except HealthPlaceError as error:
        telemetry.logger(service).warning(f"{telemetry.HEALTH} is left aside: {error}")
        yield
        return
    server = HealthServer(service, host, port, state)
    server.start()
    try:
        yield
    finally:
        server.stop()


class HealthServer:
    """Listens from its own thread; a place that is taken is tried again, and told once."""

    def __init__(self, service: str, host: str, port: int, state: State) -> None:
        self._host, self._port, self._state = host, port, state
        self._log = telemetry.logger(service)
        self._recurring = telemetry.Recurring(self._log)
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._began = threading.Event()
        self._at_once = 0
        self.address: str | None = None
        """Where it is reached, once it listens."""

    def start(self) -> None:
        """Begin; whether it can listen is told in the log."""
        self._thread.start()
        self._began.wait(_BEGIN_S)

    def stop(self) -> None:
        """End; what is in hand is left after a moment."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(stop.set)
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except Exception as error:  # noqa: BLE001 - the boundary: how a service is asked is never why it ends
            self._log.error("how this service does is not answered any more", exc_info=error)
        finally:
            self._began.set()

    async def _listen(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        while not self._stop.is_set():
            try:
                server = await asyncio.start_server(self._serve, self._host, self._port, limit=_HEAD_BYTES, backlog=32)
            except OSError as error:
                place = f"{self._host} port {self._port}"
                self._recurring.tell("place", f"{telemetry.HEALTH}: cannot listen at {place}: {error.strerror}")
                self._began.set()
                with contextlib.suppress(TimeoutError):
                    async with time_limit(_AGAIN_S):
                        await self._stop.wait()
                continue
            host, port = server.sockets[0].getsockname()[:2]
            self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            self._log.info(f"health and metrics at {self.address}", extra={"fields": {"health": self.address}})
            self._began.set()
            await self._stop.wait()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._at_once += 1
        try:
            if self._at_once <= _MOST_AT_ONCE:
                async with time_limit(_WITHIN_S):
                    await self._answer(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is slow, gone or no HTTP client
        except Exception as error:  # noqa: BLE001 - the boundary: one question must not end all answers
            self._recurring.tell("answer", "a question could not be answered", error=error)
        finally:
            self._at_once -= 1
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            else:
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *others = head.split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            answer = Answer.of(400, {"error": "this is no HTTP request"})
        elif words[0] not in ("GET", "HEAD"):
            answer = Answer.of(405, {"error": "GET and HEAD are answered"})
        else:
            accept = " ".join(line for line in others if line.lower().startswith("accept:"))
            answer = answer_to(words[1].partition("?")[0], accept.lower(), self._state)
        writer.write(answer.on_the_wire(body=words[0] != "HEAD"))
        await writer.drain()
