"""The scorer on a broker: what batching by deadline gains over one frame at a time, and what it costs.

Frames travel through Kafka to a scorer in this process and verdicts back; a station is a line of its own. Broker (the
development broker, not Apache Kafka), scorer, camera and reader share this process's loop. The naive consumer polls a
record, decodes it, scores it, sends the verdict, commits, and takes the next: same model, same broker. Unless it is
told to, it draws and sends no evidence; it never sends traces, nor scores for late frames' statistics.
Images are drawn, so that nothing but this program is needed.

Two ceilings: the engine alone, in full batches of prepared images; and decoding and engine together, in the scorer's
own threads, without a broker, verdicts or evidence.
"""

import argparse
import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

import neverblink  # before torch: says how OpenMP waits  # noqa: F401

# isort: split
import cv2
import numpy as np

from neverblink.brokers.broker import open_broker
from neverblink.decisions.judgement import judged
from neverblink.events import Decision, Evidence, Frame, Reason, Times, Verdict
from neverblink.events.identity import evidence_id, frame_id
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.plant import Kafka, Plant
from neverblink.scorer import verdicts
from neverblink.scorer.compute_threads import ComputeThreads
from neverblink.scorer.deadline_batcher import DeadlineBatcher
from neverblink.scorer.decode_pool import DecodePool
from neverblink.scorer.instruments import instruments
from neverblink.scorer.models import Model, Models
from neverblink.scorer.pictures import evidence_pictures
from neverblink.scorer.service import Scorer
from neverblink.scorer.work import Arrival, Work
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.decode import decode
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Prepared

SIDE, FRAME_SIDE, NORMALS = 256, 320, 40
LOADS = (0.3, 0.6, 0.9)
LONG_S = 3600.0
PICTURES = 16
TOPICS = ("frames", "verdicts", "shadow-verdicts", "evidence", "dead-letters")
IN_HAND = 64
KINDS = ("ours", "naive", "naive with evidence")


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
    """A plant of `stations` lines on one broker, under a topic prefix of its own; they inspect `products` in turn."""

    def __init__(
        self,
        bootstrap: str,
        artifacts: Path,
        stations: int,
        max_batch: int,
        *,
        products: Sequence[str] = ("part",),
        partitions: int = 8,
        memory_mib: int | None = None,
    ) -> None:
        self.kafka = Kafka(
            bootstrap=bootstrap, topic_prefix=f"b{uuid4().hex[:8]}", partitions=partitions, replication=1
        )
        self.products = products
        self.lines = [f"line-{number}" for number in range(1, stations + 1)]
        self.plant = Plant.model_validate(
            {
                "site": "bench",
                "kafka": self.kafka.model_dump(),
                "storage": {"artifacts": artifacts, "model_cache": artifacts.parent / "model-cache"},
                "scorer": {"max_batch": max_batch, "memory_mib": memory_mib},
                "products": [{"name": name, "artifact": name} for name in products],
                "lines": [
                    {
                        "name": name,
                        "timing": {"distance_to_gate_m": 60, "speed_m_s": 1},
                        "stations": [
                            {
                                "name": "top",
                                "product": products[number % len(products)],
                                "source": {"kind": "simulated", "drawing": "pcb"},
                                "trigger": {"kind": "timer"},
                            }
                        ],
                    }
                    for number, name in enumerate(self.lines)
                ],
            }
        )
        self._bodies = [png(number) for number in range(PICTURES)]
        self._digests = [hashlib.sha256(body).hexdigest() for body in self._bodies]

    def frame(self, number: int, line: str, left_s: float, product: str | None = None) -> Frame:
        """Build a frame that is captured now, of the first product unless another is named."""
        now, place = datetime.now(UTC), number % PICTURES
        return Frame(
            id=frame_id(now),
            line=line,
            station="top",
            product=product or self.products[0],
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


async def naive(site: Site, models: Models, stop: asyncio.Event, *, evidence: bool = False) -> None:
    """Score one frame at a time."""
    group = f"{site.kafka.topic_prefix}-scorer"
    consumer = EventConsumer(site.kafka, "frames", client_id="naive", group=group)
    producer = EventProducer(site.kafka, source="/bench/naive", client_id="naive", writes=("verdicts", "evidence"))
    async with producer, consumer:
        while not stop.is_set():
            for record in await consumer.poll(1):
                frame, _ = record.read(Frame)
                model = models["part"]
                received = datetime.now(UTC)
                prepared, batched, inspection = await asyncio.to_thread(one_frame, models, model, frame)
                now = datetime.now(UTC)
                times = Times(captured=frame.captured, received=received, batched=batched, scored=now, emitted=now)
                if now > frame.deadline:
                    verdict = verdicts.unscored(frame, Reason.LATE, "late", times)
                else:
                    by_score = Inspection(inspection.anomaly)
                    verdict = verdicts.in_time(
                        frame,
                        (),
                        judgement=judged(by_score, model.calibration, model.rules, mm_per_px=None),
                        artifact=model.reference,
                        times=times,
                    )
                await producer.send(verdict)
                if evidence:
                    pictures = await asyncio.to_thread(
                        evidence_pictures, prepared.image, inspection, model.artifact, ("thumbnail",)
                    )
                    await producer.send(
                        Evidence(
                            id=evidence_id(frame.id, "thumbnail"),
                            frame=frame.id,
                            verdict=verdict.id,
                            line=frame.line,
                            station=frame.station,
                            part=frame.part,
                            kind="thumbnail",
                            captured=frame.captured,
                            content_type="image/jpeg",
                            body=pictures["thumbnail"],
                        )
                    )
                await consumer.commit({record.place: record.offset + 1})


def one_frame(models: Models, model: Model, frame: Frame) -> tuple[Prepared, datetime, Inspection]:
    """Decode and score one frame; the instant is that between the two."""
    prepared = model.inspector.prepare_defects(decode(frame.body))
    between = datetime.now(UTC)
    return prepared, between, models.score([(model, prepared)])[0]


async def ours(site: Site, models: Models, stop: asyncio.Event) -> None:
    """Score as the service does."""
    group = f"{site.kafka.topic_prefix}-scorer"
    consumer = EventConsumer(site.kafka, "frames", client_id="scorer", group=group)
    producer = EventProducer(site.kafka, source="/bench/scorer", client_id="scorer", writes=("verdicts", "evidence"))
    async with producer, consumer:
        await Scorer(consumer, producer, models, site.plant.scorer).run(stop)


@asynccontextmanager
async def running(site: Site, models: Models, kind: str) -> AsyncIterator[None]:
    """Run a scorer for the length of a measurement; `kind` is one of `KINDS`."""
    await ensure_topics(site.kafka, TOPICS)
    stop = asyncio.Event()
    scorer = ours if kind == "ours" else partial(naive, evidence=kind == "naive with evidence")
    task = asyncio.create_task(scorer(site, models, stop))
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


@dataclass(frozen=True)
class Speed:
    """Frames a second, and this process's CPU time a frame in ms, with the broker's, the reader's and all threads'."""

    frames_s: float
    cpu_ms: float


async def saturation(site: Site, models: Models, kind: str, frames: Sequence[Frame]) -> Speed:
    """Return how fast a backlog of frames is scored that no deadline presses."""
    count = len(frames)
    await ensure_topics(site.kafka, TOPICS)
    async with (
        EventProducer(site.kafka, source="/bench", client_id="bench", writes=("frames",)) as producer,
        EventConsumer(site.kafka, "verdicts", client_id="bench-reader") as consumer,
    ):
        await asyncio.gather(*(producer.send(frame) for frame in frames))
        reader = Reader(consumer)
        async with running(site, models, kind):
            await reader.until(count // 8, 120)  # joining the group is not measured
            first, began, used = len(reader.told), time.perf_counter(), time.process_time()
            await reader.until(count, 300)
            scored = len(reader.told) - first
            return Speed(scored / (time.perf_counter() - began), 1000 * (time.process_time() - used) / max(1, scored))


async def carried(site: Site, models: Models, kind: str, frames: Sequence[Frame]) -> float:
    """Return how many frames a second go from being sent to their verdicts, with `IN_HAND` between the two."""
    await ensure_topics(site.kafka, TOPICS)
    async with (
        EventProducer(site.kafka, source="/bench", client_id="bench", writes=("frames",)) as producer,
        EventConsumer(site.kafka, "verdicts", client_id="bench-reader") as consumer,
        running(site, models, kind),
    ):
        reader = Reader(consumer)

        async def send() -> None:
            for number, frame in enumerate(frames):
                while number - len(reader.told) >= IN_HAND:  # noqa: ASYNC110 - the reader has no event
                    await asyncio.sleep(0.002)
                await producer.send(frame)

        sending = asyncio.create_task(send())
        await reader.until(len(frames) // 8, 120)
        first, began = len(reader.told), time.perf_counter()
        await reader.until(len(frames), 300)
        await sending
        return (len(reader.told) - first) / (time.perf_counter() - began)


def backlog_of(site: Site, count: int) -> list[Frame]:
    """Return frames that no deadline presses, stations in turn."""
    return [site.frame(number, site.lines[number % len(site.lines)], LONG_S) for number in range(count)]


async def at_load(
    site: Site, models: Models, kind: str, rate: float, seconds: float, left_s: float, *, backlog: int = 0
) -> list[Told]:
    """Return the verdicts of frames that come at `rate` a second, stations in turn; the first has a backlog."""
    await ensure_topics(site.kafka, TOPICS)
    async with (
        EventProducer(site.kafka, source="/bench", client_id="bench", writes=("frames",)) as producer,
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


async def after_decoding(site: Site, models: Models, max_batch: int, count: int) -> float:
    """Return frames/s of decoding and engine in the scorer's threads: no broker, no verdicts, no evidence."""
    model, scorer = models["part"], site.plant.scorer
    pool = DecodePool(None, workers=min(4, os.cpu_count() or 1), max_bytes=scorer.max_queue_mib << 20)
    batcher: DeadlineBatcher[Work] = DeadlineBatcher(
        max_batch=max_batch, max_queue_delay_s=scorer.max_queue_delay_ms / 1000, clock=time.time
    )
    compute = ComputeThreads(batcher, models, instruments(), clock=lambda: datetime.now(UTC))
    computing = asyncio.create_task(compute.run())
    frames = [site.frame(number, site.lines[number % len(site.lines)], LONG_S) for number in range(PICTURES)]
    room = asyncio.Semaphore(IN_HAND)

    async def carry(frame: Frame) -> None:
        deadline = frame.deadline.timestamp()
        async with room, AsyncExitStack() as held:
            with batcher.coming():
                prepared = await held.enter_async_context(pool.prepared(frame, model, deadline=deadline))
                times = Times(captured=frame.captured)
                work = Work(Arrival(frame, times, {}), model, prepared, times)
                batcher.put(work, deadline, frame.key)
            await work.scored

    began = time.perf_counter()
    await asyncio.gather(*(carry(frames[number % PICTURES]) for number in range(count)))
    rate = count / (time.perf_counter() - began)
    compute.close()
    await computing
    pool.close()
    return rate


def p99_ms(told: Sequence[Told]) -> float:
    """Return the 99th percentile from trigger to verdict; a late part is in no time."""
    return percentile([one.seconds if not one.is_late else float("inf") for one in told], 99)


async def within_bound(
    make: Callable[[], Site], models: Models, kind: str, settings: argparse.Namespace, fastest: float
) -> float:
    """Return the highest frames/s tried, up to eleven tenths of `fastest`, whose p99 is within the bound; else 0."""
    low, high = 0.0, 1.1 * fastest
    for _ in range(settings.search_steps):
        rate = (low + high) / 2
        told = await at_load(make(), models, kind, rate, settings.seconds / 2, settings.left_ms / 1000)
        low, high = (rate, high) if p99_ms(told) <= settings.bound_ms else (low, rate)
    return low


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile in ms."""
    return float(np.percentile(values, share, method="higher")) * 1000 if values else float("nan")


async def measure(settings: argparse.Namespace, artifacts: Path) -> None:
    """Print all tables."""
    async with open_broker(settings.kafka) as broker:

        def site(stations: int = 4) -> Site:
            return Site(broker.bootstrap, artifacts, stations, settings.max_batch)

        models = await asyncio.to_thread(Models.load, site().plant)
        print(f"broker {broker.name}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the beginning")
        # In turn, so that a slow moment of the machine meets all alike.
        rounds: dict[str, list[float]] = {}
        for _ in range(settings.rounds):
            alone = await asyncio.to_thread(engines_own, models, settings.max_batch, settings.seconds / 4)
            rounds.setdefault("engine alone", []).append(alone)
            decoding = await after_decoding(site(), models, settings.max_batch, settings.frames)
            rounds.setdefault("decoding and engine", []).append(decoding)
            for kind in KINDS:
                place = site()
                speed = await saturation(place, models, kind, backlog_of(place, settings.frames))
                rounds.setdefault(kind, []).append(speed.frames_s)
        rates = {name: median(found) for name, found in rounds.items()}
        engine, ceiling = rates["engine alone"], rates["decoding and engine"]
        print(f"\nbatches of {settings.max_batch}, medians of {settings.rounds} rounds; in brackets the rounds\n")
        print("| | frames/s at saturation | of the engine alone | of decoding and engine |\n|---|---|---|---|")
        for name, rate in rates.items():
            shown = ", ".join(f"{one:.0f}" for one in rounds[name])
            print(f"| {name} | {rate:.1f} ({shown}) | {rate / engine:.2f} | {rate / ceiling:.2f} |", flush=True)
        place = site()
        full = await carried(place, models, "ours", backlog_of(place, settings.frames))
        print(f"\nload: shares of the {full:.1f} frames/s that are scored while as many are sent, {IN_HAND} under way")
        print("\n| load | scorer | frames | p50 ms | p99 ms | outside the model p50 / p99 ms | late |")
        print("|---|---|---|---|---|---|---|")
        for load in LOADS:
            for kind in ("ours", "naive"):
                rate = load * full
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
            f"\nthe most frames/s whose p99 from trigger to verdict is at most {settings.bound_ms:.0f} ms,"
            f" {settings.search_steps} steps of a search\n"
        )
        print("| scorer | frames/s | of the naive consumer's |\n|---|---|---|")
        most = {kind: await within_bound(site, models, kind, settings, rates[kind]) for kind in ("naive", "ours")}
        for kind, rate in most.items():
            ratio = f"{rate / most['naive']:.2f}" if most["naive"] else "–"
            print(f"| {kind} | {rate:.1f} | {ratio} |", flush=True)
        print(
            f"\nfairness: line-1 has a backlog of {settings.frames} frames, three stations come at 30 % of the load\n"
        )
        print("| scorer | station | median ms | p99 ms |\n|---|---|---|---|")
        for kind in ("ours", "naive"):
            told = await at_load(site(), models, kind, 0.3 * full, settings.seconds, LONG_S, backlog=settings.frames)
            for line in sorted({one.line for one in told}):
                own = [one.seconds for one in told if one.line == line]
                print(f"| {kind} | {line} | {median(own) * 1000:.0f} | {percentile(own, 99):.0f} |", flush=True)


def main() -> None:
    """Fit a model of drawn parts, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", choices=("development", "local"), default="development")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each measurement at a load")
    parser.add_argument("--frames", type=int, default=300, help="frames of the backlogs")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each rate at saturation")
    parser.add_argument("--bound-ms", type=float, default=100.0, help="p99 of the search for the most frames/s")
    parser.add_argument("--search-steps", type=int, default=4, help="each halves what is left between the loads")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--left-ms", type=float, default=500.0, help="what a frame has left when it is captured")
    settings = parser.parse_args()
    logging.getLogger("neverblink").setLevel(logging.ERROR)  # each late part is a warning
    with TemporaryDirectory() as folder:
        asyncio.run(measure(settings, fit_drawn(Path(folder))))


def fit_drawn(folder: Path, normals: int = NORMALS) -> Path:
    """Fit the model of drawn parts; returns the artifacts folder, in which it is `part`."""
    good = folder / "good"
    good.mkdir()
    for number in range(normals):
        (good / f"{number:02}.png").write_bytes(png(1000 + number))
    settings = FitSettings(product="part", name="part", size=SIDE, ratio=0.05)
    fit(sorted(good.iterdir()), folder / "artifacts" / "part", settings)
    return folder / "artifacts"


if __name__ == "__main__":
    main()
