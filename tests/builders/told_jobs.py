"""A job that does as its settings say, for tests of those who follow jobs."""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neverblink.console.runs.book import Run, Runs, Wish

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
_JOB = """
import json, os, signal, sys, time
settings = json.load(open(sys.argv[3]))
job = sys.argv[1]
results = json.load(open(os.path.join(os.path.dirname(__file__), "results.json")))
def told(**line):
    print(json.dumps({"job": job, **line}), flush=True)
def ended(*_):
    told(kind="error", exit_code=130, error="stopped")
    os._exit(130)
signal.signal(signal.SIGTERM, signal.SIG_IGN if settings.get("deaf") else ended)
for stage in settings.get("stages", []):
    told(kind="progress", stage=stage, done=1, total=2)
sys.stderr.write(settings.get("noise", ""))
sys.stderr.flush()
while "until" in settings and not os.path.exists(settings["until"]):
    time.sleep(0.02)
if "killed" in settings:
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
print("this is no line of ours", flush=True)
if "error" in settings:
    told(kind="error", exit_code=2, error=settings["error"])
    sys.exit(2)
code = settings.get("code", 0)
told(kind="result", exit_code=code, result=settings.get("result", results.get(job, {"promise": "kept"})))
sys.exit(code)
"""


def told_runs(folder: Path, *, grace_s: float = 20.0, results: dict[str, Any] | None = None) -> Runs:
    """Return runs below a folder whose jobs do as they are told, and come to `results` by the job's name."""
    (folder / "results.json").write_text(json.dumps(results or {}))
    script = folder / "job.py"
    script.write_text(_JOB)
    return Runs(folder / "work", command=(sys.executable, str(script)), grace_s=grace_s)


def wish(line: str = "line-1", job: str = "fit", **settings: object) -> Wish:
    """Return the wish for a job that does so."""
    return Wish(job, settings, "pcb", (line,), "/wall")


def once(runs: Runs, name: str, holds: Callable[[Run], bool]) -> Run:
    """Return a run once something holds of it."""
    until = time.monotonic() + 60
    while True:
        run = runs.find(name)
        assert run is not None
        if holds(run):
            return run
        assert time.monotonic() < until, f"within a minute it did not come to that: {run.state}"
        time.sleep(0.02)
