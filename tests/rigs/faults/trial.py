"""One pair tried: the service runs, the fault comes and goes, comes again, and the service is told to stop."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from neverblink.service_life.last_resort import GRACE
from rigs.faults.pairs import Pair
from rigs.faults.process import Said, ServiceProcess
from rigs.faults.site import Site, Sites, opened

FEWER_LINES: Final = 10
UP_WITHIN_S: Final = 300.0
_CALM_S = 1.0
_AGAIN_FOR_S = 3.0
_ASK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long the fault lasts, and how long what the page promises may take, in seconds.

    The outage lasts up to `waits_s` longer where the service has neither gone on nor said that it stands: on a machine
    that does much else everything comes later. `stops_s` is what a service is given from SIGTERM to SIGKILL.
    """

    outage_s: float
    says_s: float = 15.0
    heals_s: float = 60.0
    stops_s: float = 20.0
    waits_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a pair. Seconds; those from `fault` on count from its beginning, `healed_s` from its end.

    `said` is the first warning, or the first line where there was none. `went_on`: in the outage's second half the
    service's work reached whom it is for. `ends` are the exit codes of processes that ended untold.
    """

    pair: Pair
    bounds: Bounds
    outage_s: float
    said: str
    said_s: float | None
    warned: bool
    unready_s: float | None
    went_on: bool
    healed_s: float | None
    lines: int
    ends: tuple[int, ...]
    stop_s: float
    stop_code: int | None

    @property
    def lines_per_minute(self) -> float:
        """Return how fast it wrote during the outage."""
        return 60 * self.lines / self.outage_s

    def broken(self) -> list[str]:
        """Return the rules of the table that this pair broke, in words."""
        faults = []
        if self.healed_s is None:
            faults.append(f"did not heal within {self.bounds.heals_s:g} s")
        if self.ends:
            faults.append(f"ended by itself with {self.ends}")
        if self.stop_code != 0:
            faults.append(f"stopped with {self.stop_code} after {self.stop_s:.1f} s")
        if self.lines >= FEWER_LINES:
            faults.append(f"wrote {self.lines} lines in {self.outage_s:g} s")
        if not self.went_on and not self.warned:
            faults.append("stood still and did not say so")
        elif not self.went_on and self.said_s is not None and self.said_s > self.bounds.says_s:
            faults.append(f"said so after {self.said_s:.1f} s")
        if not self.went_on and self.unready_s is None and not self.pair.stays_ready:
            faults.append("stood still and stayed ready")
        return faults


async def tried(pair: Pair, sites: Sites, folder: Path, bounds: Bounds) -> Seen:
    """Try one pair in a folder of its own. Raises TimeoutError when the service does not come up."""
    async with opened(pair, sites, folder) as site:
        # Docker's and systemd's patience is two seconds more than what the service is told.
        site.environment |= {GRACE: f"{bounds.stops_s - 2:g}"}
        async with ServiceProcess(site.arguments, folder, site.environment) as process:
            try:
                await _until(lambda: process.is_ready and site.work.count > 0, UP_WITHIN_S)
            except TimeoutError as error:
                last = "; ".join(said.message for said in process.said[-5:])
                raise TimeoutError(
                    f"{pair.name}: ready {process.is_ready}, {site.work.count} effects; it said: {last}"
                ) from error
            await asyncio.sleep(_CALM_S)
            await site.part.begin(pair.fault)
            began = time.monotonic()
            await asyncio.sleep(bounds.outage_s)
            with contextlib.suppress(TimeoutError):
                await _until(lambda: _is_clear(site, process, began), bounds.waits_s)
            await site.part.end(pair.fault)
            ended = time.monotonic()
            healed_s = await _healed(lambda: process.is_ready and site.heals.since(ended) > 0, ended, bounds.heals_s)
            during = [said for said in process.said if began <= said.at < ended]
            went_on = site.work.between((began + ended) / 2, ended) > 0
            unready = process.unready_since(began)
            ends = tuple(code for at, code in process.ends if at >= began)
            await site.part.begin(pair.fault)
            await asyncio.sleep(_AGAIN_FOR_S)
            stop_s, code = await process.stop(bounds.stops_s)
            await site.part.end(pair.fault)
        first = _first(during)
        return Seen(
            pair, bounds, ended - began, "" if first is None else _without(first.message, folder),
            None if first is None else first.at - began, first is not None and first.is_warning,
            None if unready is None or unready > ended else unready - began, went_on, healed_s, len(during), ends,
            stop_s, code,
        )  # fmt: skip


def _is_clear(site: Site, process: ServiceProcess, began: float) -> bool:
    """Say whether the service still works in the outage, or has said all that it should of standing still."""
    now = time.monotonic()
    if site.work.between((began + now) / 2, now) > 0:
        return True
    warned = any(said.is_warning for said in process.said if said.at >= began)
    return warned and bool(site.pair.stays_ready or process.unready_since(began))


def _first(said: list[Said]) -> Said | None:
    return next((one for one in said if one.is_warning), said[0] if said else None)


def _without(message: str, folder: Path) -> str:
    return message.replace(str(folder), "…")


async def _healed(is_well: Callable[[], bool], since: float, within_s: float) -> float | None:
    try:
        await _until(is_well, within_s)
    except TimeoutError:
        return None
    return time.monotonic() - since


async def _until(true: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(_ASK_EVERY_S)
