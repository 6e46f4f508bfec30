"""From pictures of good parts to a calibrated artifact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import timm
import torch
from torch import Tensor

from neverblink import __version__
from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.found_parts import Unfound, with_parts
from neverblink.trainer.datasets.images import LabelledImage
from neverblink.trainer.datasets.usable_pictures import Usable
from neverblink.trainer.fitting.aligning import Aligning
from neverblink.trainer.fitting.cross_fitting import HeldOut, cross_fitted
from neverblink.trainer.fitting.feature_store import FeatureStore
from neverblink.trainer.fitting.memory_banks import Banks, projected, room_of
from neverblink.trainer.fitting.named_regions import RegionPlan, cross_fitted_regions, planned
from neverblink.trainer.fitting.opening import aligned_network
from neverblink.trainer.fitting.picture_set import (
    PictureSet,
    check_promise,
    counted_in,
    grouped_notes,
    picture_set,
    rate_of,
)
from neverblink.trainer.fitting.places import check_place
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.suspects import Robust, Suspect, find_suspects, suspects_notes, taken_for_bad
from neverblink.trainer.fitting.views import Views
from neverblink.vision.alignment.aligner import PART, Aligner
from neverblink.vision.artifact import Artifact, Tensors, save_artifact
from neverblink.vision.artifact_manifest import Description, PartName, Provenance, Quantised, ValidatedEngine
from neverblink.vision.backbones import Backbone
from neverblink.vision.calibration import Calibration, calibrate
from neverblink.vision.decode import read_image
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines import QuantisedNetwork, check_shift, quantise
from neverblink.vision.errors import NoNumberError
from neverblink.vision.inspector import embedded, prepared
from neverblink.vision.named_regions.fitted import PART as REGIONS
from neverblink.vision.named_regions.fitted import FittedRegions
from neverblink.vision.named_regions.places import Places
from neverblink.vision.named_regions.scoring import RegionScorer, Scorer
from neverblink.vision.named_regions.spec import RegionsFile
from neverblink.vision.neighbours import neighbour_table
from neverblink.vision.network_names import OWN_BANK
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.region import Mask

_BATCH = 8


_PROBE = 1024
"""Patches to choose the search with: those of one image of 256 px; with fewer, FAISS looks slower than it is."""

_QUANTISED_WITH = 128
"""Inputs that int8 finds its ranges with; NNCF's own default is 300."""

_VALIDATED_WITH = 8


@dataclass(frozen=True, slots=True)
class Fitted:
    """The artifact, how many images are behind it, and what a person should know of them, in sentences.

    `suspects` stand out among them, `left_out` stood out and were taken for not good by a robust fit, in `unfound` no
    part is found. `extractor` is what made the features.
    """

    artifact: Artifact
    images: int
    notes: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    left_out: tuple[Suspect, ...] = ()
    unfound: tuple[Unfound, ...] = ()
    extractor: FeatureExtractor | None = None


def fit(
    images: Sequence[Path] | Usable,
    folder: Path,
    settings: FitSettings,
    progress: Progress = lambda *_: None,
    *,
    judged: Mask | None = None,
    labelled: Sequence[LabelledImage] = (),
    skip_unusable: bool = False,
    root: Path | None = None,
    excluded: Mapping[str, str] | None = None,
    aligner: Aligner | None = None,
    regions: FittedRegions | None = None,
) -> Fitted:
    """Fit a PatchCore model to images of good parts and write it to `folder`.

    Every image goes into the memory bank, and every image calibrates the threshold: it is scored by a bank
    built without it (`folds` banks of all but one fold each). On magnetic tiles those scores have the median
    of fresh images; leaving only an image's own vectors out of the one bank puts it 2.5 % higher.
    `neighbours` above 0 turns on the re-weighting of eq. 7. Memory stays below `memory_gib`: what does not fit
    is in a file, and many patches are condensed fold by fold, which serves all banks. `judged` (R, h, w) bool,
    `aligner` and named `regions` are another artifact's; they take the place of what the settings say.

    All images are looked at first, unless that was done: those that cannot be used are told at once, or left out with
    `skip_unusable`. Images of a group (`group_by`, by their paths below `root`) and copies of a picture share a fold
    and count as one in the promise, by the worst of them. Images that stand out are told, and left out of a `robust`
    fit, which is then made anew. `excluded` (path below the folder, sha256) were left out before, and are recorded.

    With the engine openvino-bf16 or openvino-int8 the model is fitted twice, in fp32 and so, and refused when the
    second ranks worse or scores good parts otherwise; `labelled` images try it too, without them only the scores of
    good ones are compared. Raises VisionError.
    """
    check_place(folder, settings.product, replace=True)
    looked_at = picture_set(
        images, settings, progress, root=root, excluded=excluded or {}, skip_unusable=skip_unusable,
        aligned=aligner is not None,
    )  # fmt: skip
    backbone, extractor, aligned = aligned_network(looked_at, settings, progress, aligner)
    check_promise(aligned.pictures, settings)
    checked = settings.engine in OWN_BANK
    if checked:
        labelled, _ = with_parts(labelled, lambda one: one.path, aligned.aligner, depth=settings.depth)
    learnt, views, model, assumed = _without_suspects(aligned, extractor, settings, Before(judged, regions), progress)
    engines: tuple[ValidatedEngine, ...] = ()
    network: QuantisedNetwork | None = None
    if checked:
        fp32 = (model, extractor)
        extractor, model, network = _with_own_bank(backbone, fp32, views, settings, labelled, regions, progress)
    else:
        engines = _validated(backbone, model, extractor, views)
    left_out = () if assumed is None else assumed.left_out
    if left_out:
        model = replace(model, calibration=model.calibration.model_copy(update={"taken_out": len(left_out)}))
    artifact = save_artifact(
        folder,
        _description(extractor, model, views, settings, learnt, engines, network),
        bank=model.bank.numpy(),
        neighbours=None if model.table is None else model.table.numpy(),
        scores=model.scores,
        peaks=model.peaks,
        picture_scores=None if model.calibration.pictures is None else model.held_out.scores,
        probe=model.probe.numpy(),
        region=views.region,
        int8=None if network is None else (network.graph, network.weights),
        parts=_parts(aligned.aligner, model.named, extractor.grid),
        overwrite=True,
    )
    suspects = find_suspects(learnt.usable.paths, model.held_out, rate_of(settings))
    notes, count = _notes(aligned, assumed, suspects, model.calibration), len(learnt.usable.pictures)
    return Fitted(artifact, count, tuple(notes), tuple(suspects), left_out, aligned.unfound, extractor)


def _parts(aligner: Aligner | None, named: FittedRegions | None, grid: tuple[int, int]) -> dict[PartName, Tensors]:
    found: dict[PartName, Tensors] = {} if aligner is None else {PART: aligner.tensors}
    return found if named is None else found | {REGIONS: named.tensors(grid)}


def _notes(
    aligned: Aligning,
    assumed: Robust | None,
    suspects: Sequence[Suspect],
    calibration: Calibration,
) -> list[str]:
    """Return what a person should know of the pictures."""
    return [
        *aligned.pictures.usable.notes(),
        *aligned.notes,
        *grouped_notes(aligned.pictures),
        *suspects_notes(suspects, calibration),
        *([] if assumed is None else [assumed.note()]),
    ]


@dataclass(frozen=True, slots=True)
class _Model:
    """What one engine's features give: bank (M, C), a share `ratio` of all patches, by `levels` of k-center; eq. 7's
    table; what held-out pictures score, and of that scores and map peaks (m,), one a group; `probe` (q, C) are patches
    of the pictures, evenly taken.
    """

    bank: Tensor
    ratio: float
    levels: Literal[1, 2]
    table: Tensor | None
    held_out: HeldOut
    scores: npt.NDArray[np.float32]
    peaks: npt.NDArray[np.float32]
    calibration: Calibration
    scorer: Scorer
    probe: Tensor
    named: FittedRegions | None = None


@dataclass(frozen=True, slots=True)
class Before:
    """What another artifact judges, in place of what the settings say: its patches (R, h, w), its named regions."""

    judged: Mask | None = None
    regions: FittedRegions | None = None

    @property
    def places(self) -> Places | None:
        """Return the patches of its named regions."""
        return None if self.regions is None else self.regions.places


def _model(
    views: Views,
    extractor: FeatureExtractor,
    settings: FitSettings,
    known: FittedRegions | None,
    progress: Progress,
) -> _Model:
    """Fit with one engine's features; `known` are the named regions of another model."""
    drawn = settings.regions if isinstance(settings.regions, RegionsFile) else None
    plan = planned(drawn, views, extractor, known)
    rows = len(views.images) * views.an_image
    patches = extractor.grid[0] * extractor.grid[1]
    room = room_of(settings)
    with FeatureStore(rows, patches, extractor.dimension, in_memory=room // 3, scratch=settings.scratch) as features:
        _extract(views, extractor, features, progress)
        kept = min(_PROBE, rows * patches)
        probe = features.gather(torch.arange(kept) * (rows * patches) // kept)
        with projected(features, settings) as small:
            banks = Banks(features, small, views, settings)
            bank = banks.all_images(lambda done, total: progress("choosing the memory bank", done, total))
            held_out, named = _held_out(banks, views, extractor, settings, plan, progress)
    scores, peaks = held_out.one_a_group()
    calibration = calibrate(scores, peaks, false_reject=rate_of(settings), counted=counted_in(settings))
    if settings.group_by is not None:
        calibration = calibration.model_copy(update={"pictures": len(views.images)})
    table, patchcore = _patchcore(bank, views, extractor, settings)
    made: Scorer = patchcore
    if named is not None:
        made = RegionScorer(patchcore, named, extractor.spec.preprocess, extractor.grid)
    return _Model(bank, banks.ratio, banks.levels, table, held_out, scores, peaks, calibration, made, probe, named)


def _held_out(
    banks: Banks,
    views: Views,
    extractor: FeatureExtractor,
    settings: FitSettings,
    plan: RegionPlan | None,
    progress: Progress,
) -> tuple[HeldOut, FittedRegions | None]:
    """Return what each picture scores by what the other folds know, and the levels of named regions."""

    def scorer(bank: Tensor) -> PatchCore:
        return _patchcore(bank, views, extractor, settings)[1]

    if plan is None:
        return cross_fitted(banks, views, extractor.grid, scorer, progress), None
    return cross_fitted_regions(
        plan, banks, views, extractor.grid, extractor.spec.preprocess, scorer, progress, false_reject=rate_of(settings)
    )


def _without_suspects(
    aligned: Aligning, extractor: FeatureExtractor, settings: FitSettings, before: Before, progress: Progress
) -> tuple[PictureSet, Views, _Model, Robust | None]:
    """Fit, and in a robust fit once more without what stands out; return what was learnt from, and what it assumed."""
    given = aligned.pictures
    seen = (before.judged, given.groups.group, aligned.aligner, aligned.poses, before.places)
    views = Views(given.usable.paths, extractor, settings, *seen)
    model = _model(views, extractor, settings, before.regions, progress)
    if not settings.robust:
        return given, views, model, None
    assumed = taken_for_bad(find_suspects(given.usable.paths, model.held_out, rate_of(settings)), len(views.images))
    if not assumed.left_out:
        return given, views, model, assumed
    learnt = given.without(one.path for one in assumed.left_out)
    check_promise(learnt, settings)
    seen = (before.judged, learnt.groups.group, aligned.aligner, aligned.poses, before.places)
    views = Views(learnt.usable.paths, extractor, settings, *seen)
    return learnt, views, _model(views, extractor, settings, before.regions, progress), assumed


def _with_own_bank(
    backbone: Backbone,
    reference: tuple[_Model, FeatureExtractor],
    views: Views,
    settings: FitSettings,
    labelled: Sequence[LabelledImage],
    known: FittedRegions | None,
    progress: Progress,
) -> tuple[FeatureExtractor, _Model, QuantisedNetwork | None]:
    """Fit once more with the features of bf16 or int8. Raises VisionError when that model is not as good."""
    assert settings.engine != "auto"
    network: QuantisedNetwork | None = None
    if settings.engine == "openvino-int8":
        network = quantise(
            PatchEmbedding(backbone), side=backbone.spec.preprocess.side, images=views.some(_QUANTISED_WITH)
        )
    extractor = FeatureExtractor(backbone, engine=settings.engine, quantised=network)
    model = _model(views, extractor, settings, known, progress)
    _check(reference, (model, extractor), views, labelled)
    return extractor, model, network


def _description(
    extractor: FeatureExtractor,
    model: _Model,
    views: Views,
    settings: FitSettings,
    learnt: PictureSet,
    engines: tuple[ValidatedEngine, ...],
    network: QuantisedNetwork | None,
) -> Description:
    """Return what the artifact says of itself."""
    usable, groups = learnt.usable, learnt.groups
    return Description(
        name=settings.name,
        version=settings.version,
        product=settings.product,
        created=datetime.now(UTC),
        backbone=extractor.spec,
        grid=extractor.grid,
        dimension=extractor.dimension,
        vectors=len(model.bank),
        neighbours=min(settings.neighbours, len(model.bank)),
        probe=len(model.probe),
        top=settings.top,
        alignment=None if views.aligner is None else views.aligner.spec,
        named_regions=None if model.named is None else model.named.spec,
        regions=0 if views.region is None else len(views.region),
        tiling=settings.tiling,
        engine=extractor.engine_name,
        engines=engines,
        quantised=None
        if network is None
        else Quantised(graph_bytes=network.graph.size, weights_bytes=network.weights.size),
        calibration=model.calibration,
        provenance=Provenance(
            images=tuple(picture.digest for picture in usable.pictures),
            groups=tuple(groups.group.tolist()) if groups.count < len(groups.group) else (),
            grouped_by=groups.by,
            excluded=dict(learnt.excluded),
            coreset_ratio=model.ratio,
            usual_ratio=settings.ratio is None,
            projection=settings.projection,
            seed=settings.seed,
            folds=min(settings.folds, groups.count),
            brightness=() if settings.brightness == (1.0,) else settings.brightness,
            starts=settings.starts,
            levels=model.levels,
            software={"neverblink": __version__, "torch": torch.__version__, "timm": timm.__version__},
        ),
    )


def _patchcore(
    bank: Tensor, views: Views, extractor: FeatureExtractor, settings: FitSettings
) -> tuple[Tensor | None, PatchCore]:
    table = neighbour_table(bank, settings.neighbours) if settings.neighbours else None
    return table, PatchCore(
        bank, neighbours=table, region=views.region, preprocess=extractor.spec.preprocess, top=settings.top
    )


def _extract(views: Views, extractor: FeatureExtractor, features: FeatureStore, progress: Progress) -> None:
    """Append the features of all images."""
    images = views.images
    for start in range(0, len(images), _BATCH):
        paths = images[start : start + _BATCH]
        found = embedded(extractor, [part for path in paths for part in views.of(path)]).cpu()
        if not found.isfinite().all():
            named = ", ".join(str(path) for path in paths)
            raise NoNumberError(f"the network gives values that are no numbers for a picture among {named}")
        features.append(found)
        progress("extracting features", start + len(paths), len(images))


def _validated(
    backbone: Backbone, model: _Model, extractor: FeatureExtractor, views: Views
) -> tuple[ValidatedEngine, ...]:
    """Score a few training images with PyTorch's features too: the model must not depend on its engine."""
    if extractor.engine_name == "torch":
        return ()
    inputs = views.some(_VALIDATED_WITH)
    plain = FeatureExtractor(backbone, engine="torch")
    here, there = (
        np.array([anomaly.score for anomaly in model.scorer.score(embedded(one, inputs).cpu())])
        for one in (extractor, plain)
    )
    furthest = float(np.max(np.abs(here - there) / np.maximum(here, model.calibration.threshold)))
    return (ValidatedEngine(name="torch", difference=furthest, images=len(inputs)),)


def _check(
    reference: tuple[_Model, FeatureExtractor],
    candidate: tuple[_Model, FeatureExtractor],
    views: Views,
    labelled: Sequence[LabelledImage],
) -> None:
    """Raise VisionError when the bf16 or int8 model is not as good as the fp32 one."""
    ratios = [model.scores / model.calibration.threshold for model, _ in (reference, candidate)]
    check_shift(*ratios)
    if not labelled:
        return
    scores: list[npt.NDArray[np.float64]] = []
    for model, extractor in (reference, candidate):
        found = []
        for image in labelled:
            pixels = read_image(image.path, depth=extractor.spec.preprocess.depth)
            features = embedded(extractor, prepared(views.seen(pixels), extractor, views.plan)).cpu()
            found.append(views.anomaly(model.scorer.score(features)).score / model.calibration.threshold)
        scores.append(np.array(found))
    check_shift(*scores, labels=np.array([image.defect is not None for image in labelled]))
