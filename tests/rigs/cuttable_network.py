"""A network between one client and the servers that can be cut: a forwarder on every address of a route."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from neverblink.brokers.route import Route

_CHUNK = 256 * 1024
_FILLS = 4
"""So many connections fill the queue of a socket that takes one: whoever comes then gets no answer at all."""


class CuttableNetwork:
    """Forwards one client's connections to all nodes, until it is told not to.

    `stall` is a pulled cable: connections stay, nothing arrives. `reset` is a switch that restarts: connections end,
    and new ones end at once. `refuse` is a server that has ended: its port is closed. `vanish` is a host that is gone:
    nothing arrives, and whoever connects waits for ever. `slow` lets every piece wait. `mend` ends what is cut or
    slow, and what was stalled arrives; `open` ends the others too.
    """

    def __init__(self, route: Sequence[Route]) -> None:
        self._route = route
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._delay_s = 0.0
        self._holes: list[socket.socket] = []
        self.carried_bytes = 0
        """Both ways, since the beginning."""

    @property
    def bootstrap(self) -> str:
        """Return where the client begins: every node's address on this side."""
        return ",".join(f"127.0.0.1:{one.advertised}" for one in self._route)

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._flows.set()
        self._end_all()

    def stall(self) -> None:
        """Let nothing through."""
        self._flows.clear()

    def reset(self) -> None:
        """End all connections, and every new one."""
        self._refuses = True
        self._end_all()

    async def refuse(self) -> None:
        """End all connections, and close the ports."""
        self._close()
        self._end_all()

    async def vanish(self) -> None:
        """Let nothing through, and answer nobody who connects."""
        self.stall()
        self._close()
        await asyncio.sleep(0)
        for one in self._route:
            self._holes.append(hole := socket.socket())
            hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            hole.bind(("127.0.0.1", one.advertised))
            hole.listen(0)
            for _ in range(_FILLS):
                self._holes.append(filler := socket.socket())
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", one.advertised))

    def slow(self, delay_s: float) -> None:
        """Let every piece of either way come so much later, one after the other."""
        self._delay_s = delay_s

    async def open(self) -> None:
        """Be whole again after `refuse` and `vanish`; the connections of a host that was gone have ended."""
        if self._holes:
            self._end_all()
        self._close()
        self.mend()
        await self._listen()

    def mend(self) -> None:
        """Be whole again after `stall`, `reset` and `slow`."""
        self._refuses = False
        self._delay_s = 0.0
        self._flows.set()

    async def _listen(self) -> None:
        self._servers = [
            await asyncio.start_server(partial(self._serve, one.port), "127.0.0.1", one.advertised)
            for one in self._route
        ]

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        for hole in self._holes:
            hole.close()
        self._servers, self._holes = [], []

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
                await asyncio.sleep(self._delay_s)
                await self._flows.wait()
                self.carried_bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()
