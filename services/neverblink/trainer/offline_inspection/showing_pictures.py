"""What an inspection says of a few pictures, shown: decisions, what each named region says, and where it looks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2

from neverblink.events import Decision, Defect
from neverblink.job_life.progress import Progress
from neverblink.reports.galleries import HeatScale, heat, jpeg, small
from neverblink.reports.pages import ReportError
from neverblink.storage.listing import files_in
from neverblink.trainer.datasets.labelled_image import PICTURES
from neverblink.trainer.datasets.mask_search import without_mask_folders
from neverblink.trainer.datasets.picture_groups import below
from neverblink.trainer.datasets.usable_pictures import Unusable, usable_image
from neverblink.trainer.offline_inspection.job_result import ShownPicture
from neverblink.trainer.offline_inspection.judge import Judge, Place
from neverblink.trainer.offline_inspection.rows import DETAIL, Opinion, Unscored
from neverblink.vision.decode import Image
from neverblink.vision.inspection import Inspection
from neverblink.vision.overlay import OUTLINE

_MOST: Final = 200
_BATCH: Final = 8
_STAGE: Final = "judging the pictures"


def shown_pictures(
    judge: Judge, place: Place, images: Path, gallery: Path, depth: int | None, progress: Progress
) -> tuple[ShownPicture, ...]:
    """Judge a folder's first 200 pictures, in the order of their paths, and write a small JPEG of each.

    Raises ReportError where the gallery cannot be written.
    """
    paths = sorted(without_mask_folders(images, files_in(images, PICTURES, deep=True)))[:_MOST]
    told: list[ShownPicture] = []
    try:
        gallery.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(paths), _BATCH):
            some = paths[start : start + _BATCH]
            told += _judged(judge, place, some, images, gallery, depth, start)
            progress(_STAGE, len(told), len(paths))
    except OSError as error:
        raise ReportError(f"the gallery {gallery} cannot be written: {error.strerror}") from error
    return tuple(told)


def _judged(
    judge: Judge,
    place: Place,
    paths: Sequence[Path],
    images: Path,
    gallery: Path,
    depth: int | None,
    first: int,
) -> Iterator[ShownPicture]:
    """Yield what is said of a batch, in its order; what cannot be used is said so."""
    read = [usable_image(path, depth) for path in paths]
    usable = [one for one in read if not isinstance(one, Unusable)]
    seen = iter(judge.look(usable, [place] * len(usable)))
    for number, (path, one) in enumerate(zip(paths, read, strict=True), start=first):
        name = below(path, images)
        if isinstance(one, Unusable):
            yield ShownPicture(path=name, decision=Decision.UNSCORED, reason=one.reason, detail=one.why[:DETAIL])
            continue
        inspection = next(seen)
        opinion = inspection if isinstance(inspection, Unscored) else judge.opinion(inspection, place)
        picture = f"seen-{number:03}.jpg"
        (gallery / picture).write_bytes(jpeg(_drawn(one, inspection, opinion, judge)))
        if isinstance(opinion, Unscored):
            unscored = {"decision": opinion.decision, "reason": opinion.reason, "detail": opinion.detail}
            yield ShownPicture.model_validate({"path": name, "picture": picture, **unscored})
        else:
            judgement = opinion.judgement
            yield ShownPicture(
                path=name, picture=picture, decision=judgement.decision, reason=judgement.reason,
                unsure=judgement.unsure, score=judgement.score, threshold=judgement.threshold, ratio=judgement.ratio,
                defects=judgement.defects, regions=judgement.regions,
            )  # fmt: skip


def _drawn(image: Image, seen: Inspection | Unscored, opinion: Opinion | Unscored, judge: Judge) -> Image:
    """Return a small picture with its map and the boxes of what was found."""
    shown = small(image).copy()
    if isinstance(seen, Unscored) or isinstance(opinion, Unscored):
        return shown
    scale = HeatScale.of(judge.artifact)
    shown = heat(shown, seen.anomaly.anomaly_map, scale, anomalous=opinion.decision is Decision.REJECT).copy()
    for defect in opinion.judgement.defects:
        _box(shown, defect, shown.shape[1] / image.shape[1], shown.shape[0] / image.shape[0])
    return shown


def _box(shown: Image, defect: Defect, across: float, down: float) -> None:
    box = defect.bbox
    corner = round(box.x * across), round(box.y * down)
    other = round((box.x + box.width) * across), round((box.y + box.height) * down)
    cv2.rectangle(shown, corner, other, OUTLINE, 1, cv2.LINE_AA)
