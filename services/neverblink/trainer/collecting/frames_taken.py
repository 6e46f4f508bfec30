"""Pictures from the line: so many of a station's frames, drawn evenly from a span, as files."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from neverblink.job_life.progress import Progress
from neverblink.plant import load_plant
from neverblink.storage.frame_objects import ObjectStore
from neverblink.storage.whole_file import write_whole
from neverblink.trainer.collecting.settings import LookOverJob
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.datasets.inputs import Input, UnreadableError
from neverblink.trainer.datasets.topic_frames import TopicFrames
from neverblink.vision.decode import Image, ImageError

_STAGE = "taking frames"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Taken:
    """How many frames were taken, of how many that can be read, and how many cannot."""

    pictures: int
    frames: int
    unreadable: int


def take_frames(job: LookOverJob, progress: Progress) -> Taken:
    """Write frames of a span as PNG into the job's folder; known parts, sent to prove the system, are none of them.

    Each frame of the span is drawn with the same chance (algorithm R of Vitter, 1985), whatever their number, which is
    not known before the end: a job that is stopped has drawn from what it had seen. Raises PlantError, KafkaError,
    DatasetError where there are no frames.
    """
    assert job.plant is not None
    assert job.since is not None
    assert job.station is not None
    plant = load_plant(job.plant)
    line, _, station = job.station.partition("/")
    product = job.product or plant.line(line).station(station).product
    job.images.mkdir(parents=True, exist_ok=True)
    with TopicFrames(
        plant.kafka,
        product,
        job.since,
        job.until,
        stations=[job.station],
        objects=ObjectStore.of(plant.storage),
        depths=plant.depths() if job.depth is None else {},
        depth=job.depth,
        known_parts=False,
    ) as frames:
        frames.freeze(None)
        progress(_STAGE, 0, frames.total)
        taken = _drawn(_told(frames, progress), job)
        progress(_STAGE, frames.total, frames.total)
        if not taken.frames:
            raise DatasetError(frames.nothing())
    return taken


def _told(frames: TopicFrames, progress: Progress) -> Iterator[Input]:
    for one in frames.go_through():
        yield one
        progress(_STAGE, one.position, frames.total)


def _drawn(inputs: Iterator[Input], job: LookOverJob) -> Taken:
    random = np.random.default_rng(job.seed)
    kept: list[Path] = []
    count = unreadable = 0
    for one in inputs:
        # Which place a frame takes is drawn before it is decoded: most of a long span take none.
        place = count if count < job.take else int(random.integers(count + 1))
        if place >= job.take:
            count += 1
            continue
        try:
            image = one.read()
        except (UnreadableError, ImageError):
            unreadable += 1
            continue
        count += 1
        path = job.images / _name(one)
        write_whole(path, _png(image), forced=False)
        if place < len(kept):
            if kept[place] != path:
                with suppress(FileNotFoundError):
                    kept[place].unlink()
            kept[place] = path
        else:
            kept.append(path)
    return Taken(len(set(kept)), count, unreadable)


def _name(one: Input) -> str:
    """Return a file's name: it tells when the part was seen, by which pictures may be grouped, and which part it is."""
    captured = one.origin.captured
    assert captured is not None
    return f"{captured:%Y%m%d-%H%M%S}-{_NOT_PLAIN.sub('-', one.origin.part)[-80:]}.png"


def _png(image: Image) -> bytes:
    # Quick rather than small: it is read again in a minute.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes())
