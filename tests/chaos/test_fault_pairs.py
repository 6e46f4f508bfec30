"""Twelve pairs of the fault table, each a service against one fault of what it depends on; the bench tries all."""

import asyncio
from functools import cache
from pathlib import Path

import pytest

from rigs.faults.pairs import PAIRS, Pair, Service
from rigs.faults.site import SECOND, Sites
from rigs.faults.trial import Bounds, Seen, tried
from rigs.postgresql import PostgresqlServer
from rigs.scored_line import fit_striped, refit_striped

BOUNDS = Bounds(outage_s=6.0, says_s=60.0, heals_s=90.0, stops_s=40.0, waits_s=45.0)
"""A busy machine waits longer for the same states. The bench has the page's own bounds."""

SIDE_BY_SIDE = 6
TWELVE = [pair for pair in PAIRS if pair.in_tests]


def the_sites(folder: Path) -> Sites:
    @cache
    def artifacts() -> Path:
        found = fit_striped(folder)
        refit_striped(found, SECOND, ratio=0.02)
        return found

    def no_server() -> PostgresqlServer:
        pytest.fail("none of the twelve needs PostgreSQL")

    return Sites(artifacts, no_server)


async def seen_of(pairs: list[Pair], folder: Path) -> list[Seen]:
    """Try the pairs, some side by side: most of their time is waiting."""
    sites = the_sites(folder)
    if any(pair.service == "scorer" for pair in pairs):
        await asyncio.to_thread(sites.artifacts)
    seats = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(pair: Pair) -> Seen:
        place = folder / pair.name.replace(":", "-")
        place.mkdir()
        async with seats:
            return await tried(pair, sites, place, BOUNDS)

    return await asyncio.gather(*(one(pair) for pair in pairs))


@pytest.mark.plant
@pytest.mark.timeout(600)
@pytest.mark.parametrize("services", [("camera", "bridge", "drift", "ledger"), ("scorer",)], ids=["nine", "scorer"])
async def test_twelve_pairs_say_so_heal_and_stop(services: tuple[Service, ...], tmp_path: Path) -> None:
    assert len(TWELVE) == 12
    seen = await seen_of([pair for pair in TWELVE if pair.service in services], tmp_path)
    broken = {one.pair.name: one.broken() for one in seen if one.broken()}
    assert broken == {}, "\n".join(f"{one.pair.name} said {one.said!r}" for one in seen if one.broken())
