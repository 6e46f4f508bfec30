"""A model tried on a few pictures: what it decides, what each named region says, and where it looks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2

from neverblink.decisions.rules import DEFAULT_RULES, rules_of
from neverblink.events import Decision, Defect
from neverblink.job_life.progress import Progress
from neverblink.plant import load_plant
from neverblink.reports.galleries import HeatScale, heat, jpeg, small
from neverblink.storage.listing import files_in
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.datasets.labelled_image import PICTURES
from neverblink.trainer.datasets.picture_groups import below
from neverblink.trainer.datasets.usable_pictures import Unusable, usable_image
from neverblink.trainer.offline_inspection.job_result import TriedPicture, TryOutResult
from neverblink.trainer.offline_inspection.judge import Judge, Place
from neverblink.trainer.offline_inspection.rows import DETAIL, Opinion, Unscored
from neverblink.trainer.offline_inspection.settings import TryOutJob
from neverblink.trainer.offline_inspection.terms import InspectSettings
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import Image
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import extractor_of
from neverblink.vision.overlay import OUTLINE

_BATCH: Final = 8
_STAGE: Final = "judging the pictures"


def run_try_out(job: TryOutJob, progress: Progress = lambda *_: None) -> TryOutResult:
    """Judge the pictures of a folder as the scorer does. Raises VisionError, PlantError."""
    paths = files_in(job.images, PICTURES, deep=True) if job.images.is_dir() else []
    if not paths:
        raise DatasetError(f"{job.images} has no images to try the model on")
    if len(paths) > job.most:
        raise DatasetError(f"{job.images} has {len(paths)} images, and {job.most} are the most that are tried at once")
    artifact = load_artifact(job.artifact)
    rules, scale = DEFAULT_RULES, None
    if job.plant is not None:
        plant = load_plant(job.plant)
        rules = rules_of(plant, artifact.product, job.station)
        line, _, station = (job.station or "").partition("/")
        scale = plant.scales().get((line, station))
    settings = InspectSettings(job.artifact, job.weights, rules=rules, device=job.device, engine=job.engine)
    extractor = extractor_of(artifact, weights=job.weights, device=job.device, engine=job.engine)
    judge, place = Judge(artifact, extractor, settings), Place(scale, None)
    depth = rules.depth or artifact.manifest.depth
    if job.gallery is not None:
        job.gallery.mkdir(parents=True, exist_ok=True)
    told: list[TriedPicture] = []
    for start in range(0, len(paths), _BATCH):
        told += _judged(judge, place, paths[start : start + _BATCH], job, depth, start)
        progress(_STAGE, len(told), len(paths))
    return TryOutResult(artifact=artifact.digest, product=artifact.product, pictures=tuple(told))


def _judged(
    judge: Judge, place: Place, paths: Sequence[Path], job: TryOutJob, depth: int | None, first: int
) -> Iterator[TriedPicture]:
    """Yield what is said of a batch, in its order; what cannot be used is said so."""
    read = [usable_image(path, depth) for path in paths]
    images = [one for one in read if not isinstance(one, Unusable)]
    seen = iter(judge.look(images, [place] * len(images)))
    for number, (path, one) in enumerate(zip(paths, read, strict=True), start=first):
        name = below(path, job.images)
        if isinstance(one, Unusable):
            yield TriedPicture(path=name, decision=Decision.UNSCORED, reason=one.reason, detail=one.why[:DETAIL])
            continue
        inspection = next(seen)
        opinion = inspection if isinstance(inspection, Unscored) else judge.opinion(inspection, place)
        picture = None if job.gallery is None else f"tried-{number:03}.jpg"
        if picture is not None and job.gallery is not None:
            (job.gallery / picture).write_bytes(jpeg(_drawn(one, inspection, opinion, judge)))
        if isinstance(opinion, Unscored):
            unscored = {"decision": opinion.decision, "reason": opinion.reason, "detail": opinion.detail}
            yield TriedPicture.model_validate({"path": name, "picture": picture, **unscored})
        else:
            judgement = opinion.judgement
            yield TriedPicture(
                path=name, picture=picture, decision=judgement.decision, reason=judgement.reason,
                unsure=judgement.unsure, score=judgement.score, threshold=judgement.threshold, ratio=judgement.ratio,
                defects=judgement.defects, regions=getattr(judgement, "regions", ()),
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
