"""A small line to score: a model of striped parts, frames of them, and what came out on the topics."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.events import Event, Frame
from neverblink.events.envelope import E
from neverblink.events.identity import frame_id
from neverblink.kafka import EventConsumer, EventProducer
from neverblink.plant import Kafka, Plant

NORMALS = 30
SIDE = 96


def striped(number: int, *, defect: bool = False) -> NDArray[np.uint8]:
    """Draw a part with stripes and noise; a defect is a bright blot.

    Good parts look like one of the normals, so that no test depends on the promised share of false rejects.
    """
    random = np.random.default_rng(number if defect else number % NORMALS)
    stripes = 100 + 40 * np.sin(np.arange(SIDE) / 5)[None, :, None]
    image = stripes + random.normal(0, 4, (SIDE, SIDE, 3))
    if defect:
        x, y = random.integers(20, SIDE - 36, 2)
        image[y : y + 16, x : x + 16] = (240, 30, 30)
    return image.clip(0, 255).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    _, body = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return body.tobytes()


def fit_striped(folder: Path, *, size: int = SIDE) -> Path:
    """Fit the model of striped parts; returns the artifacts folder, in which it is `striped`.

    `size` is the side of what the model sees, in pixels.
    """
    from neverblink.trainer.fitting.fit import fit  # not above: who only sends frames needs no torch
    from neverblink.trainer.fitting.settings import FitSettings

    images = folder / "good"
    images.mkdir()
    for number in range(NORMALS):
        (images / f"{number:02}.png").write_bytes(png(striped(number)))
    fit(
        sorted(images.iterdir()),
        folder / "artifacts" / "striped",
        FitSettings(product="striped", name="striped", size=size, ratio=0.1, brightness=(1.0,)),
    )
    return folder / "artifacts"


def refit_striped(artifacts: Path, name: str, *, ratio: float, size: int = SIDE) -> str:
    """Fit another model of striped parts from the same images, with another bank; returns its digest."""
    from neverblink.trainer.fitting.fit import fit
    from neverblink.trainer.fitting.settings import FitSettings

    images = sorted((artifacts.parent / "good").iterdir())
    settings = FitSettings(product="striped", name=name, version="2", size=size, ratio=ratio, brightness=(1.0,))
    return fit(images, artifacts / name, settings).artifact.digest


def teach_blots(artifacts: Path) -> None:
    """Write `strict`: a model whose U-Net knows blots, and whose threshold lets every anomaly pass."""
    from neverblink.trainer.teaching.teaching import teach_unet
    from neverblink.trainer.teaching.unet_settings import TrainSettings
    from neverblink.vision.artifact import load_artifact, recalibrated
    from neverblink.vision.defect_augmentation import UNCHANGED

    folder = artifacts.parent / "blots"
    for place in ("test/blot", "ground_truth/blot", "test/good"):
        (folder / place).mkdir(parents=True)
    for number in range(16):
        pixels = striped(number, defect=True)
        (folder / f"test/blot/{number:02}.png").write_bytes(png(pixels))
        mask = (pixels == (240, 30, 30)).all(axis=2)
        cv2.imwrite(str(folder / f"ground_truth/blot/{number:02}_mask.png"), mask.astype(np.uint8) * 255)
        (folder / f"test/good/{number:02}.png").write_bytes(png(striped(number)))
    small = TrainSettings(
        encoder="plain", width=8, depth=2, epochs=10, learning_rate=1e-2, augmentation=UNCHANGED, threads=1
    )
    teach_unet([folder], artifacts / "striped", artifacts / "taught", small, leave=0)
    calibration = load_artifact(artifacts / "taught").manifest.calibration
    lenient = calibration.model_copy(update={"threshold": 1000.0, "method": "given", "unsure_from": None})
    recalibrated(artifacts / "taught", lenient, out=artifacts / "strict")


class ScoredLine:
    """One line on one broker, under a topic prefix of its own; `strict` parts are striped too."""

    def __init__(
        self,
        bootstrap: str,
        artifacts: Path,
        product: str = "striped",
        *,
        lines: Sequence[str] = ("line-1", "line-2"),
        stations: Sequence[str] = ("top",),
        partitions: int = 2,
        replication: int = 1,
    ) -> None:
        self.kafka = Kafka(
            bootstrap=bootstrap,
            topic_prefix=f"t{uuid4().hex[:10]}",
            partitions=partitions,
            replication=replication,
        )
        self.plant = Plant.model_validate(
            {
                "site": "test",
                "kafka": self.kafka.model_dump(),
                "storage": {"artifacts": artifacts, "model_cache": artifacts.parent / "model-cache"},
                "scorer": {"max_batch": 4, "threads": 1},
                "products": [{"name": product, "artifact": product}],
                "lines": [
                    {
                        "name": name,
                        "timing": {"distance_to_gate_m": 60, "speed_m_s": 1},
                        "stations": [
                            {
                                "name": station,
                                "product": product,
                                "mm_per_px": 0.5,
                                "source": {"kind": "simulated", "drawing": "pcb"},
                                "trigger": {"kind": "timer"},
                            }
                            for station in stations
                        ],
                    }
                    for name in lines
                ],
            }
        )

    def frame(
        self, number: int, *, line: str = "line-1", body: bytes | None = None, left_s: float = 120, **more: object
    ) -> Frame:
        """Build a frame; every fifth part has a defect."""
        now = datetime.now(UTC)
        body = png(striped(number, defect=number % 5 == 0)) if body is None else body
        fields = {
            "id": frame_id(now),
            "line": line,
            "station": "top",
            "product": self.plant.products[0].name,
            "part": f"{line}/1/{number}",
            "seq": number,
            "captured": now,
            "published": now,
            "deadline": now + timedelta(seconds=left_s),
            "epoch": 1,
            "number": number,
            "sha256": hashlib.sha256(body).hexdigest(),
            "size": max(1, len(body)),
            "content_type": "image/png",
            "body": body,
        }
        return Frame.model_validate({**fields, **more})

    def producer(self) -> EventProducer:
        return EventProducer(self.kafka, source="/test", client_id="test")

    async def read(self, kind: type[E], enough: Callable[[list[E]], bool], within_s: float = 60) -> list[E]:
        """Read a topic from its beginning until `enough`."""
        found: list[E] = []
        async with EventConsumer(self.kafka, kind.TOPIC, client_id="test-reader") as consumer:
            async with asyncio.timeout(within_s):
                while not enough(found):
                    found += [record.read(kind)[0] for record in await consumer.poll()]
        return found


async def sent(producer: EventProducer, *events: Event) -> None:
    """Send events and wait until all are acknowledged."""
    await asyncio.gather(*(producer.send(event) for event in events))
