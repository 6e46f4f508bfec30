"""The demonstration's console: where it listens, an account for whoever looks, the part that the summary leads to."""

import shutil
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from neverblink.console.access.accounts import make_first
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.passwords import ONE_TIME_HOURS, one_time
from neverblink.demo.board import LineState
from neverblink.demo.ports import usual_port
from neverblink.demo.stream import Stream
from neverblink.events import Decision, Verdict
from neverblink.plant import ConsoleSettings, Plant, PlantError

_KEPT = ("console.db", "console.db-wal", "console.db-shm", "plant.yaml")
"""Accounts outlast the run; the plant file marks the folder as one of ours, and is written anew."""


def fresh(folder: Path) -> Path:
    """Empty the run folder but for the console's accounts, only if it is one of ours. Raises PlantError."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "plant.yaml").exists():
        raise PlantError(f"{folder} is not empty and is no earlier demonstration; choose another --folder")
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.name in _KEPT:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return folder.resolve()


def console_port(usual: int | None = None) -> int:
    """Return the port that the console has in a plant, another one where that is taken."""
    return usual_port(usual or ConsoleSettings().port)


def address_of(plant: Plant) -> str:
    """Return where the console is reached, as a URL."""
    return f"http://{plant.console.host}:{plant.console.port}"


def invitation(plant: Plant, folder: Path) -> str:
    """Make the first account where there is none, and return how to get in. Raises AccessError."""
    password = one_time()
    with closing(AccessDatabase(plant.console.database)) as access, access.writing() as connection:
        made = make_first(connection, datetime.now(UTC), password)
    if made is None:
        return (
            f"The console is at {address_of(plant)} with the accounts of an earlier run, so no password is printed."
            f' Forgotten? neverblink console account admin --why "forgotten" --plant {folder / "plant.yaml"}'
        )
    return (
        f"The console is at {address_of(plant)}: sign in as admin with the one-time password {password}"
        f" within {ONE_TIME_HOURS} hours, and choose your own."
    )


def rejected_part(plant: Plant, streams: Iterable[Stream], lines: dict[str, LineState]) -> str | None:
    """Return the address of the part that `last_reject` names; None without a reject."""
    verdict = last_reject(streams, lines)
    return None if verdict is None else f"{address_of(plant)}/verdicts/{verdict.id}"


def last_reject(streams: Iterable[Stream], lines: dict[str, LineState]) -> Verdict | None:
    """Return the verdict of the last rejected part, rather one that is defective in truth; None without a reject."""
    rejects = [
        ((_defective(stream, verdict), verdict.occurred, verdict.id), verdict)
        for stream in streams
        for verdict in lines[stream.line].verdicts.values()
        if verdict.decision is Decision.REJECT
    ]
    return max(rejects, key=lambda one: one[0])[1] if rejects else None


def last_not_passed(streams: Iterable[Stream], lines: dict[str, LineState]) -> Verdict | None:
    """Return the verdict of `last_reject`, or of the last part without a score where none was rejected."""
    reject = last_reject(streams, lines)
    if reject is not None:
        return reject
    verdicts = [verdict for state in lines.values() for verdict in state.verdicts.values()]
    unscored = [verdict for verdict in verdicts if verdict.decision is Decision.UNSCORED]
    return max(unscored, key=lambda verdict: verdict.occurred, default=None)


def _defective(stream: Stream, verdict: Verdict) -> bool:
    return verdict.tracking is not None and stream.truth(verdict.tracking.number) is not None
