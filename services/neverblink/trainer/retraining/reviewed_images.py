"""Images of reviewed parts, brought from the evidence store into a folder with an index, for a retraining.

The records say what people judged, the evidence store has the frames. What was brought once stays, and its row follows
the records: an answer that was taken back, or that another person disputes, makes its image inconclusive. Folders that
were kept from Kafka before have the same names and rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import cv2
import orjson

from neverblink.events import Decision, Judgement
from neverblink.job_life.progress import Progress
from neverblink.model_registry.changes import Target
from neverblink.plant import Plant, PlantError
from neverblink.records.evidence_store import EvidenceDamagedError, EvidenceMissingError, EvidenceStore
from neverblink.records.questions.confirmed_images import ConfirmedPicture, pages_of_confirmed
from neverblink.records.reading import ReadOnlyRecords
from neverblink.storage.whole_file import write_whole
from neverblink.trainer.datasets.confirmed_images import INDEX, IndexRow, index_of, read_index
from neverblink.trainer.datasets.images import DatasetError
from neverblink.vision.decode import Image, ImageError, decode

_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a folder has now: `new` images came, `missing` reviewed parts have none, `unreadable` could not be read."""

    reviewed: int
    new: int
    missing: int
    unreadable: int


def bring_reviewed(
    plant: Plant,
    targets: Sequence[Target],
    folder: Path,
    *,
    since: datetime,
    progress: Progress = lambda *_: None,
) -> Kept:
    """Bring `folder` up to date with what people judged of these stations' parts that were captured from `since` on.

    Raises PlantError when the plant keeps no evidence, LedgerError, EvidenceStoreError, and DatasetError when the
    folder has another index than this writes or cannot be written.
    """
    url = plant.records.evidence.store
    if url is None:
        raise PlantError(
            "the plant keeps no pictures, because its records.evidence.store is null: name a folder there, or retrain"
            " from a folder of your own without --reviews"
        )
    store, depths = EvidenceStore(url), plant.depths()
    index = _index(folder)
    rows = {row.image: row for row in read_index(index)} if index.is_file() else {}
    reviewed = new = missing = unreadable = 0
    found = list(_reviewed(plant.storage.ledger, targets, since))
    for done, one in enumerate(found, start=1):
        name = _name(one)
        if name is None:
            continue
        reviewed += one.judgement is not None
        if not (folder / name).is_file() and one.judgement is not None:
            try:
                if one.digest is None:
                    missing += 1
                    continue
                pixels = decode(
                    store.get(one.digest),
                    content_type=one.content_type or "",
                    depth=depths.get((one.line, one.station)),
                )
                _write_image(folder / name, pixels)
                new += 1
            except EvidenceMissingError:
                missing += 1
                continue
            except (EvidenceDamagedError, ImageError):
                unreadable += 1
                continue
        if (folder / name).is_file():
            rows[name] = _row(name, one)
        progress("bringing reviewed parts", done, len(found))
    _write(index, rows)
    return Kept(reviewed, new, missing, unreadable)


def _reviewed(ledger: str, targets: Sequence[Target], since: datetime) -> Iterator[ConfirmedPicture]:
    """Yield what people judged, oldest first, a page a question."""
    stations = sorted({_station(target.key) for target in targets})
    with closing(ReadOnlyRecords(ledger, answer_s=_ANSWER_S)) as records:
        for page in pages_of_confirmed(records, stations, since):
            yield from page


def _station(key: str) -> tuple[str, str]:
    line, _, station = key.partition("/")
    return line, station


def _row(name: str, found: ConfirmedPicture) -> IndexRow:
    return IndexRow(
        image=name,
        captured=found.captured,
        judgement=Judgement.INCONCLUSIVE if found.judgement is None else Judgement(found.judgement),
        source=_source(found),
        type=found.defect_type,
        station=found.key,
        challenge=found.challenge,
    )


def _source(found: ConfirmedPicture) -> str:
    """Return how a part came to be reviewed: that a reject was corrected says more than that a pass was confirmed."""
    if found.holdout:
        return "audited"
    judged = "good" if found.judgement == Judgement.NORMAL else "defective"
    return {
        (Decision.PASS.value, "good"): "reviewed-pass",
        (Decision.REJECT.value, "good"): "corrected-false-reject",
        (Decision.PASS.value, "defective"): "escape",
        (Decision.REJECT.value, "defective"): "confirmed-reject",
    }.get((found.decision, judged), "reviewed-unscored")


def _name(found: ConfirmedPicture) -> str | None:
    """Return the image's name below the folder, None for a frame whose id is none of ours: its file has no name."""
    try:
        frame = UUID(found.frame_id)
        day = datetime.fromtimestamp((frame.int >> 80) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{day:%Y-%m-%d}/{frame}.png"


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
