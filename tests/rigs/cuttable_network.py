"""A network between one client and the brokers that can be cut: a forwarder on every address of a route."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from neverblink.brokers.apache import Route

_CHUNK = 256 * 1024


class CuttableNetwork:
    """Forwards one client's connections to all nodes, until it is told not to.

    `stall` is a pulled cable: connections stay, nothing arrives. `reset` is a switch that restarts: connections end,
    and new ones end at once. `mend` ends both; what was stalled arrives.
    """

    def __init__(self, route: Sequence[Route]) -> None:
        self._route = route
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False

    @property
    def bootstrap(self) -> str:
        """Return where the client begins: every node's address on this side."""
        return ",".join(f"127.0.0.1:{one.advertised}" for one in self._route)

    async def __aenter__(self) -> Self:
        self._servers = [
            await asyncio.start_server(partial(self._serve, one.port), "127.0.0.1", one.advertised)
            for one in self._route
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        self._flows.set()
        self._end_all()

    def stall(self) -> None:
        """Let nothing through."""
        self._flows.clear()

    def reset(self) -> None:
        """End all connections, and every new one."""
        self._refuses = True
        self._end_all()

    def mend(self) -> None:
        """Be whole again."""
        self._refuses = False
        self._flows.set()

    def _end_all(self) -> None:
        for writer in self._connections:
            writer.transport.abort()

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        with contextlib.ExitStack() as ends:
            self._held(writer, ends)
            with contextlib.suppress(OSError):
                await self._flows.wait()
                node_reader, node_writer = await asyncio.open_connection("127.0.0.1", port)
                self._held(node_writer, ends)
                both = [
                    asyncio.ensure_future(self._forward(reader, node_writer)),
                    asyncio.ensure_future(self._forward(node_reader, writer)),
                ]
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for one in both:
                        one.cancel()
                    await asyncio.gather(*both, return_exceptions=True)

    def _held(self, writer: asyncio.StreamWriter, ends: contextlib.ExitStack) -> None:
        """Note a connection, so that a cut finds it, and end it with its peer."""
        self._connections.add(writer)
        ends.callback(self._connections.discard, writer)
        ends.callback(writer.transport.abort)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._flows.wait()
                writer.write(chunk)
                await writer.drain()
