"""Whether the parts of a fit are turned alike, how, and what that gains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.found_parts import Unfound, how_parts_lie, learnt_parts, unfound_note, with_parts
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.fitting.picture_set import PictureSet
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.upright_copies import told_apart
from neverblink.vision.alignment.aligner import Aligner, AlignmentError
from neverblink.vision.alignment.learning import Learnt
from neverblink.vision.alignment.spec import Kind
from neverblink.vision.alignment.spread import Spread
from neverblink.vision.alignment.view import Pose
from neverblink.vision.decode import Image, read_image
from neverblink.vision.evenly import some_of
from neverblink.vision.inspector import embedded, prepared
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.synthesis import KINDS, Scene, SynthesisError, synthesise

_MOST_LOST: Final = 0.05
"""Share of good pictures that may show no part to be found: with more it is not known how parts lie."""

_TRIED: Final = 32
"""Pictures that say what alignment gains: half of them are known, half are judged, as they are and with a defect."""

_NO_WORSE: Final = 0.01
_BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class Aligning:
    """What finds the parts, None where they are not looked for, the pictures that are left, and what is to be known.

    `poses` are where parts lie in the pictures that are left, `unfound` those in which none is found.
    """

    aligner: Aligner | None
    pictures: PictureSet
    notes: tuple[str, ...] = ()
    poses: Mapping[Path, Pose] = field(default_factory=dict)
    unfound: tuple[Unfound, ...] = ()


def aligning(
    given: PictureSet,
    settings: FitSettings,
    extractor: FeatureExtractor,
    progress: Progress,
    *,
    known: Aligner | None = None,
) -> Aligning:
    """Learn how parts are found where that is asked for, or say that it is worth it where the parts lie anyhow.

    `known` is another model's: it takes the place of what the settings ask for. Raises DatasetError.
    """
    paths = given.usable.paths
    if known is not None:
        return _with_found(given, known, settings, progress)
    if settings.align in ("silhouette", "template"):
        learnt = _learnt(paths, settings, settings.align)
        found = _with_found(given, learnt.aligner, settings, progress)
        return replace(found, notes=(learnt.aligner.spec.sentence(), *found.notes))
    spread, kinds = how_parts_lie(paths, settings.depth)
    if spread is None or not spread.wide:
        said = () if settings.align == "none" else ("the parts lie alike as far as can be seen: nothing is aligned",)
        return Aligning(None, given, said)
    return _called_for(given, settings, extractor, progress, spread, kinds)


def _called_for(
    given: PictureSet,
    settings: FitSettings,
    extractor: FeatureExtractor,
    progress: Progress,
    spread: Spread,
    kinds: Sequence[Kind],
) -> Aligning:
    """Align parts that lie anyhow where that is left to the fit and ranks no worse, and say what it would gain."""
    paths = given.usable.paths
    learnt: Learnt | None = None
    faults = []
    for kind in kinds:
        try:
            learnt = _learnt(paths, settings, kind)
            without, aligned = _gain(paths, learnt.aligner, settings, extractor)
            break
        except DatasetError as error:
            faults.append(str(error))
    else:
        unless = "" if learnt is None else f": --align {learnt.aligner.spec.kind} aligns them all the same"
        return Aligning(None, given, (f"{spread.sentence()}, and nothing is aligned, for {'; '.join(faults)}{unless}",))
    gain = (
        f"{spread.sentence()}; with drawn defects on {_TRIED // 2} pictures the AUROC is {without:.3f} as they lie and"
        f" {aligned:.3f} aligned"
    )
    if settings.align == "none":
        kind = learnt.aligner.spec.kind
        return Aligning(None, given, (f"{gain}: --align {kind} turns them alike",) if aligned > without else ())
    if aligned < without - _NO_WORSE:
        return Aligning(None, given, (f"{gain}: nothing is aligned",))
    try:
        found = _with_found(given, learnt.aligner, settings, progress)
    except DatasetError as error:
        return Aligning(None, given, (f"{gain}, and nothing is aligned, for {error}",))
    return replace(found, notes=(gain, learnt.aligner.spec.sentence(), *found.notes))


def _learnt(paths: Sequence[Path], settings: FitSettings, kind: Kind) -> Learnt:
    try:
        return learnt_parts(kind, paths, settings.depth)
    except AlignmentError as error:
        raise DatasetError(f"the parts cannot be aligned: {error}") from error


def _with_found(given: PictureSet, aligner: Aligner, settings: FitSettings, progress: Progress) -> Aligning:
    """Leave out the good pictures in which no part is found."""
    paths = given.usable.paths
    poses: dict[Path, Pose] = {}
    _, lost = with_parts(paths, lambda path: path, aligner, depth=settings.depth, progress=progress, poses=poses)
    notes = unfound_note(lost, len(paths))
    if len(lost) > _MOST_LOST * len(paths):
        raise DatasetError(f"the parts cannot be aligned: {notes[0]}")
    left = given.without(one.path for one in lost) if lost else given
    return Aligning(aligner, told_apart(left, aligner, poses, settings.depth), tuple(notes), poses, tuple(lost))


def _gain(
    paths: Sequence[Path], aligner: Aligner, settings: FitSettings, extractor: FeatureExtractor
) -> tuple[float, float]:
    """Return the AUROC of a few good parts against the same with drawn defects, as they lie and aligned.

    Raises DatasetError where parts are not found or no defect can be drawn.
    """
    kept, _ = with_parts(some_of(paths, _TRIED), lambda path: path, aligner, depth=settings.depth)
    known, judged = kept[::2], kept[1::2]
    if not judged:
        raise DatasetError("too few pictures to say what alignment gains")
    good = [read_image(path, depth=settings.depth) for path in judged]
    defective = list(_with_defects(good, aligner, settings.seed))
    if not defective:
        raise DatasetError("no defect can be drawn on these pictures")
    found = []
    for one in (None, aligner):
        bank = torch.cat(list(_features(_read(known, settings), one, extractor))).flatten(0, 2)
        model = PatchCore(bank, preprocess=extractor.spec.preprocess)
        scores = [
            anomaly.score
            for images in (good, defective)
            for features in _features(iter(images), one, extractor)
            for anomaly in model.score(features)
        ]
        found.append(float(roc_auc_score([False] * len(good) + [True] * len(defective), scores)))
    return found[0], found[1]


def _read(paths: Sequence[Path], settings: FitSettings) -> Iterator[Image]:
    return (read_image(path, depth=settings.depth) for path in paths)


def _features(images: Iterator[Image], aligner: Aligner | None, extractor: FeatureExtractor) -> Iterator[torch.Tensor]:
    for image in images:
        seen = image if aligner is None else aligner.view(image)
        yield embedded(extractor, prepared(seen, extractor, None)).cpu()


def _with_defects(good: Sequence[Image], aligner: Aligner, seed: int) -> Iterator[Image]:
    random = np.random.default_rng(seed)
    for number, image in enumerate(good):
        try:
            region = aligner.covered(image)
            drawn = synthesise(image, KINDS[number % len(KINDS)], random, scene=Scene(region=region)).image
            aligner.find(drawn)
        except (SynthesisError, AlignmentError, ValueError):
            # A kind that such parts have no room for, or that hides where they lie, says nothing of alignment.
            continue
        yield drawn
