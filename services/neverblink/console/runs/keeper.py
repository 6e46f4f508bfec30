"""Beside each job stands a keeper: it follows the job's lines, keeps how far it is, and stops it when it is asked to.

`python -m neverblink.console.runs.keeper FOLDER DESCRIPTORS GRACE_S COMMAND…` is a process of its own session, so the
console may end, be killed and begin again meanwhile. Keeper and job hold the descriptors of two locks, of this run and
of the host: while either lives, the run is alive and no other begins. GRACE_S are the seconds from being asked to end
until being ended.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from pydantic import ValidationError

from neverblink.console.runs.run_folder import (
    CANCEL,
    LONGEST_LINE,
    LONGEST_NOISE,
    MOST_FIGURES,
    MOST_STAGES,
    NOISE,
    RESULT,
    STATE,
    Figures,
    Stage,
    State,
    Status,
    write_json,
)
from neverblink.job_life.lines import LINES, ErrorLine, FiguresLine, ProgressLine, ResultLine
from neverblink.storage.whole_file import write_whole

LONGEST_S: Final = 24 * 3600.0
"""After a day a job is stopped: no wait is without end."""

_LOOK_S: Final = 0.2
_WRITE_S: Final = 0.25
_STOPPED_CODE: Final = 130
_NICER: Final = 10
"""A job is not to take the processor from what inspects parts on the same machine."""


class Telling:
    """What a job has told so far. Filled by the thread that reads its lines."""

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._stages: dict[str, Stage] = {}
        self._figures: deque[Figures] = deque(maxlen=MOST_FIGURES)
        self._lock = threading.Lock()
        self.last: ResultLine | ErrorLine | None = None

    def hear(self, text: bytes, now: datetime) -> None:
        """Take one line; what is none of ours is passed over."""
        try:
            line = LINES.validate_json(text)
        except ValidationError:
            return
        with self._lock:
            if isinstance(line, ProgressLine):
                before = self._stages.get(line.stage)
                began = now if before is None else before.began
                self._stages[line.stage] = Stage(
                    name=line.stage[:200], done=line.done, total=line.total, began=began, at=now
                )
                while len(self._stages) > MOST_STAGES:
                    del self._stages[next(iter(self._stages))]
            elif isinstance(line, FiguresLine):
                self._figures.append(Figures(stage=line.stage[:200], figures=line.figures))
            else:
                self.last = line

    def state(self, status: Status = "running", **more: object) -> State:
        """Return how far it is."""
        with self._lock:
            stages, figures = tuple(self._stages.values()), tuple(self._figures)
        values = {"status": status, "began": self._began, "stages": stages, "figures": figures, **more}
        return State.model_validate(values)


def keep(folder: Path, command: Sequence[str], descriptors: Sequence[int], grace_s: float) -> None:
    """Run a job to its end, or until somebody asks for it or a day is over, and keep what it says."""
    telling = Telling(_now())
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    begun = telling.state()
    write_json(folder / STATE, begun)
    child = subprocess.Popen(  # noqa: S603 - what the console asks for, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    noise = bytearray()
    readers = [
        threading.Thread(target=_hear, args=(child.stdout, telling), name="lines", daemon=True),
        threading.Thread(target=_listen, args=(child.stderr, noise), name="noise", daemon=True),
    ]
    for reader in readers:
        reader.start()
    stopped = _until_it_ends(child, folder, telling, begun, asked_to_end, grace_s)
    for reader in readers:
        reader.join(5.0)  # what the job has left behind may hold the pipes
    write_whole(folder / NOISE, bytes(noise[-LONGEST_NOISE:]), mode=0o600, forced=False)
    _end(folder, telling, child.returncode, stopped=stopped)


def _until_it_ends(
    child: "subprocess.Popen[bytes]",
    folder: Path,
    telling: Telling,
    told: State,
    asked_to_end: threading.Event,
    grace_s: float,
) -> bool:
    """Wait for a job's end, telling how far it is, where that is not what was `told`; return whether it was stopped."""
    latest, written = time.monotonic() + LONGEST_S, 0.0
    ended_by: float | None = None
    while True:
        try:
            child.wait(_LOOK_S)
            return ended_by is not None
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        if ended_by is None and (asked_to_end.is_set() or now > latest or (folder / CANCEL).exists()):
            ended_by = now + grace_s
            _signal(child, signal.SIGTERM)
        elif ended_by is not None and now > ended_by:
            _signal(child, signal.SIGKILL)
        state = telling.state()
        if state != told and now - written >= _WRITE_S:
            write_json(folder / STATE, state)
            told, written = state, now


def _signal(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Tell a job and what it has started."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return  # it has just ended


def _end(folder: Path, telling: Telling, code: int, *, stopped: bool) -> None:
    """Write how it ended: the result first, so that who reads the end finds it."""
    last = telling.last
    status: Status
    error: str | None = None
    if isinstance(last, ResultLine):
        status = "done" if last.exit_code == 0 else "bad"
        write_json(folder / RESULT, last.result)
    elif stopped or (last is not None and last.exit_code == _STOPPED_CODE):
        status = "stopped"
    else:
        status = "failed"
        error = None if last is None else last.error[:20_000]
    write_json(folder / STATE, telling.state(status, ended=_now(), exit_code=code, error=error))


def _hear(lines: IO[bytes], telling: Telling) -> None:
    while line := lines.readline(LONGEST_LINE):
        telling.hear(line, _now())


def _listen(noise: IO[bytes], kept: bytearray) -> None:
    while more := noise.read1(8192):  # type: ignore[attr-defined]  # a pipe of bytes is buffered
        kept += more
        if len(kept) > 2 * LONGEST_NOISE:
            del kept[:-LONGEST_NOISE]


def _now() -> datetime:
    return datetime.now(UTC)


def main(words: Sequence[str]) -> None:
    """Keep the run of a command line."""
    folder, descriptors, grace_s, *command = words
    os.nice(_NICER)
    keep(Path(folder), command, [int(one) for one in descriptors.split(",")], float(grace_s))


if __name__ == "__main__":
    main(sys.argv[1:])
