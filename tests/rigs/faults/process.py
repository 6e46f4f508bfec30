"""One service as its orchestrator sees it: a process, its log, its ready file, and a new start when it ends."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from neverblink.service_life.children import die_with_parent

AGAIN_S = 1.0
_LOOK_EVERY_S = 0.05
_LONGEST_LINE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """A line of its log, and when it came by `time.monotonic()`."""

    at: float
    level: str
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether somebody should look."""
        return self.level not in {"debug", "info"}


class ServiceProcess:
    """`neverblink …` as a process, started again a second after each end that nobody asked for."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.said: list[Said] = []
        self.ends: list[tuple[float, int]] = []
        self.standing: list[tuple[float, bool]] = []
        self._arguments = arguments
        self._ready_file = folder / "ready"
        self._environment = {
            **os.environ, **environment, "NEVERBLINK_LOG_FORMAT": "json", "OMP_NUM_THREADS": "1",
            "NEVERBLINK_READY_FILE": str(self._ready_file),
        }  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        await self._start()
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._look())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def is_ready(self) -> bool:
        """Whether its ready file is there."""
        return self._ready_file.exists()

    def unready_since(self, began: float) -> float | None:
        """Return when it was first unready after `began`."""
        return next((at for at, is_ready in self.standing if at >= began and not is_ready), None)

    async def stop(self, within_s: float) -> tuple[float, int | None]:
        """Send SIGTERM; return how long its end took and its exit code, None where it had to be killed."""
        assert self._process is not None
        self._stopping = True
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return_code = await self._process.wait()
                return time.monotonic() - began, return_code
        await asyncio.sleep(_LOOK_EVERY_S)
        if (code := self._process.returncode) is not None:
            return time.monotonic() - began, code  # this process was too busy to see its end in time
        self._process.kill()
        await self._process.wait()
        return time.monotonic() - began, None

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "neverblink", *self._arguments, stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, env=self._environment, limit=_LONGEST_LINE,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )  # fmt: skip

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            await self._read(self._process)
            code = await self._process.wait()
            if self._stopping:
                return
            self.ends.append((time.monotonic(), code))
            await asyncio.sleep(AGAIN_S)
            await self._start()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            try:
                entry = orjson.loads(line)
                self.said.append(Said(time.monotonic(), entry["level"], entry["message"]))
            except (orjson.JSONDecodeError, KeyError, TypeError):
                self.said.append(Said(time.monotonic(), "error", line.decode(errors="replace").strip()))

    async def _look(self) -> None:
        while True:
            is_ready = self.is_ready
            if not self.standing or self.standing[-1][1] is not is_ready:
                self.standing.append((time.monotonic(), is_ready))
            await asyncio.sleep(_LOOK_EVERY_S)
