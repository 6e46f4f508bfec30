"""What swapping models costs a running line: activations in a row at a share of the scorer's load, beside a calm line.

A scorer runs as a process on the development broker and scores real images of one station. Two models with other banks
take turns, activated as `neverblink models activate` does. Afterwards each verdict is compared with what the artifact
that it names gives for its image. Calm and swapping stretches alternate, so that what else the machine does meets both.
"""

import argparse
import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

# isort: split
import cv2
import numpy as np
import yaml

from bench.real_images import Image, data_folder, read_all
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import ArtifactRef, Frame, ModelSlots, Slot, Verdict
from neverblink.events.identity import frame_id
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.model_registry.changes import Stamp, Target, activated
from neverblink.plant import Kafka, load_plant
from neverblink.trainer.datasets.images import good_images
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.artifact import load_artifact
from rigs.true_scores import AGREES, TrueScores, true_scores

SIDE = 256
PICTURES = 40
MODELS = {"one": 0.01, "two": 0.02}
STATION = Target("line-1", "top", "part")


@dataclass
class Stretch:
    """What happened in the stretches of one kind; `rounds` are the verdicts of each."""

    name: str
    sent: list[str] = field(default_factory=list)
    rounds: list[list[Verdict]] = field(default_factory=list)
    activations: int = 0
    seconds: float = 0.0


class Line:
    """One station of a plant, its scorer as a process, and its topics."""

    def __init__(self, folder: Path, bootstrap: str, images: Sequence[Image]) -> None:
        prefix = f"swap{uuid4().hex[:8]}"
        self._file = folder / "plant.yaml"
        self._file.write_text(yaml.safe_dump(plant_file(bootstrap, prefix)))
        self.plant = load_plant(self._file)
        self._log = folder / "scorer.log"
        self._bodies = [png(image) for image in images]
        self._number = 0
        self.verdicts: dict[str, Verdict] = {}
        self.slots: ModelSlots | None = None

    @asynccontextmanager
    async def scorer(self) -> AsyncIterator[None]:
        """Run the scorer until the block is left."""
        with self._log.open("wb") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "neverblink", "scorer", "--plant", str(self._file), stderr=log, env=os.environ
            )
        try:
            while b'"state":"ready"' not in self._log.read_bytes():
                if child.returncode is not None:
                    sys.exit(f"the scorer ended:\n{self._log.read_text()[-2000:]}")
                await asyncio.sleep(0.2)
            yield
        finally:
            child.send_signal(signal.SIGTERM)
            await child.wait()

    @property
    def swaps(self) -> int:
        """Return how often the scorer says that it swapped."""
        entries = (json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{"))
        return sum(entry.get("slot") == "active" and "old_digest" in entry for entry in entries)

    def frame(self) -> Frame:
        """Return the next part's frame; `seq` modulo the number of images says which image it is."""
        now = datetime.now(UTC)
        number, self._number = self._number, self._number + 1
        body = self._bodies[number % len(self._bodies)]
        return Frame(
            id=frame_id(now), line=STATION.line, station=STATION.station, product=STATION.product,
            part=f"line-1/1/{number}", seq=number, captured=now, published=now, deadline=now + timedelta(seconds=60),
            sha256=hashlib.sha256(body).hexdigest(), size=len(body), content_type="image/png", body=body,
        )  # fmt: skip

    async def read_verdicts(self) -> None:
        """Collect verdicts until cancelled."""
        async with EventConsumer(self.plant.kafka, "verdicts", client_id="swap-verdicts") as consumer:
            while True:
                for record in await consumer.poll():
                    verdict, _ = record.read(Verdict)
                    self.verdicts[verdict.frame_id] = verdict

    async def answered(self, frames: Sequence[str], within_s: float) -> None:
        """Wait until all frames have verdicts, or for so long."""
        give_up = time.monotonic() + within_s
        while any(frame not in self.verdicts for frame in frames) and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def plant_file(bootstrap: str, prefix: str) -> dict[str, object]:
    """Return a plant of one station."""
    station = {
        "name": STATION.station, "product": STATION.product,
        "source": {"kind": "simulated", "drawing": "pcb"}, "trigger": {"kind": "timer"},
    }  # fmt: skip
    return {
        "site": "bench",
        "kafka": Kafka(bootstrap=bootstrap, topic_prefix=prefix, partitions=2, replication=1).model_dump(),
        "storage": {"artifacts": "artifacts"},
        "scorer": {"threads": 1},
        "products": [{"name": STATION.product, "artifact": next(iter(MODELS))}],
        "lines": [{
            "name": STATION.line, "timing": {"distance_to_gate_m": 60, "speed_m_s": 1}, "stations": [station],
        }],
    }  # fmt: skip


def png(image: Image) -> bytes:
    """Return an image as a camera node sends it."""
    _, body = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return body.tobytes()


async def capacity(line: Line, producer: EventProducer, frames: int) -> float:
    """Return the frames per second of a scorer that always has some waiting."""
    sent = [line.frame() for _ in range(frames)]
    began = time.monotonic()
    await asyncio.gather(*(producer.send(frame) for frame in sent))
    await line.answered([frame.id for frame in sent], 120)
    return frames / (time.monotonic() - began)


async def run(
    line: Line, producer: EventProducer, stretch: Stretch, rate: float, seconds: float, activations: int
) -> None:
    """Send parts at a rate for so long, and activate the two models in turn so often meanwhile."""
    stop = asyncio.Event()
    sent: list[str] = []

    async def send() -> None:
        began, sends = time.monotonic(), []
        while not stop.is_set():
            frame = line.frame()
            sent.append(frame.id)
            sends.append(producer.post(frame))
            await asyncio.sleep(max(0.0, began + len(sends) / rate - time.monotonic()))
        await asyncio.gather(*sends)

    sending = asyncio.create_task(send())
    began, slots = time.monotonic(), [slot_of(line.plant.storage.artifacts, name) for name in MODELS]
    for number in range(activations):
        slot = slots[(number + 1) % 2]
        line.slots = activated(line.slots, STATION, slot, Stamp("bench", None, datetime.now(UTC)))
        await producer.send(line.slots)
        stretch.activations += 1
        await asyncio.sleep(max(0.0, began + (number + 1) * seconds / activations - time.monotonic()))
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    stop.set()
    await sending
    stretch.seconds += time.monotonic() - began
    await line.answered(sent, 30)
    stretch.sent += sent
    stretch.rounds.append([line.verdicts[frame] for frame in sent if frame in line.verdicts])


def slot_of(artifacts: Path, name: str) -> Slot:
    """Return an artifact's slot."""
    found = load_artifact(artifacts / name)
    return Slot(
        artifact=ArtifactRef(name=found.name, version=found.version, digest=found.digest), location=name, threshold=None
    )


def report(stretch: Stretch, truth: TrueScores) -> float:
    """Print a row and return p99 from capture to verdict, the median over rounds."""
    mixed, digests = 0, []
    pictures = len({number for _, number in truth})
    verdicts = [verdict for found in stretch.rounds for verdict in found]
    for verdict in verdicts:
        digest = None if verdict.artifact is None else verdict.artifact.digest
        expected = truth.get((digest or "", verdict.seq % pictures))
        mixed += expected is None or verdict.score is None or abs(verdict.score / expected - 1) > AGREES
        digests.append(digest)
    seen = sum(before != after for before, after in pairwise(digests))
    p50, p99, worst = np.percentile(milliseconds(verdicts), [50, 99, 100])
    usual = float(np.median([np.percentile(milliseconds(found), 99) for found in stretch.rounds]))
    print(
        f"| {stretch.name} | {stretch.seconds:.0f} | {len(stretch.sent)} | {stretch.activations} | {seen} |"
        f" {len(stretch.sent) - len(verdicts)} | {mixed} | {p50:.1f} | {usual:.1f} | {p99:.1f} | {worst:.1f} |",
        flush=True,
    )
    return usual


def milliseconds(verdicts: Sequence[Verdict]) -> list[float]:
    """Return the time from capture to verdict of each."""
    return [
        1000 * (verdict.times.emitted - verdict.times.captured).total_seconds()
        for verdict in verdicts
        if verdict.times.emitted is not None
    ]


async def measured(given: argparse.Namespace, folder: Path, images: Sequence[Image]) -> tuple[list[Stretch], int]:
    """Run the stretches and return what happened in them, and how many swaps the scorer counted."""
    calm, swapping = Stretch("calm"), Stretch("swapping")
    async with DevelopmentBroker() as broker:
        line = Line(folder, broker.bootstrap, images)
        await ensure_topics(line.plant.kafka)
        producer = EventProducer(line.plant.kafka, source="/bench", client_id="swap")
        async with line.scorer(), producer:
            reading = asyncio.create_task(line.read_verdicts())
            await capacity(line, producer, 50)  # the first frames pay for what is set up lazily
            most = given.rate / given.load if given.rate else await capacity(line, producer, given.saturate)
            rate = given.load * most
            print(f"{most:.1f} frames/s at most; {rate:.1f} frames/s are sent ({given.load:.0%})\n", flush=True)
            # Both models are opened before: opening one costs what `--cold` measures.
            if not given.cold:
                await run(line, producer, Stretch("opening"), rate, 6, 4)
            for _ in range(given.rounds):
                await run(line, producer, calm, rate, given.seconds / given.rounds, 0)
                await run(
                    line, producer, swapping, rate, given.seconds / given.rounds, given.activations // given.rounds
                )
            reading.cancel()
        return [calm, swapping], line.swaps


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--set", default="mvtec-hazelnut-256", help="data set whose images are scored")
    parser.add_argument("--seconds", type=float, default=120, help="of each kind, in all rounds together")
    parser.add_argument("--activations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10, help="stretches of each kind, in turn")
    parser.add_argument("--load", type=float, default=0.6, help="share of what the scorer can do at most")
    parser.add_argument("--rate", type=float, help="frames/s to send instead")
    parser.add_argument("--saturate", type=int, default=300, help="frames that measure what it can do at most")
    parser.add_argument("--cold", action="store_true", help="count the first opening of the second model too")
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    good = good_images(data / given.set)
    tests = sorted((data / given.set / "test").rglob("*.png"))
    images = read_all(tests[:: max(1, len(tests) // PICTURES)][:PICTURES])
    with TemporaryDirectory() as place:
        artifacts = Path(place) / "artifacts"
        for name, ratio in MODELS.items():
            fit(good, artifacts / name, FitSettings(product=STATION.product, name=name, size=SIDE, ratio=ratio))
        truth = true_scores(artifacts, MODELS, images)
        stretches, swaps = asyncio.run(measured(given, Path(place), images))
    print(
        "| | s | frames | activations | changes seen | lost | mixed | p50 ms | p99 ms of a round | p99 ms | worst ms |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    calm, swapping = (report(stretch, truth) for stretch in stretches)
    print(f"\np99 of a round, swapping / calm: {swapping / calm:.2f}; the scorer counted {swaps} swaps")


if __name__ == "__main__":
    main()
