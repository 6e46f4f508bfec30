"""The development broker itself: connections, their requests in order, and the clockwork behind them."""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from neverblink import telemetry
from neverblink.brokers.development.answers import Address
from neverblink.brokers.development.faults import Faults
from neverblink.brokers.development.groups import Groups
from neverblink.brokers.development.handlers import Handlers
from neverblink.brokers.development.protocol import ProtocolError, read_call, write_answer
from neverblink.brokers.development.topics import MIB, Topics
from neverblink.brokers.route import Route
from neverblink.errors import NeverblinkError

# Members are removed within this much of their session timeout; waking 20 times a second costs nothing measurable.
_TICK_S = 0.05
_RETENTION_EVERY_S = 1.0
_READ_AHEAD = MIB


class BrokerError(NeverblinkError, RuntimeError):
    """The broker cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker may hold and take in. Bytes unless said otherwise."""

    memory: int = 256 * MIB
    request: int = 100 * MIB
    fetch: int = 64 * MIB
    connections: int = 512
    partitions: int = 10_000
    groups: int = 1000


class DevelopmentBroker:
    """A Kafka broker in this process for one machine: memory only, one node, loopback only, faults on request.

    Everything is gone when it stops. It is never for a plant: use Apache Kafka there.
    """

    name = "development"

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        limits: Limits | None = None,
        auto_create_topics: bool = False,
        routes: Sequence[Route] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a broker; port 0 takes a free one. Raises BrokerError for a host that is not loopback.

        It serves at its `routes` besides.
        """
        self._host = _loopback(host)
        self._port = port
        self._limits = limits or Limits()
        self._clock = clock
        self._log = telemetry.logger("broker")
        self.faults = Faults()
        self.faults.attach(self._disconnect_all)
        self.topics = Topics(self._limits.memory, self._limits.partitions)
        self.groups = Groups(self._limits.groups)
        self._routes = tuple(routes)
        self._handlers = partial(
            Handlers,
            self.topics,
            self.groups,
            self.faults,
            clock=clock,
            auto_create=auto_create_topics,
            fetch_bytes=self._limits.fetch,
        )
        self._ways: list[asyncio.Server] = []
        self._server: asyncio.Server | None = None
        self._clockwork: asyncio.Task[None] | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises BrokerError when the port is taken."""
        if self._server is not None:
            return
        try:
            self._server = await self._listen(self._port)
            for route in self._routes:
                self._ways.append(await self._listen(route.port, route.advertised))
        except OSError as error:
            raise BrokerError(
                f"the development broker cannot listen on {self.bootstrap}: {error.strerror or error}; "
                "stop the program that has the port or choose another one"
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]
        self._clockwork = asyncio.create_task(self._tick(), name="development-broker-clockwork")
        self._log.info(
            f"development broker on {self.bootstrap}: one node, records in memory only "
            f"(up to {self._limits.memory // MIB} MiB, gone when it stops), this machine only; "
            "never for a plant, use Apache Kafka there"
        )

    async def stop(self) -> None:
        """Close every connection and forget every record."""
        if self._server is None:
            return
        for server in (self._server, *self._ways):
            server.close()
        self._ways.clear()
        assert self._clockwork is not None
        self._clockwork.cancel()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(self._clockwork, *self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = self._clockwork = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _listen(self, port: int, advertised: int | None = None) -> asyncio.Server:
        handlers = self._handlers(address=lambda: Address(self._host, advertised or self._port))
        return await asyncio.start_server(
            partial(self._connected, handlers), self._host, port, limit=_READ_AHEAD, backlog=128
        )

    async def _connected(self, handlers: Handlers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = writer.get_extra_info("peername") or ("?", 0)
        self._connections[task] = writer
        try:
            if self.faults.away:
                return
            if len(self._connections) > self._limits.connections:
                self._log.warning(
                    f"a connection from {peer[0]}:{peer[1]} is closed: {self._limits.connections} are open already"
                )
                return
            await self._converse(handlers, reader, writer, str(peer[0]))
        except ProtocolError as error:
            self._log.warning(f"the connection from {peer[0]}:{peer[1]} is closed: it sent {error}")
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # the client went, which is its right
        except asyncio.CancelledError:
            pass  # the broker stops or was told to drop this connection; nobody awaits this task's outcome
        except Exception:  # noqa: BLE001 - the boundary of a connection: the broker outlives any request
            self._log.exception(f"a request from {peer[0]}:{peer[1]} failed in the broker; its connection is closed")
        finally:
            del self._connections[task]
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(
        self, handlers: Handlers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        """Answer one request after the other: a client counts on answers in the order of its requests."""
        while True:
            frame = await self._next_frame(reader)
            if frame is None:
                return
            call = read_call(frame, host)
            del frame
            await self.faults.moving()
            strike = self.faults.strike(call.api)
            if strike.delay_s:
                await asyncio.sleep(strike.delay_s)
            if strike.drop_before:
                return
            answer = await handlers.answer(call, strike.code)
            await self.faults.moving()
            if strike.drop_after:
                return
            if answer is not None:
                writer.write(write_answer(call, answer))
                await writer.drain()

    async def _next_frame(self, reader: asyncio.StreamReader) -> bytes | None:
        try:
            prefix = await reader.readexactly(4)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return None
        length = int.from_bytes(prefix, "big", signed=True)
        if prefix[:3] in _TLS_HELLO:
            raise ProtocolError("a TLS handshake; the development broker has no TLS: set security_protocol=PLAINTEXT")
        if prefix in _HTTP_BEGINNINGS:
            raise ProtocolError("an HTTP request; this port speaks Kafka's protocol")
        if not 0 < length <= self._limits.request:
            raise ProtocolError(f"a request of {length} bytes; up to {self._limits.request} are taken")
        return await reader.readexactly(length)

    def _disconnect_all(self) -> None:
        for task in tuple(self._connections):
            task.cancel()

    async def _tick(self) -> None:
        """Let what is due happen: session timeouts, rebalances, retention."""
        retention_due = self._clock() + _RETENTION_EVERY_S
        stood_still_since: float | None = None
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock()
            if self.faults.frozen:
                stood_still_since = now if stood_still_since is None else stood_still_since
                continue
            if stood_still_since is not None:
                for group in self.groups:
                    group.postpone(now - stood_still_since)
                stood_still_since = None
            for group in self.groups:
                for member_id in group.expire(now):
                    self._log.info(f"the member {member_id} of the group {group.name} is not heard any more: removed")
            if now >= retention_due:
                self.topics.expire(now)
                retention_due = now + _RETENTION_EVERY_S


_TLS_HELLO = tuple(bytes((0x16, 3, minor)) for minor in range(5))
_HTTP_BEGINNINGS = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI")


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise BrokerError(
        f"the development broker serves this machine only and cannot listen on {host!r}: "
        "use 127.0.0.1, or Apache Kafka for more than one machine"
    )
