"""What a frame costs when one scorer has more products and more stations, beside one product and one station.

The whole service on the development broker, with a backlog that no deadline presses. One model is fitted; the others
have its bank with some noise, each its own artifact with its own digest. Frames of the products come from the same
four stations, one product after the other, so that every batch has frames of as many products as it can.
"""

import argparse
import asyncio
import logging
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.line.scorer import LONG_S, Site, Speed, fit_drawn, saturation

# isort: split
import numpy as np

from neverblink.brokers.broker import open_broker
from neverblink.events import Frame
from neverblink.scorer.models import Models
from neverblink.vision.artifact import Artifact, load_artifact, save_artifact
from neverblink.vision.artifact_manifest import Description

MIB = 1 << 20
PRODUCTS = (1, 10, 50, 100, 200)
STATIONS = (1, 4, 16, 64)
SENDING = 4
PARTITIONS = 48


def another(found: Artifact, artifacts: Path, name: str, number: int) -> None:
    """Write an artifact of another product, whose bank is that of `found` with noise."""
    random = np.random.default_rng(number)
    described = {field: getattr(found.manifest, field) for field in Description.model_fields}
    save_artifact(
        artifacts / name,
        Description(**{**described, "name": name, "product": name}),
        bank=found.bank + random.normal(0, 1e-3, found.bank.shape).astype(np.float32) * np.abs(found.bank),
        scores=found.scores,
        peaks=found.peaks,
        neighbours=found.neighbours,
    )


def opened(site: Site) -> tuple[Models, list[float]]:
    """Open the models of all stations of a site, and return the seconds that each took."""
    models, seconds = Models(site.plant), []
    for place in models.stations:
        began = time.perf_counter()
        models.put(place, models.opened(place, None))
        seconds.append(time.perf_counter() - began)
    return models, seconds


def held_mib(models: Models) -> float:
    """Return the MiB of the models in memory, as the scorer counts them."""
    return models._loader.memory.bytes / MIB


def resident_mib() -> float:
    """Return the most MiB that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def grown(
    rows: Sequence[int],
    rounds: int,
    prepared: Callable[[int], tuple[Site, list[Frame]]],
    models: Models,
    title: str,
) -> None:
    """Print the speed of each row and its ratio to the first, medians of rounds that go through all rows."""
    found: dict[int, list[Speed]] = {row: [] for row in rows}
    for turn in range(rounds):
        for row in rows if turn % 2 == 0 else reversed(rows):
            site, frames = prepared(row)
            found[row].append(await saturation(site, models, "ours", frames))
    speeds = {row: median(one.frames_s for one in found[row]) for row in rows}
    costs = {row: median(one.cpu_ms for one in found[row]) for row in rows}
    print(f"\n| {title} | frames/s | ms a frame | CPU ms a frame | frames/s to the first | CPU to the first |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row} | {speeds[row]:.1f} | {1000 / speeds[row]:.1f} | {costs[row]:.1f}"
            f" | {speeds[row] / speeds[rows[0]]:.2f} | {costs[row] / costs[rows[0]]:.2f} |",
            flush=True,
        )


async def measure(settings: argparse.Namespace, artifacts: Path) -> None:
    """Print all tables."""
    most = max(settings.products)
    found = load_artifact(artifacts / "part")
    names = ["part", *(f"part-{number}" for number in range(2, most + 1))]
    for number, name in enumerate(names[1:], start=2):
        another(found, artifacts, name, number)
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the beginning")
    async with open_broker("development") as broker:
        one = Site(broker.bootstrap, artifacts, 1, settings.max_batch)
        single, _ = await asyncio.to_thread(opened, one)
        alone = held_mib(single)

        def of_products(count: int) -> tuple[Site, list[Frame]]:
            site = Site(broker.bootstrap, artifacts, most, settings.max_batch, products=names)
            return site, [
                site.frame(number, site.lines[number % SENDING], LONG_S, names[number // SENDING % count])
                for number in range(settings.frames)
            ]

        def of_stations(count: int) -> tuple[Site, list[Frame]]:
            site = Site(broker.bootstrap, artifacts, max(STATIONS), settings.max_batch, partitions=PARTITIONS)
            return site, [site.frame(number, site.lines[number % count], LONG_S) for number in range(settings.frames)]

        stations, _ = await asyncio.to_thread(opened, of_stations(1)[0])
        await grown(STATIONS, settings.rounds, of_stations, stations, f"stations, {PARTITIONS} partitions")

        before = resident_mib()
        models, seconds = await asyncio.to_thread(opened, of_products(1)[0])
        assert all(place.active for place in models.stations.values())
        each = (held_mib(models) - alone) / max(1, most - 1)
        bank = found.bank.shape
        print(
            f"\none product holds {alone:.1f} MiB with the network, each further one {each:.2f} MiB (bank {bank[0]} ×"
            f" {bank[1]}): {most} hold {held_mib(models):.0f} MiB; the process grew by {resident_mib() - before:.0f}"
            f" MiB; opening one takes {1000 * median(seconds):.0f} ms"
        )
        await grown(settings.products, settings.rounds, of_products, models, "products")

        bound = round(alone + each * most / 4)
        bounded = Site(broker.bootstrap, artifacts, most, settings.max_batch, products=names, memory_mib=bound)
        few, _ = await asyncio.to_thread(opened, bounded)
        scored = sum(place.active is not None for place in few.stations.values())
        print(
            f"\nwith a bound of {bound} MiB, {scored} of {most} products are loaded ({held_mib(few):.0f} MiB) and the"
            f" parts of {most - scored} are told as no-model: what a station uses is never let go for another's"
        )


def main() -> None:
    """Fit one model, make the others of it, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=240, help="frames of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--products", type=int, nargs="+", default=PRODUCTS)
    settings = parser.parse_args()
    logging.getLogger("neverblink").setLevel(logging.CRITICAL)  # each product that does not fit is an error
    with TemporaryDirectory() as folder:
        asyncio.run(measure(settings, fit_drawn(Path(folder))))


if __name__ == "__main__":
    main()
