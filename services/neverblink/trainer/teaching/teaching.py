"""Known defects taught to a model that is there: a new artifact with its memory bank, and a U-Net or a classifier."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.defect_images import DefectImage, defect_images, split
from neverblink.trainer.datasets.found_parts import unfound_note, with_parts
from neverblink.trainer.datasets.labelled_image import GOOD, file_digest, images_in
from neverblink.trainer.datasets.usable_pictures import Usable, left_out_note, usable_labelled, usable_pictures
from neverblink.trainer.fitting.model_version import new_version
from neverblink.trainer.fitting.places import check_writable
from neverblink.trainer.teaching.defect_division import is_synthetic
from neverblink.trainer.teaching.train_classifier import (
    ClassifierSettings,
    TrainedClassifier,
    flagged_by,
    train_classifier,
)
from neverblink.trainer.teaching.train_unet import TrainedUnet, train_unet
from neverblink.trainer.teaching.unet_checkpoint import Epoch
from neverblink.trainer.teaching.unet_settings import TrainSettings
from neverblink.vision.artifact import Artifact, joined, load_artifact
from neverblink.vision.artifact_manifest import ArtifactError, ClassifierPart, UnetPart
from neverblink.vision.inspector import Inspector, aligner_of, extractor_of
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.unet import unet_tensors

LEAVE = 0.2
"""Share of each type's real images that training does not see, so that `evaluate` has something to judge by."""

_SEED = 0


@dataclass(frozen=True, slots=True)
class Lessons:
    """Images to learn from, good ones beside them, and how many with defects were left for the evaluation.

    `copies` are the files that each stands for, which are known with it; `notes` what a person should know.
    """

    images: tuple[DefectImage, ...]
    good: tuple[Path, ...]
    left: int
    copies: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def with_parts(self, artifact: Artifact, progress: Progress) -> "Lessons":
        """Return the lessons without pictures in which the artifact finds no part. Raises DatasetError."""
        aligner, depth = aligner_of(artifact), artifact.manifest.depth
        images, lost = with_parts(self.images, lambda one: one.path, aligner, depth=depth, progress=progress)
        good, more = with_parts(self.good, lambda path: path, aligner, depth=depth, progress=progress)
        notes = unfound_note([*lost, *more], len(self.images) + len(self.good))
        return replace(self, images=tuple(images), good=tuple(good), notes=(*self.notes, *notes))

    def digests(self, paths: Iterable[Path]) -> tuple[str, ...]:
        """Return the digests of images that were learnt from, and of their copies."""
        every = [one for path in paths for one in (path, *self.copies.get(path, ()))]
        return tuple(dict.fromkeys(file_digest(path) for path in every))


@dataclass(frozen=True, slots=True)
class TaughtClassifier:
    """The artifact that was written, what the classifier makes of unseen images, and what it learnt from."""

    artifact: Artifact
    trained: TrainedClassifier
    lessons: Lessons


@dataclass(frozen=True, slots=True)
class TaughtUnet:
    """The artifact that was written, the training's course, and what it learnt from."""

    artifact: Artifact
    trained: TrainedUnet
    lessons: Lessons


def lessons(
    folders: Sequence[Path],
    leave: float = LEAVE,
    *,
    skip_unusable: bool = False,
    depth: int | None = None,
    progress: Progress = lambda *_: None,
) -> Lessons:
    """Return what labelled layouts teach: of each real type all but the share `leave`, of synthetic ones all.

    Which images are left depends on the folder alone, so that U-Net and classifier leave the same ones. A type with
    a single image is learnt. Every picture and mask is read first; of pictures that are copies one is learnt. Raises
    DatasetError; UnusablePicturesError, unless `skip_unusable` leaves out what cannot be used.
    """
    listed = [(folder, defect_images(folder), _train_good(folder)) for folder in folders]
    labelled, unusable = usable_labelled(
        [image for _, images, _ in listed for image in images],
        skip_unusable=skip_unusable,
        depth=depth,
        progress=progress,
    )
    paths = [*(image.path for image in labelled), *(path for _, _, good in listed for path in good)]
    usable = usable_pictures(list(dict.fromkeys(paths)), skip_unusable=skip_unusable, depth=depth, progress=progress)
    copies = _once([image for image in labelled if not is_synthetic(image)], usable)
    copies |= {image.path: () for image in labelled if is_synthetic(image)}
    learnt_good = [path for _, _, own in listed for path in own]
    copies |= usable.of(set(learnt_good)).once()
    found: list[DefectImage] = []
    left = 0
    for _, images, _ in listed:
        learnt = [image for image in images if image.path in copies]
        if learnt and not is_synthetic(learnt[0]) and leave:
            learnt, kept = split(learnt, 1 - leave, _SEED)
            left += sum(image.defective for image in kept)
        found += learnt
    good = tuple(path for path in learnt_good if path in copies)
    notes = [*left_out_note(unusable), *left_out_note(usable.left_out)]
    again = sum(map(len, copies.values()))
    if again:
        notes.append(f"{again} images are copies of others of their type and are learnt from once")
    return Lessons(tuple(found), good, left, copies, tuple(notes))


def _once(images: Sequence[DefectImage], usable: Usable) -> dict[Path, tuple[Path, ...]]:
    """Return one of each group of copies that show the same types, with the others of it.

    A drawn defect leaves its picture a near copy of the one it was drawn on: such images are not asked here.
    """
    known = usable.of({image.path for image in images})
    group = dict(zip(known.paths, known.copies.group.tolist(), strict=True))
    own: dict[tuple[int, tuple[str, ...]], list[Path]] = {}
    for image in images:
        own.setdefault((group[image.path], image.types), []).append(image.path)
    return {first: tuple(others) for first, *others in own.values()}


def _train_good(folder: Path) -> list[Path]:
    place = folder / "train" / GOOD
    return images_in(place) if place.is_dir() else []


def teach_unet(
    folders: Sequence[Path],
    folder: Path,
    out: Path,
    settings: TrainSettings,
    *,
    resize: int | None = None,
    leave: float = LEAVE,
    skip_unusable: bool = False,
    version: str | None = None,
    progress: Progress = lambda *_: None,
    checkpoint: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> TaughtUnet:
    """Train a U-Net for the artifact in `folder`, and write both to `out`.

    The U-Net sees images as the artifact's backbone does, `resize` pixels wide instead where given. Raises
    VisionError: a folder or setting that cannot be used, all before the training begins where it can be known.
    """
    found = _to_teach(folder, out)
    version = new_version(found, version, "unet")
    manifest = found.manifest
    preprocess = manifest.backbone.preprocess
    if resize is not None:
        # Validated again: a crop of the artifact's need not fit into the new side.
        preprocess = Preprocess.model_validate(
            preprocess.model_dump() | {"resize": resize, "crop": _scaled_crop(preprocess, resize)}
        )
    settings = settings.model_copy(update={"preprocess": preprocess, "tiling": manifest.tiling})
    taught = lessons(folders, leave, skip_unusable=skip_unusable, depth=manifest.depth, progress=progress)
    taught = taught.with_parts(found, progress)
    trained = train_unet(
        taught.images,
        taught.good,
        settings,
        progress,
        checkpoint=checkpoint,
        resume=resume,
        on_epoch=on_epoch,
        aligner=aligner_of(found),
    )
    created = datetime.now(UTC)
    held_out = trained.held_out
    division = trained.division
    seen = (*division.learnt_from, *(image.path for image in (*division.held_out, *division.held_out_good)))
    part = UnetPart(
        spec=trained.spec,
        created=created,
        images=taught.digests(seen),
        settings=_plain_settings(settings),
        epochs=trained.best_epoch,
        held_out=held_out.images,
        dice={found.name: found.dice for found in held_out.classes},
        held_out_good=held_out.held_out_good,
        false_alarms=held_out.false_alarms,
        false_alarm_bound=held_out.false_alarm_bound,
    )
    artifact = joined(found, out, unet=(part, unet_tensors(trained.unet)), version=version, created=created)
    return TaughtUnet(artifact, trained, taught)


def teach_classifier(
    folders: Sequence[Path],
    folder: Path,
    out: Path,
    settings: ClassifierSettings,
    *,
    weights: Path | None = None,
    leave: float = LEAVE,
    drawn_only: bool = False,
    skip_unusable: bool = False,
    version: str | None = None,
    progress: Progress = lambda *_: None,
) -> TaughtClassifier:
    """Train a classifier on the features of the artifact in `folder`, and write both to `out`.

    It learns from drawn masks, and unless `drawn_only` from what the artifact's own models mark in the same images.
    Raises VisionError.
    """
    found = _to_teach(folder, out)
    version = new_version(found, version, "classifier")
    taught = lessons(folders, leave, skip_unusable=skip_unusable, depth=found.manifest.depth, progress=progress)
    taught = taught.with_parts(found, progress)
    extractor = extractor_of(found, weights=weights)
    trained = train_classifier(
        taught.images,
        extractor,
        settings,
        progress,
        plan=found.manifest.tiling,
        aligner=aligner_of(found),
        flag=None if drawn_only else flagged_by(Inspector(found, extractor)),
    )
    created = datetime.now(UTC)
    seen = (image.path for image in taught.images if image.defective)
    part = ClassifierPart(spec=trained.classifier.spec, created=created, images=taught.digests(seen))
    tensors = trained.classifier.tensors()
    artifact = joined(found, out, classifier=(part, tensors), version=version, created=created)
    return TaughtClassifier(artifact, trained, taught)


def _to_teach(folder: Path, out: Path) -> Artifact:
    if out.exists():
        raise ArtifactError(f"{out} already exists; choose another folder for the new artifact")
    check_writable(out)
    return load_artifact(folder)


def _scaled_crop(preprocess: Preprocess, resize: int) -> int | None:
    return None if preprocess.crop is None else round(preprocess.crop * resize / preprocess.resize)


def _plain_settings(settings: TrainSettings) -> dict[str, str | int | float | bool | None]:
    """Return settings by dotted name; how images are prepared stands in the spec."""
    found: dict[str, str | int | float | bool | None] = {}
    values = settings.model_dump(mode="json", exclude={"preprocess", "tiling", "weights", "device", "threads"})
    for name, value in values.items():
        for inner, one in value.items() if isinstance(value, dict) else ((None, value),):
            key = name if inner is None else f"{name}.{inner}"
            found[key] = one if isinstance(one, str | int | float | bool | None) else str(one)
    return found
