"""The demonstration's child processes: started together, watched, ended together."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import orjson

from neverblink.errors import NeverblinkError
from neverblink.service_life import READY
from neverblink.service_life.time_limit import time_limit

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.1
_TERM_S = 15.0


class ProcessError(NeverblinkError, RuntimeError):
    """A service did not start, or ended by itself; the message quotes its last words."""


class Services:
    """Runs `neverblink <command>` children; what they log goes to one file each."""

    def __init__(self, logs: Path, environment: Mapping[str, str] | None = None) -> None:
        """Keep logs in this folder; `environment` comes on top of our own."""
        self._logs = logs
        self._environment = environment or {}
        logs.mkdir(parents=True, exist_ok=True)
        self._children: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str, *arguments: str) -> None:
        """Start a child. It dies with this process, however this process ends."""
        log = self._log(name)
        with log.open("ab") as output:
            self._children[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "neverblink",
                *arguments,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches this process only, which then ends the children in order.
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )

    async def until_ready(self, names: Sequence[str], timeout_s: float, on_ready: Callable[[str], None]) -> None:
        """Wait until each of them has logged that it is ready. Raises ProcessError."""
        waiting = dict.fromkeys(names)
        give_up = asyncio.get_running_loop().time() + timeout_s
        while waiting:
            self.check()
            for name in [name for name in waiting if self._is_ready(name)]:
                del waiting[name]
                on_ready(name)
            if asyncio.get_running_loop().time() > give_up:
                name = next(iter(waiting))
                raise ProcessError(f"{name} was not ready after {timeout_s:.0f} s:\n{self._last_words(name)}")
            await asyncio.sleep(_POLL_S)

    def check(self) -> None:
        """Raise ProcessError when a child has ended by itself."""
        for name, child in self._children.items():
            if child.returncode is not None:
                raise ProcessError(
                    f"{name} ended by itself with exit code {child.returncode}:\n{self._last_words(name)}"
                )

    def pid(self, name: str) -> int:
        """Return the process id of a child."""
        return self._children[name].pid

    async def stop(self, but: Collection[str] = ()) -> None:
        """End the children but for some, the last started first, with SIGTERM and after a while with SIGKILL."""
        for name in [name for name in reversed(self._children) if name not in but]:
            await self.end(name)

    async def end(self, name: str) -> None:
        """End one child with SIGTERM, and after a while with SIGKILL."""
        child = self._children.pop(name)
        if child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with time_limit(_TERM_S):
                await child.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _is_ready(self, name: str) -> bool:
        return any(entry.get("state") == READY for entry in self._entries(name))

    def _entries(self, name: str) -> list[dict[str, object]]:
        entries = []
        for line in self._log(name).read_bytes().splitlines():
            with contextlib.suppress(orjson.JSONDecodeError):
                entry = orjson.loads(line)
                if isinstance(entry, dict):
                    entries.append(entry)
        return entries

    def _last_words(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()[-8:]
        return "\n".join(f"  {line[:400]}" for line in lines) + f"\n  (all of it: {self._log(name)})"


def die_with_parent() -> None:
    """Ask Linux to end this child when its parent ends, however that happens (prctl(2)); runs between fork and exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)
