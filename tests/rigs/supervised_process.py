"""A process of ours that is started again whenever it ends, as an orchestrator does."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from neverblink.service_life.children import die_with_parent

_LAST_WORK_S = 10.0


class SupervisedProcess:
    """Runs Python with these arguments; what it logs goes to `log`. `restarts` counts all its starts but the first."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, *, again_s: float = 0.1) -> None:
        self.name = name
        self.arguments = tuple(arguments)
        self.restarts = 0
        self.again_s = again_s
        self.log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._said_before = 0

    async def __aenter__(self) -> Self:
        self.log.touch()
        await self._start()
        self._watching = asyncio.create_task(self._watch(), name=f"supervisor of {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._process is None or self._process.returncode is not None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(_LAST_WORK_S):
                await self._process.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Signal it. Between its end and its next start there is nobody to hit."""
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.send_signal(number)

    async def tell(self, word: str) -> None:
        """Write a line to its standard input."""
        with contextlib.suppress(ConnectionError, ProcessLookupError):
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(f"{word}\n".encode())
                await self._process.stdin.drain()

    async def said(self, *words: str, within_s: float = 30.0) -> None:
        """Wait until it has logged all these words since its last start. Raises TimeoutError, with its last words."""
        try:
            async with asyncio.timeout(within_s):
                while not all(word.encode() in self._since_start() for word in words):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{self.name} did not say {words}: {self._since_start()[-2000:].decode()}") from error

    def entries(self) -> list[dict[str, object]]:
        """Return all that it has logged as JSON, of all its lives."""
        found = []
        for line in self.log.read_bytes().splitlines():
            with contextlib.suppress(orjson.JSONDecodeError):
                entry = orjson.loads(line)
                if isinstance(entry, dict):
                    found.append(entry)
        return found

    @property
    def resident_mib(self) -> float:
        """Return its memory, 0 while it is down."""
        if self._process is None:
            return 0.0
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def most_resident_mib(self) -> float:
        """Return the most memory that it has had since its last start, 0 while it is down."""
        if self._process is None:
            return 0.0
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    @property
    def cpu_s(self) -> float:
        """Return the processor time that it has used since its last start, 0 while it is down."""
        if self._process is None:
            return 0.0
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def started_again(self, before: int, within_s: float = 60.0) -> None:
        """Wait until it has had more restarts than before. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while self.restarts <= before:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.02)

    def _since_start(self) -> bytes:
        return self.log.read_bytes()[self._said_before :]

    async def _start(self) -> None:
        self._said_before = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self.arguments, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )  # fmt: skip

    async def _watch(self) -> None:
        while True:
            assert self._process is not None
            await self._process.wait()
            await asyncio.sleep(self.again_s)
            self.restarts += 1
            await self._start()
