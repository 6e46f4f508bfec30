"""A session that is cancelled although nobody asked begins again: its line and station serve parts, and it is told."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rigs.accident_floor import TIMING, camera, running
from rigs.plc_floor import Floor

WITHIN_S = 40.0
PARTS = 3


async def within(seconds: float, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until:  # noqa: ASYNC110 - other processes' state
        await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.plant
async def test_lines_and_stations_serve_parts_after_each_session_was_cancelled_by_accident(tmp_path: Path) -> None:
    wanted = Floor(
        lines=2, rate=2.0, security="Basic256Sha256", networks=False, timing=TIMING, payload="jpeg", defects=0.2
    )
    serving = [name for line in wanted.names for name in (line, camera(line))]
    moments = {f"{'camera' if '/' in name else 'bridge'} {name}": [4.0 + at] for at, name in enumerate(serving)}
    async with running(wanted, tmp_path, moments) as floor:
        await within(WITHIN_S, lambda: len(floor.accidents()) == len(serving))
        assert len(floor.accidents()) == len(serving)
        cancelled = time.time()
        await within(WITHIN_S, lambda: all(floor.serves(name, cancelled) >= PARTS for name in serving))
        assert {name: min(PARTS, floor.serves(name, cancelled)) for name in serving} == dict.fromkeys(serving, PARTS)
        await within(WITHIN_S / 4, lambda: not floor.missing_tasks())
        assert floor.missing_tasks() == []
        # Each end is an error with its traceback, and is counted; no process had to be started again for it.
        assert floor.unlogged() == []
        for logged, counted in floor.deaths().values():
            assert logged == counted
            assert logged >= len(wanted.names)
        assert not any(service.restarts for service in floor.services.values())
        assert not floor.incidents
