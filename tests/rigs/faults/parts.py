"""What services depend on, and how each fault of it is made and ended."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from rigs.cuttable_network import CuttableNetwork
from rigs.faults.pairs import Fault

SLOWER_S: Final = 1.0
_LOCKED_WITHIN_S = 10.0
_TRIES = 100


class Part(Protocol):
    """Something a service depends on, whose faults begin and end."""

    async def begin(self, fault: Fault) -> None:
        """Let the fault happen."""
        ...

    async def end(self, fault: Fault) -> None:
        """Let it be over."""
        ...


@dataclass(slots=True)
class Server:
    """A server behind a network of the service's own."""

    network: CuttableNetwork

    async def begin(self, fault: Fault) -> None:
        """Cut it in that way."""
        match fault:
            case "frozen":
                self.network.stall()
            case "refused":
                await self.network.refuse()
            case "slow":
                self.network.slow(SLOWER_S)
            case "gone":
                await self.network.vanish()

    async def end(self, fault: Fault) -> None:
        """Mend it."""
        if fault in {"refused", "gone"}:
            await self.network.open()
        else:
            self.network.mend()


@dataclass(slots=True)
class Folder:
    """A folder that is away, or a file where it was. `meanwhile` is what must happen for anybody to need it."""

    folder: Path
    meanwhile: Part | None = None
    needed: Callable[[], Awaitable[None]] | None = None

    async def begin(self, fault: Fault) -> None:
        """Take it away."""
        self.folder.rename(self._aside)
        if fault == "refused":
            self.folder.write_text("no folder\n")
        if self.meanwhile is not None:
            await self.meanwhile.begin(fault)
        if self.needed is not None:
            await self.needed()

    async def end(self, fault: Fault) -> None:
        """Put it back."""
        await asyncio.to_thread(self._put_back)
        if self.meanwhile is not None:
            await self.meanwhile.end(fault)

    def _put_back(self) -> None:
        for _ in range(_TRIES):
            if self.folder.is_dir():
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                self.folder.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a service may have made one of its own in between
                self._aside.rename(self.folder)
                return
        raise OSError(f"{self.folder} is made anew faster than it can be taken away")

    @property
    def _aside(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.away")


class LockedFile:
    """A SQLite database that another program has locked, as a copy or a report does that never ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._other: sqlite3.Connection | None = None

    async def begin(self, fault: Fault) -> None:
        """Lock it."""
        assert fault == "frozen"
        self._other = await asyncio.to_thread(self._locked)

    async def end(self, fault: Fault) -> None:
        """Let it go."""
        if self._other is not None:
            self._other.close()
            self._other = None

    def _locked(self) -> sqlite3.Connection:
        other = sqlite3.connect(self._file, timeout=_LOCKED_WITHIN_S, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        return other


class Collector:
    """Takes OTLP over HTTP and thanks for it; `taken` counts what came."""

    def __init__(self) -> None:
        self.taken = 0
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Collector"]:
        """Listen on a free port until the block is left."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(size)
                self.taken += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()
