"""An address behind which servers come and go, as behind a service's name."""

import asyncio
import contextlib
from typing import Self


class Forwarding:
    """Passes on whatever comes to `address` to `target`, a port on this machine; closing it cuts every connection."""

    def __init__(self, target: int = 0, port: int = 0) -> None:
        self.target = target
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection, and take no more."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()

    @property
    def address(self) -> str:
        """Return host:port."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return

        self._open |= {writer, there_writer}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        self._open -= {writer, there_writer}
