"""`neverblink console` as a process of its own, to be ended and begun again."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from neverblink.brokers.apache import free_port

_WITHIN_S = 60.0


class ConsoleProcess:
    """`neverblink console` on a plant file, to be ended and begun again."""

    def __init__(self, plant: Path, address: str) -> None:
        self.plant = plant
        self.address = address
        self.said: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin it, and wait until it listens. Raises TimeoutError."""
        command = (sys.executable, "-m", "neverblink", "console", "--plant", str(self.plant))
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
        listening = asyncio.Event()
        self._reading = asyncio.create_task(self._read(listening))
        async with asyncio.timeout(_WITHIN_S):
            await listening.wait()

    async def _read(self, listening: asyncio.Event) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said.append(line.decode())
            if "listens at" in self.said[-1]:
                listening.set()

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    @property
    def one_time(self) -> str:
        """Return the password that the first start printed."""
        found = re.search(r"one-time password (\S+) within", "".join(self.said))
        assert found is not None, self.said
        return found.group(1)


@asynccontextmanager
async def console_process(plant: Path) -> AsyncIterator[ConsoleProcess]:
    """Add a console on a free port to a plant file that has none, and run it."""
    port = await asyncio.to_thread(_with_console, plant)
    found = ConsoleProcess(plant, f"http://127.0.0.1:{port}")
    try:
        await found.start()
        yield found
    finally:
        await found.kill()


def _with_console(plant: Path) -> int:
    port = free_port()
    plant.write_text(f"{plant.read_text()}console: {{port: {port}}}\n")
    return port
