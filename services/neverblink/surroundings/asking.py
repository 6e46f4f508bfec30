"""Asks whether somebody answers at the addresses that a plant file names; nothing is sent to anybody."""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

from neverblink.plant import Plant, RtspSource
from neverblink.service_life.time_limit import time_limit
from neverblink.shown import without_secrets
from neverblink.surroundings.finding import At, Finding

WITHIN_S = 2.0
_AT_ONCE = 32
_PORTS = {"postgresql": 5432, "opc.tcp": 4840, "rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


async def ask(plant: Plant, within_s: float = WITHIN_S) -> list[Finding]:
    """Return at which addresses nobody takes a connection within the time; each address is asked once."""
    places: dict[tuple[str, int], At] = {}
    for at, host, port in _addresses(plant):
        places.setdefault((host, port), at)
    several = asyncio.Semaphore(_AT_ONCE)

    async def one(host: str, port: int, at: At) -> Finding | None:
        async with several:
            why = await _refusal(host, port, within_s)
        return None if why is None else Finding(at, f"nobody answers at {without_secrets(host)}:{port}: {why}")

    found = await asyncio.gather(*(one(host, port, at) for (host, port), at in places.items()))
    return [finding for finding in found if finding is not None]


async def _refusal(host: str, port: int, within_s: float) -> str | None:
    try:
        async with time_limit(within_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {within_s:g} s; is it switched on, and does a firewall let us through?"
    except OSError as error:
        return f"{error.strerror or error}"
    writer.close()
    return None


def _addresses(plant: Plant) -> Iterator[tuple[At, str, int]]:
    for one in plant.kafka.bootstrap.split(","):
        host, _, port = one.rpartition(":")
        yield ("kafka", "bootstrap"), host.strip("[]"), int(port)
    yield from _of_url(("storage", "ledger"), plant.storage.ledger)
    yield from _of_url(("console", "database"), plant.console.database)
    for number, line in enumerate(plant.lines):
        if line.plc is not None:
            yield from _of_url(("lines", number, "plc", "endpoint"), line.plc.endpoint)
        for place, station in enumerate(line.stations):
            if isinstance(station.source, RtspSource):
                yield from _of_url(("lines", number, "stations", place, "source", "url"), station.source.url)


def _of_url(at: At, url: str) -> Iterator[tuple[At, str, int]]:
    parts = urlsplit(url)
    kind = parts.scheme.partition("+")[0]
    if kind in _PORTS and parts.hostname:
        yield at, parts.hostname, parts.port or _PORTS[kind]
