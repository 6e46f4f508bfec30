"""Images of reviewed parts, kept in a folder with an index: frames leave Kafka within hours, reviews come later.

A review names its frame; the picture is taken from the frames that Kafka or the object store still keep. What was kept
once stays, and its row follows the newest review of its verdict.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import cv2
import orjson

from neverblink.events import Decision, Judgement, Review, Verdict
from neverblink.job_life.progress import Progress
from neverblink.kafka import ensure_topics
from neverblink.kafka.topic_span import events_since
from neverblink.model_registry.changes import Target
from neverblink.plant import Kafka, Plant
from neverblink.storage.frame_objects import ObjectStore
from neverblink.storage.whole_file import write_whole
from neverblink.trainer.datasets.confirmed_images import INDEX, IndexRow, index_of, read_index
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.datasets.inputs import UnreadableError
from neverblink.trainer.datasets.topic_frames import TopicFrames
from neverblink.vision.decode import Image, ImageError

_CLIENT = "reviewed-images"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a folder has now: `new` images came, `missing` reviewed parts have none, `unreadable` could not be read."""

    reviewed: int
    new: int
    missing: int
    unreadable: int


def keep_reviewed(
    plant: Plant,
    targets: Sequence[Target],
    folder: Path,
    *,
    since: datetime,
    progress: Progress = lambda *_: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Kept:
    """Bring `folder` up to date with the reviews of these stations' parts that were captured from `since` on.

    Raises KafkaError, DatasetError when the folder has another index than this writes or cannot be written.
    """
    index = _index(folder)
    rows = {row.image: row for row in read_index(index)} if index.is_file() else {}
    stations = {target.key for target in targets}
    reviews, verdicts = asyncio.run(_reviewed(plant.kafka, sorted(stations), since))
    wanted = {_name(review.frame_id): review for review in reviews.values() if _captured(review.frame_id) >= since}
    missing = {name for name in wanted if not (folder / name).is_file()}
    new, unreadable = 0, 0
    if missing:
        new, unreadable = _fetch(plant, targets, folder, missing, since, progress, clock)
    for name, review in wanted.items():
        if (folder / name).is_file():
            rows[name] = _row(name, review, verdicts.get(review.verdict))
    _write(index, rows)
    return Kept(len(wanted), new, len(missing) - new - unreadable, unreadable)


def _fetch(
    plant: Plant,
    targets: Sequence[Target],
    folder: Path,
    missing: set[str],
    since: datetime,
    progress: Progress,
    clock: Callable[[], datetime],
) -> tuple[int, int]:
    """Write the images that Kafka still has; returns how many came and how many could not be read."""
    new = unreadable = 0
    for product in sorted({target.product for target in targets}):
        stations = [target.key for target in targets if target.product == product]
        objects = ObjectStore.of(plant.storage)
        with TopicFrames(
            plant.kafka, product, since, None, stations=stations, objects=objects, depths=plant.depths(), clock=clock
        ) as frames:
            frames.freeze(None)
            for found in frames.go_through():
                captured = found.origin.captured
                name = "" if captured is None else _name(found.origin.name)
                if name in missing:
                    try:
                        _write_image(folder / name, found.read())
                        new += 1
                    except (UnreadableError, ImageError):
                        unreadable += 1
                progress("looking through frames", found.position, frames.total)
    return new, unreadable


async def _reviewed(
    kafka: Kafka, stations: Sequence[str], since: datetime
) -> tuple[Mapping[str, Review], Mapping[str, Verdict]]:
    """Return the newest review of each verdict of these stations, and the verdicts that Kafka still has."""
    await ensure_topics(kafka, ("reviews", "verdicts", "frames"))
    reviews: dict[str, Review] = {}
    for review in await events_since(kafka, Review, stations, since, client_id=_CLIENT):
        known = reviews.get(review.verdict)
        if review.key in stations and (known is None or known.at <= review.at):
            reviews[review.verdict] = review
    lines = sorted({station.partition("/")[0] for station in stations})
    verdicts: dict[str, Verdict] = {}
    for verdict in await events_since(kafka, Verdict, lines, since, client_id=_CLIENT):
        if verdict.id in reviews:
            # Of two verdicts about a frame the first one stands.
            verdicts.setdefault(verdict.id, verdict)
    return reviews, verdicts


def _row(name: str, review: Review, verdict: Verdict | None) -> IndexRow:
    return IndexRow(
        image=name,
        captured=_captured(review.frame_id) if verdict is None else verdict.times.captured,
        judgement=review.judgement,
        source=_source(review, verdict),
        type=review.defect_type,
        station=review.key,
        challenge=verdict is not None and verdict.challenge,
    )


def _source(review: Review, verdict: Verdict | None) -> str:
    """Return how a part came to be reviewed: that a reject was corrected says more than that a pass was confirmed."""
    if verdict is None:
        return "reviewed"
    if verdict.holdout:
        return "audited"
    judged = "good" if review.judgement is Judgement.NORMAL else "defective"
    return {
        (Decision.PASS, "good"): "reviewed-pass",
        (Decision.REJECT, "good"): "corrected-false-reject",
        (Decision.PASS, "defective"): "escape",
        (Decision.REJECT, "defective"): "confirmed-reject",
    }.get((verdict.decision, judged), "reviewed-unscored")


def _name(frame_id: str) -> str:
    return f"{_captured(frame_id):%Y-%m-%d}/{UUID(frame_id)}.png"


def _captured(frame_id: str) -> datetime:
    """Return when a frame was captured: its id says so, after its verdict is gone too; long ago for what is no id."""
    try:
        return datetime.fromtimestamp((UUID(frame_id).int >> 80) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.min.replace(tzinfo=UTC)


def _index(folder: Path) -> Path:
    found, wanted = index_of(folder) if folder.is_dir() else None, folder / f"{INDEX}.jsonl"
    if found not in (None, wanted):
        raise DatasetError(f"{folder} has the index {found}, and reviews are kept in {wanted}: choose another folder")
    return wanted


def _write_image(path: Path, pixels: Image) -> None:
    """Write (H, W, 3) uint8 RGB pixels as PNG, whole or not at all."""
    _, body = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    _write_whole(path, body.tobytes())


def _write(index: Path, rows: Mapping[str, IndexRow]) -> None:
    lines = [orjson.dumps(row.model_dump(mode="json", exclude_none=True)) for _, row in sorted(rows.items())]
    _write_whole(index, b"".join(line + b"\n" for line in lines))


def _write_whole(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror}") from error
