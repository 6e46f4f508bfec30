"""The runs of a host: one job at a time, found again by their folders whoever started them and whatever ended since."""

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from neverblink.console.access.said import SaidError
from neverblink.console.runs.run_folder import (
    ALIVE,
    ASKED,
    CANCEL,
    NOISE,
    RESULT,
    SETTINGS,
    STATE,
    Asked,
    RunFolderError,
    State,
    alive,
    held,
    read_json,
    write_json,
)

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
KEPT: Final = 200
"""Runs that are kept; the oldest that have ended go when another begins."""

_HOST = "one-at-a-time"
_NEW = ".new-"
_LETS_GO_S: Final = 5.0
_LOOK_S: Final = 0.02
_KEEPER: Final = (sys.executable, "-m", "neverblink.console.runs.keeper")
GRACE_S: Final = 20.0
"""Seconds for a job to end by itself: it looks up between two steps of its work."""

JOB: Final = (sys.executable, "-m", "neverblink")


class RunError(SaidError):
    """A job that cannot be started; the message says why and what would do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A job that somebody wants: its command and settings by key, what it is about, and the page that it belongs to.

    `lines` are those that it is about: who may run it there may follow and stop it.
    """

    job: str
    settings: Mapping[str, Any]
    subject: str
    lines: tuple[str, ...]
    back: str


@dataclass(frozen=True, slots=True)
class Run:
    """A job that was started. `noise` is the end of what it said beside its lines."""

    asked: Asked
    state: State
    folder: Path

    @property
    def id(self) -> str:
        """Return its name."""
        return self.asked.id

    @property
    def running(self) -> bool:
        """Say whether it still runs."""
        return self.state.status == "running"

    def result(self) -> dict[str, Any] | None:
        """Return what the job came to, None while there is none. Raises RunFolderError."""
        found = read_json(self.folder / RESULT)
        return found if isinstance(found, dict) else None

    def settings(self) -> dict[str, Any]:
        """Return what the job was asked. Raises RunFolderError."""
        found = read_json(self.folder / SETTINGS)
        return found if isinstance(found, dict) else {}

    def noise(self) -> str:
        """Return the end of what the job said on standard error."""
        with contextlib.suppress(OSError):
            return (self.folder / NOISE).read_text(errors="replace")
        return ""


class Runs:
    """The folder `runs` of the console's work. Its methods block; they may be called from any thread."""

    def __init__(self, work: Path, *, command: Sequence[str] = JOB, grace_s: float = GRACE_S) -> None:
        """`command` is what a job's name and settings are given to; who is asked to end has `grace_s` for it."""
        self.folder = work / "runs"
        self._command = tuple(command)
        self._grace_s = grace_s
        self._keepers: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def start(self, wish: Wish, who: str, why: str, now: datetime) -> Run:
        """Start a job. Raises RunError while another one runs, or where the folder cannot be written."""
        with self._lock:
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                host = self._free_host()
                try:
                    return self._begun(wish, who, why, now, host)
                finally:
                    os.close(host)
            except OSError as error:
                raise RunError(
                    "the folder of jobs %(folder)s cannot be written: %(reason)s",
                    folder=self.folder,
                    reason=error.strerror or error,
                ) from error

    def find(self, name: str) -> Run | None:
        """Return a run by its name, None where there is none (any more)."""
        return _read(self.folder / name) if ID.fullmatch(name) else None

    def newest(self, most: int = KEPT) -> list[Run]:
        """Return the runs, the newest first."""
        return list(islice(self._each(), most))

    def running(self) -> Run | None:
        """Return the run that lives."""
        return next((run for run in islice(self._each(), KEPT) if run.running), None)

    def cancel(self, run: Run) -> None:
        """Ask a run to end: it does within seconds, and is ended where it does not. Raises RunError."""
        self._reap()
        try:
            (run.folder / CANCEL).touch(mode=0o600)
        except OSError as error:
            raise RunError("the job cannot be stopped: %(reason)s", reason=error.strerror or error) from error

    def _begun(self, wish: Wish, who: str, why: str, now: datetime, host: int) -> Run:
        name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        about = {"job": wish.job, "subject": wish.subject[:200], "lines": wish.lines, "back": wish.back}
        asked = Asked.model_validate({"id": name, "who": who, "why": why, "at": now, **about})
        # Under its name it is seen, so it gets that when it lives.
        fresh, folder = self.folder / f"{_NEW}{name}", self.folder / name
        fresh.mkdir(mode=0o700)
        own: int | None = None
        try:
            write_json(fresh / ASKED, asked)
            write_json(fresh / SETTINGS, dict(wish.settings))
            write_json(fresh / STATE, State(status="running", began=now))
            own = held(fresh / ALIVE)
            assert own is not None
            fresh.rename(folder)
            self._keep(folder, wish.job, (host, own))
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            if own is not None:
                os.close(own)
        self._forget_old()
        run = _read(folder)
        assert run is not None
        return run

    def _keep(self, folder: Path, job: str, descriptors: tuple[int, int]) -> None:
        self._reap()
        job_words = [*self._command, job, "--settings", str(folder / SETTINGS), "--progress", "json"]
        locks = ",".join(map(str, descriptors))
        keeper = [*_KEEPER, str(folder), locks, str(self._grace_s)]
        with (folder / NOISE).open("wb") as noise:
            started = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                [*keeper, *job_words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=noise,
                pass_fds=descriptors,
                start_new_session=True,
            )
        self._keepers.append(started)

    def _free_host(self) -> int:
        """Take the host's lock; who has told its end needs a moment to let go of it. Raises RunError, OSError."""
        latest = time.monotonic() + _LETS_GO_S
        while (host := held(self.folder / _HOST)) is None:
            other = self.running()
            if other is not None:
                raise RunError(
                    "the job %(job)s for %(subject)s, by %(who)s, still runs on this machine: wait for it, or stop it",
                    job=other.asked.job,
                    subject=other.asked.subject,
                    who=other.asked.who,
                )
            if time.monotonic() > latest:
                raise RunError("another job is just beginning or ending on this machine: try again in a moment")
            time.sleep(_LOOK_S)
        return host

    def _each(self) -> Iterator[Run]:
        """Yield the runs that can be read, the newest first, each when it is asked for."""
        return (run for name in self._names() if (run := _read(self.folder / name)) is not None)

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.folder) as found:
                return sorted((one.name for one in found if ID.fullmatch(one.name)), reverse=True)
        except FileNotFoundError:
            return []

    def _forget_old(self) -> None:
        for name in self._names()[KEPT:]:
            if not alive(self.folder / name):
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def _reap(self) -> None:
        """Let the system forget keepers that have ended."""
        self._keepers = [one for one in self._keepers if one.poll() is None]


def _read(folder: Path) -> Run | None:
    # Asked first: who has ended since has written its end before that.
    living = alive(folder)
    try:
        asked, state = read_json(folder / ASKED), read_json(folder / STATE)
        if asked is None or state is None:
            return None
        run = Run(Asked.model_validate(asked), State.model_validate(state), folder)
    except (RunFolderError, ValidationError):
        return None  # damaged: there is nothing to show of it
    if run.running and not living:
        return Run(run.asked, run.state.model_copy(update={"status": "lost"}), folder)
    return run
