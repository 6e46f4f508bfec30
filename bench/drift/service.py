"""What the drift service costs: verdicts a second through one worker, memory and bytes a state, and linearity.

`counting` is the service's own work without Kafka: count, watch, and make what is kept. `worker` is the process itself
on the development broker, from a topic that is full until every verdict is counted. The baseline in both is the first
number of states. With `--former` a worker of another checkout takes turns with this one's: on a machine with other work
the ratio of their processor time says more than the clock.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from aiokafka.admin import AIOKafkaAdminClient

from bench.processes import cpu_s, resident_mib
from neverblink.brokers.apache import free_port
from neverblink.demo.drift.drift_simulation import Simulation, write_plant
from neverblink.demo.drift.scenarios import SCENARIOS, Line
from neverblink.drift.changelog import app_id
from neverblink.drift.history import Calendar
from neverblink.drift.station_watch import StationWatch
from neverblink.drift.stations import Stations
from neverblink.drift.statistics import Windowing
from neverblink.events import ArtifactRef, Decision, Quality, Times, Verdict
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.kafka.connection import connection_settings
from neverblink.plant import Kafka
from neverblink.service_life.children import Services

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
ARTIFACT = ArtifactRef(name="part", version="1", digest="sha256:" + "a" * 64)
SECONDS = 6.0
A_STATE = 22
"""Verdicts of each state: two windows of a minute are closed, and the third is open."""


def verdicts(states: int) -> Iterator[Verdict]:
    """Yield ten parts a minute of so many stations, twenty to a line."""
    for number in range(A_STATE):
        for state in range(states):
            captured = START + timedelta(seconds=number * SECONDS + state * SECONDS / states)
            identity = f"{state}-{number}"
            yield Verdict(
                id=verdict_id(identity), frame_id=identity, line=f"line-{state // 20}", station=f"s{state % 20}",
                product="part", part=identity, seq=number, decision=Decision.PASS, score=0.5, threshold=1.0,
                ratio=0.45 + 0.001 * (state % 97), artifact=ARTIFACT,
                quality=Quality(brightness=0.4, contrast=0.1, sharpness=180, saturation=0.01),
                times=Times(captured=captured, batched=captured, scored=captured), deadline=captured,
            )  # fmt: skip


def counting(states: int) -> tuple[float, float, float, float]:
    """Return µs a verdict, MiB of the states alone, bytes kept a state and bytes written a verdict."""
    stream = list(verdicts(states))
    kept: dict[bytes, int] = {}
    gc.collect()
    before = resident_mib()
    stations = Stations(Windowing(60, 10), Calendar(), lambda _: None)
    written, began = 0, time.process_time()
    for offset, verdict in enumerate(stream):
        taken = stations.take(verdict, (0, offset), verdict.times.captured.timestamp())
        for key, value in taken.changes.items():
            kept[key] = len(value or b"")
            written += kept[key]
    spent = time.process_time() - began
    return (
        1e6 * spent / len(stream),
        resident_mib() - before,
        sum(kept.values()) / states,
        written / len(stream),
    )


def grown_bytes(weeks: int) -> tuple[int, int]:
    """Return the bytes of one state after so many weeks: what is written with a window, and with a shift."""
    watch, calendar = StationWatch(), Calendar()
    for window in Line(SCENARIOS[0], 0, per_minute=2, window_s=1800).windows(weeks):
        watch.take(window, calendar)
    return len(orjson.dumps(watch.to_json())), len(watch.history.archive())


@contextlib.contextmanager
def code_of(checkout: Path | None) -> Iterator[None]:
    """Have processes that are started meanwhile run the code of a checkout, None for this one."""
    before = os.environ.get("PYTHONPATH")
    if checkout is not None:
        os.environ["PYTHONPATH"] = str(checkout / "services")
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)
        if before is not None:
            os.environ["PYTHONPATH"] = before


async def worker(states: int, folder: Path, checkout: Path | None = None) -> tuple[float, float, float]:
    """Return verdicts a second, µs of processor time a verdict and MiB of a worker that counts a full topic."""
    services = Services(folder / "logs")
    try:
        port = free_port()
        await services.start("broker", "broker", "--port", str(port))
        await services.until_ready(["broker"], 60, lambda _: None)
        kafka = Kafka(bootstrap=f"127.0.0.1:{port}", partitions=4)
        write_plant(folder, kafka, Simulation(SCENARIOS[0], per_minute=10))
        await ensure_topics(kafka)
        count = 0
        async with EventProducer(kafka, source="/bench", client_id="bench") as producer:
            some: list[asyncio.Task[object]] = []
            for count, verdict in enumerate(verdicts(states), start=1):  # noqa: B007 - counted to the end
                some.append(asyncio.create_task(producer.send(verdict)))
                if len(some) >= 500:
                    await asyncio.gather(*some)
                    some = []
            await asyncio.gather(*some)
        with code_of(checkout):
            await services.start("drift", "drift", "--plant", str(folder / "plant.yaml"))
        await services.until_ready(["drift"], 120, lambda _: None)
        began, spent = time.monotonic(), cpu_s(services.pid("drift"))
        while await committed(kafka) < count:
            services.check()
            await asyncio.sleep(0.2)
        rate, spent = count / (time.monotonic() - began), cpu_s(services.pid("drift")) - spent
        return rate, 1e6 * spent / count, resident_mib(services.pid("drift"))
    finally:
        await services.stop()


async def committed(kafka: Kafka) -> int:
    """Return how many verdicts the service has acknowledged."""
    admin = AIOKafkaAdminClient(**connection_settings(kafka, "bench"))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(app_id(kafka))
    finally:
        await admin.close()
    return sum(
        max(0, meta.offset) for place, meta in offsets.items() if place.topic == f"{kafka.topic_prefix}.verdicts"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--without-worker", action="store_true", help="only what needs no broker")
    parser.add_argument("--former", type=Path, help="a checkout of an earlier version, to take turns with")
    parser.add_argument("--rounds", type=int, default=1, help="how often the worker is measured")
    given = parser.parse_args()
    print("| counting, states | µs a verdict | over the first | MiB | MiB a 1,000 | kept, bytes a state | written |")
    print("|---|---|---|---|---|---|---|")
    first = None
    for states in given.states:
        micros, mib, kept, written = counting(states)
        first = first or micros
        print(
            f"| {states:,} | {micros:.0f} | {micros / first:.2f} | {mib:.0f} | {1000 * mib / states:.1f} | {kept:,.0f} "
            f"| {written:,.0f} bytes a verdict |",
            flush=True,
        )
    print("\n| one state after | with a window | with a shift |\n|---|---|---|")
    for weeks in (1, 4, 13):
        window, shift = grown_bytes(weeks)
        print(f"| {weeks} weeks | {window:,} bytes | {shift:,} bytes |", flush=True)
    if given.without_worker:
        return
    print("\n| worker, states | verdicts/s | µs of a processor a verdict | MiB |\n|---|---|---|---|")
    for states in given.states:
        for _ in range(given.rounds):
            took = []
            for name, checkout in (("", None), (", former", given.former))[: 2 if given.former else 1]:
                with tempfile.TemporaryDirectory(prefix="neverblink-bench-") as folder:
                    rate, micros, mib = asyncio.run(worker(states, Path(folder), checkout))
                took.append((rate, micros))
                print(f"| {states:,}{name} | {rate:,.0f} | {micros:,.0f} | {mib:.0f} |", flush=True)
            if given.former:
                (rate, micros), (former_rate, former_micros) = took
                print(f"| times | {rate / former_rate:.2f} | {former_micros / micros:.2f} | |", flush=True)


if __name__ == "__main__":
    main()
