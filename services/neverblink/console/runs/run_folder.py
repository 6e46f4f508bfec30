"""What the folder of a run holds: who asked for what, how far it is, and how it ended. Written by its keeper alone."""

import fcntl
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from neverblink.errors import NeverblinkError
from neverblink.storage.whole_file import write_whole

ASKED, STATE, RESULT, SETTINGS, NOISE = "asked.json", "state.json", "result.json", "settings.json", "errors.txt"
ALIVE, CANCEL = "alive", "cancel"
LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line of a job: the figures of a report fit; what is longer is not kept."""

LONGEST_NOISE: Final = 64 * 1024
"""Bytes that are kept of what a job says on standard error, the last ones."""

MOST_STAGES: Final = 40
MOST_FIGURES: Final = 200
_LARGEST = 2 * LONGEST_LINE

Status = Literal["running", "done", "bad", "failed", "stopped", "lost"]
"""`bad`: done, and the result is bad; `lost`: it ended without a word, as when the machine was switched off."""


class RunFolderError(NeverblinkError):
    """A run's folder that cannot be read; the message says what is wrong with it."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Asked(_Kept):
    """Who asked for which job, about what, why and when. `lines` are those that the job is about, `back` the page that
    it belongs to.
    """

    id: str
    job: str = Field(max_length=64)
    subject: str = Field(max_length=200)
    lines: tuple[str, ...] = Field(min_length=1)
    back: str = Field(max_length=500)
    who: str
    why: str
    at: datetime


class Stage(_Kept):
    """A stage of a job: `total` 0 is not known yet."""

    name: str
    done: int
    total: int
    began: datetime
    at: datetime


class Figures(_Kept):
    """How well a job does so far, where it learns."""

    stage: str
    figures: dict[str, float | None]


class State(_Kept):
    """How far a run is. `exit_code` and `error` are the job's own, once it has ended."""

    status: Status
    began: datetime
    ended: datetime | None = None
    stages: tuple[Stage, ...] = ()
    figures: tuple[Figures, ...] = ()
    exit_code: int | None = None
    error: str | None = None


def write_json(path: Path, content: BaseModel | dict[str, Any]) -> None:
    """Write a file that is there whole or not at all. Raises UnwritableError."""
    values = content.model_dump(mode="json") if isinstance(content, BaseModel) else content
    # No wait for the disk: what a machine that loses power forgets is a run that ended with it.
    write_whole(path, orjson.dumps(values), mode=0o600, forced=False)


def read_json(path: Path) -> Any | None:
    """Return what a file holds, None where there is none. Raises RunFolderError."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise RunFolderError(f"{path} is larger than {_LARGEST} bytes")
        return orjson.loads(content)
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError) as error:
        raise RunFolderError(f"{path} cannot be read: {error}") from error


def held(path: Path) -> int | None:
    """Take a lock file, and return its descriptor; None while somebody else holds it.

    Who inherits the descriptor holds the lock on: it is free when the last of them has ended, however it ended. Raises
    OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def alive(folder: Path) -> bool:
    """Say whether a run's keeper or its job lives."""
    try:
        descriptor = os.open(folder / ALIVE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
