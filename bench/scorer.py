"""The scorer on a broker: what batching by deadline gains over one frame at a time, and what it costs.

Frames travel through Kafka to a scorer in this process and verdicts back; a station is a line of its own. The naive
consumer polls a record, decodes it, scores it, sends the verdict, commits, and takes the next: same model, same broker.
Images are drawn, so that nothing but this program is needed.
"""

import argparse
import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

import neverblink  # before torch: says how OpenMP waits  # noqa: F401

# isort: split
import cv2
import numpy as np

from neverblink.events import Decision, Frame, Reason, Times, Verdict
from neverblink.events.identity import frame_id
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.kafka.broker import open_broker
from neverblink.plant import Kafka, Plant
from neverblink.scorer import verdicts
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from neverblink.trainer.fit import FitSettings, fit
from neverblink.vision.decode import decode
from neverblink.vision.hybrid import decide

SIDE, FRAME_SIDE, NORMALS = 256, 320, 40
LOADS = (0.3, 0.6, 0.9)
LONG_S = 3600.0
PICTURES = 16


def drawn(number: int) -> np.ndarray:
    """Draw a part with stripes and noise, (H, W, 3) uint8 RGB."""
    random = np.random.default_rng(number)
    stripes = 100 + 40 * np.sin(np.arange(FRAME_SIDE) / 9)[None, :, None]
    noisy = stripes + random.normal(0, 4, (FRAME_SIDE, FRAME_SIDE, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def png(number: int) -> bytes:
    """Return a drawn part as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(drawn(number), cv2.COLOR_RGB2BGR))[1].tobytes()


class Site:
    """A plant of `stations` lines on one broker, under a topic prefix of its own."""

    def __init__(self, bootstrap: str, artifacts: Path, stations: int, max_batch: int) -> None:
        self.kafka = Kafka(bootstrap=bootstrap, topic_prefix=f"b{uuid4().hex[:8]}", partitions=8, replication=1)
        self.lines = [f"line-{number}" for number in range(1, stations + 1)]
        self.plant = Plant.model_validate(
            {
                "site": "bench",
                "kafka": self.kafka.model_dump(),
                "storage": {"artifacts": artifacts},
                "scorer": {"max_batch": max_batch},
                "products": [{"name": "part", "artifact": "part"}],
                "lines": [
                    {
                        "name": name,
                        "timing": {"distance_to_gate_m": 60, "speed_m_s": 1},
                        "stations": [
                            {
                                "name": "top",
                                "product": "part",
                                "source": {"kind": "simulated", "drawing": "pcb"},
                                "trigger": {"kind": "timer"},
                            }
                        ],
                    }
                    for name in self.lines
                ],
            }
        )
        self._bodies = [png(number) for number in range(PICTURES)]
        self._digests = [hashlib.sha256(body).hexdigest() for body in self._bodies]

    def frame(self, number: int, line: str, left_s: float) -> Frame:
        """Build a frame that is captured now."""
        now, place = datetime.now(UTC), number % PICTURES
        return Frame(
            id=frame_id(now),
            line=line,
            station="top",
            product="part",
            part=f"{line}/{number}",
            seq=number,
            captured=now,
            published=now,
            deadline=now + timedelta(seconds=left_s),
            sha256=self._digests[place],
            size=len(self._bodies[place]),
            content_type="image/png",
            body=self._bodies[place],
        )


@dataclass(frozen=True)
class Told:
    """A verdict as it was read back. `seconds` from the trigger to the verdict's acknowledgement and arrival."""

    line: str
    seconds: float
    emitted_s: float
    is_late: bool
    outside_s: float


async def naive(site: Site, models: Models, stop: asyncio.Event) -> None:
    """Score one frame at a time."""
    group = f"{site.kafka.topic_prefix}-scorer"
    consumer = EventConsumer(site.kafka, "frames", client_id="naive", group=group)
    producer = EventProducer(site.kafka, source="/bench/naive", client_id="naive")
    async with producer, consumer:
        while not stop.is_set():
            for record in await consumer.poll(1):
                frame, _ = record.read(Frame)
                model = models["part"]
                times = Times(captured=frame.captured, received=datetime.now(UTC))

                def work(frame: Frame = frame) -> object:
                    return models.score([(model, model.inspector.prepare_defects(decode(frame.body)))])[0]  # noqa: B023

                inspection = await asyncio.to_thread(work)
                now = datetime.now(UTC)
                times = times.model_copy(update={"batched": times.received, "scored": now, "emitted": now})
                if now > frame.deadline:
                    verdict = verdicts.unscored(frame, Reason.LATE, "late", times)
                else:
                    score = inspection.anomaly.score  # type: ignore[attr-defined]
                    verdict = verdicts.in_time(
                        frame,
                        (),
                        score=score,
                        threshold=model.threshold,
                        artifact=model.reference,
                        decision=decide(score, model.threshold, (), model.policy),
                        defects=(),
                        times=times,
                    )
                await producer.send(verdict)
                await consumer.commit({record.place: record.offset + 1})


async def ours(site: Site, models: Models, stop: asyncio.Event) -> None:
    """Score as the service does."""
    group = f"{site.kafka.topic_prefix}-scorer"
    consumer = EventConsumer(site.kafka, "frames", client_id="scorer", group=group)
    producer = EventProducer(site.kafka, source="/bench/scorer", client_id="scorer")
    async with producer, consumer:
        await Scorer(consumer, producer, models, site.plant.scorer).run(stop)


@asynccontextmanager
async def running(site: Site, models: Models, kind: str) -> AsyncIterator[None]:
    """Run a scorer for the length of a measurement."""
    await ensure_topics(site.kafka)
    stop = asyncio.Event()
    task = asyncio.create_task((ours if kind == "ours" else naive)(site, models, stop))
    try:
        yield
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await task


class Reader:
    """Reads verdicts as they come."""

    def __init__(self, consumer: EventConsumer) -> None:
        self._consumer = consumer
        self.told: list[Told] = []

    async def until(self, count: int, within_s: float) -> None:
        """Read until there are that many, or the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(self.told) < count:
                    for record in await self._consumer.poll(timeout_s=0.05):
                        self._take(record.read(Verdict)[0])

    def _take(self, verdict: Verdict) -> None:
        times = verdict.times
        assert times.emitted is not None
        total = (datetime.now(UTC) - times.captured).total_seconds()
        computed = 0.0
        if times.scored is not None and times.batched is not None:
            computed = (times.scored - times.batched).total_seconds()
        late = verdict.decision is Decision.UNSCORED
        emitted = (times.emitted - times.captured).total_seconds()
        self.told.append(Told(verdict.line, total, emitted, late, total - computed))


async def saturation(site: Site, models: Models, kind: str, count: int) -> float:
    """Return frames/s of a backlog of `count` frames that no deadline presses."""
    await ensure_topics(site.kafka)
    async with (
        EventProducer(site.kafka, source="/bench", client_id="bench") as producer,
        EventConsumer(site.kafka, "verdicts", client_id="bench-reader") as consumer,
    ):
        frames = [site.frame(number, site.lines[number % len(site.lines)], LONG_S) for number in range(count)]
        await asyncio.gather(*(producer.send(frame) for frame in frames))
        reader = Reader(consumer)
        async with running(site, models, kind):
            await reader.until(count // 8, 120)  # joining the group is not measured
            first, began = len(reader.told), time.perf_counter()
            await reader.until(count, 300)
            return (len(reader.told) - first) / (time.perf_counter() - began)


async def at_load(
    site: Site, models: Models, kind: str, rate: float, seconds: float, left_s: float, *, backlog: int = 0
) -> list[Told]:
    """Return the verdicts of frames that come at `rate` a second, stations in turn; the first has a backlog."""
    await ensure_topics(site.kafka)
    async with (
        EventProducer(site.kafka, source="/bench", client_id="bench") as producer,
        EventConsumer(site.kafka, "verdicts", client_id="bench-reader") as consumer,
        running(site, models, kind),
    ):
        reader = Reader(consumer)
        warm = [site.frame(number, site.lines[number % len(site.lines)], LONG_S) for number in range(16)]
        await asyncio.gather(*(producer.send(frame) for frame in warm))
        await reader.until(len(warm), 60)
        reader.told.clear()
        behind = [asyncio.create_task(producer.send(site.frame(n, site.lines[0], LONG_S))) for n in range(backlog)]
        lines = site.lines[1:] if backlog else site.lines
        count = int(rate * seconds)
        reading = asyncio.create_task(reader.until(count + backlog, seconds + 60))
        began = time.perf_counter()
        sending = []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            sending.append(producer.post(site.frame(number, lines[number % len(lines)], left_s)))
        await asyncio.gather(*sending, *behind)
        await reading
        return reader.told


def engines_own(models: Models, max_batch: int, seconds: float) -> float:
    """Return the model's own images/s in full batches, from prepared images: no decoding, no broker."""
    model = models["part"]
    batch = [(model, model.inspector.prepare_defects(drawn(number))) for number in range(max_batch)]
    models.score(batch)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        models.score(batch)
        count += max_batch
    return count / (time.perf_counter() - began)


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile in ms."""
    return float(np.percentile(values, share)) * 1000 if values else float("nan")


async def measure(settings: argparse.Namespace, artifacts: Path) -> None:
    """Print all tables."""
    async with open_broker(settings.kafka) as broker:

        def site(stations: int = 4) -> Site:
            return Site(broker.bootstrap, artifacts, stations, settings.max_batch)

        models = await asyncio.to_thread(Models.load, site().plant)
        print(f"broker {broker.name}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the beginning")
        alone = await asyncio.to_thread(engines_own, models, settings.max_batch, settings.seconds / 2)
        rates = {kind: await saturation(site(), models, kind, settings.frames) for kind in ("ours", "naive")}
        again = await asyncio.to_thread(engines_own, models, settings.max_batch, settings.seconds / 2)
        engine = (alone + again) / 2
        print(f"\nengine alone, batches of {settings.max_batch}: {alone:.0f} and {again:.0f} images/s\n")
        print("| | frames/s at saturation | of the engine's own |\n|---|---|---|")
        for kind, rate in rates.items():
            print(f"| {kind} | {rate:.1f} | {rate / engine:.2f} |", flush=True)
        print("\n| load | scorer | frames | p50 ms | p99 ms | outside the model p50 / p99 ms | late |")
        print("|---|---|---|---|---|---|---|")
        for load in LOADS:
            for kind in ("ours", "naive"):
                rate = load * rates["ours"]
                told = await at_load(site(), models, kind, rate, settings.seconds, settings.left_ms / 1000)
                times = [one.seconds for one in told if not one.is_late]
                outside = [one.outside_s for one in told if not one.is_late]
                late = sum(one.is_late for one in told) / max(1, len(told))
                print(
                    f"| {load:.0%} | {kind} | {len(told)} | {percentile(times, 50):.0f} | {percentile(times, 99):.0f}"
                    f" | {percentile(outside, 50):.0f} / {percentile(outside, 99):.0f} | {late:.1%} |",
                    flush=True,
                )
        print(
            f"\nfairness: line-1 has a backlog of {settings.frames} frames, three stations come at 30 % of the load\n"
        )
        print("| scorer | station | median ms | p99 ms |\n|---|---|---|---|")
        for kind in ("ours", "naive"):
            told = await at_load(
                site(), models, kind, 0.3 * rates["ours"], settings.seconds, LONG_S, backlog=settings.frames
            )
            for line in sorted({one.line for one in told}):
                own = [one.seconds for one in told if one.line == line]
                print(f"| {kind} | {line} | {median(own) * 1000:.0f} | {percentile(own, 99):.0f} |", flush=True)


def main() -> None:
    """Fit a model of drawn parts, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", choices=("development", "local"), default="development")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each measurement at a load")
    parser.add_argument("--frames", type=int, default=400, help="frames of the backlogs")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--left-ms", type=float, default=500.0, help="what a frame has left when it is captured")
    settings = parser.parse_args()
    with TemporaryDirectory() as folder:
        good = Path(folder) / "good"
        good.mkdir()
        for number in range(NORMALS):
            (good / f"{number:02}.png").write_bytes(png(1000 + number))
        artifacts = Path(folder) / "artifacts"
        fit(
            sorted(good.iterdir()),
            artifacts / "part",
            FitSettings(product="part", name="part", size=SIDE, ratio=0.05),
        )
        asyncio.run(measure(settings, artifacts))


if __name__ == "__main__":
    main()
