"""From pictures of good parts to a calibrated artifact."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from neverblink.trainer.datasets.images import DatasetError, LabelledImage
from neverblink.trainer.datasets.usable_pictures import Usable, usable_pictures
from neverblink.trainer.fitting.feature_store import FeatureStore
from neverblink.trainer.fitting.memory_banks import Banks, projected, room_of
from neverblink.trainer.fitting.places import check_place
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.views import Views, preprocess_of
from neverblink.vision.artifact import Artifact, save_artifact
from neverblink.vision.artifact_manifest import Description, Provenance, Quantised, ValidatedEngine
from neverblink.vision.backbones import Backbone, load_backbone
from neverblink.vision.calibration import Calibration, calibrate, threshold_rank
from neverblink.vision.copies import one_each
from neverblink.vision.decode import read_image
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines import QuantisedNetwork, check_shift, quantise
from neverblink.vision.errors import NoNumberError
from neverblink.vision.inspector import embedded, prepared
from neverblink.vision.neighbours import neighbour_table
from neverblink.vision.network_names import OWN_BANK
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.region import Mask

_BATCH = 8


_QUANTISED_WITH = 128
"""Inputs that int8 finds its ranges with; NNCF's own default is 300."""

_VALIDATED_WITH = 8


@dataclass(frozen=True, slots=True)
class Fitted:
    """The artifact, how many images are behind it, and what a person should know of them, in sentences."""

    artifact: Artifact
    images: int
    notes: tuple[str, ...] = ()


def fit(
    images: Sequence[Path] | Usable,
    folder: Path,
    settings: FitSettings,
    progress: Progress = lambda *_: None,
    *,
    judged: Mask | None = None,
    labelled: Sequence[LabelledImage] = (),
    skip_unusable: bool = False,
) -> Fitted:
    """Fit a PatchCore model to images of good parts and write it to `folder`.

    Every image goes into the memory bank, and every image calibrates the threshold: it is scored by a bank
    built without it (`folds` banks of all but one fold each). On magnetic tiles those scores have the median
    of fresh images; leaving only an image's own vectors out of the one bank puts it 2.5 % higher.
    `neighbours` above 0 turns on the re-weighting of eq. 7. Memory stays below `memory_gib`: what does not fit
    is in a file, and many patches are condensed fold by fold, which serves all banks. `judged` (R, h, w) bool are the
    patches that another artifact judges; it takes the place of a region in the settings.

    All images are looked at first, unless that was done: those that cannot be used are told at once, or left out with
    `skip_unusable`. Copies of a picture share a fold and count as one in the promise, by the worst of them.

    With the engine openvino-bf16 or openvino-int8 the model is fitted twice, in fp32 and so, and refused when the
    second ranks worse or scores good parts otherwise; `labelled` images try it too, without them only the scores of
    good ones are compared. Raises VisionError.
    """
    check_place(folder, settings.product, replace=True)
    usable = _usable(images, settings, progress, skip_unusable=skip_unusable)
    images = usable.paths
    backbone = load_backbone(
        settings.model,
        weights=settings.weights,
        levels=settings.levels,
        dimension=settings.dimension,
        preprocess=preprocess_of(images, settings),
    )
    checked = settings.engine in OWN_BANK
    extractor = FeatureExtractor(backbone, device=settings.device, engine="auto" if checked else settings.engine)
    views = Views(images, extractor, settings, judged, usable.copies.group)
    model = _model(views, extractor, settings, progress)
    engines: tuple[ValidatedEngine, ...] = ()
    network: QuantisedNetwork | None = None
    if checked:
        extractor, model, network = _with_own_bank(backbone, (model, extractor), views, settings, labelled, progress)
    else:
        engines = _validated(backbone, model, extractor, views)
    artifact = save_artifact(
        folder,
        _description(extractor, model, views, settings, usable, engines, network),
        bank=model.bank.numpy(),
        neighbours=None if model.table is None else model.table.numpy(),
        scores=model.scores,
        peaks=model.peaks,
        region=views.region,
        graph=None if network is None else network.graph,
        weights=None if network is None else network.weights,
        overwrite=True,
    )
    return Fitted(artifact, len(images), usable.notes())


def _usable(
    images: Sequence[Path] | Usable, settings: FitSettings, progress: Progress, *, skip_unusable: bool
) -> Usable:
    """Look at the images before anything is loaded. A promise that cannot be kept is refused here, not at the end."""
    given = len(images.pictures) if isinstance(images, Usable) else len(images)
    if given < 2:
        raise DatasetError(f"{given} image is not enough to know what is normal; give dozens, better hundreds")
    if settings.false_reject is not None:
        threshold_rank(given, settings.false_reject)
    found = images
    if not isinstance(found, Usable):
        found = usable_pictures(
            found,
            skip_unusable=skip_unusable,
            one_size=settings.tiling is not None,
            depth=settings.depth,
            progress=progress,
        )
    if found.copies.different < 2:
        raise DatasetError(
            f"all {len(found.pictures)} pictures are copies of one, which is not enough to know what is normal; give"
            " pictures of different parts, dozens, better hundreds"
        )
    if settings.false_reject is not None:
        threshold_rank(found.copies.different, settings.false_reject)
    return found


@dataclass(frozen=True, slots=True)
class _Model:
    """What one engine's features give: bank (M, C), chosen by `levels` of k-center; eq. 7's table; held-out scores
    and map peaks (m,), one a group of copies.
    """

    bank: Tensor
    levels: Literal[1, 2]
    table: Tensor | None
    scores: npt.NDArray[np.float32]
    peaks: npt.NDArray[np.float32]
    calibration: Calibration
    patchcore: PatchCore


def _model(views: Views, extractor: FeatureExtractor, settings: FitSettings, progress: Progress) -> _Model:
    """Fit with one engine's features."""
    rows = len(views.images) * views.an_image
    patches = extractor.grid[0] * extractor.grid[1]
    room = room_of(settings)
    with FeatureStore(rows, patches, extractor.dimension, in_memory=room // 3, scratch=settings.scratch) as features:
        _extract(views, extractor, features, progress)
        with projected(features, settings) as small:
            banks = Banks(features, small, views, settings)
            bank = banks.all_images(lambda done, total: progress("choosing the memory bank", done, total))
            scores, peaks = _cross_fitted(banks, views, extractor, settings, progress)
    calibration = calibrate(
        scores, peaks, false_reject="auto" if settings.false_reject is None else settings.false_reject
    )
    table, patchcore = _patchcore(bank, views, extractor, settings)
    return _Model(bank, banks.levels, table, scores, peaks, calibration, patchcore)


def _with_own_bank(
    backbone: Backbone,
    reference: tuple[_Model, FeatureExtractor],
    views: Views,
    settings: FitSettings,
    labelled: Sequence[LabelledImage],
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
    model = _model(views, extractor, settings, progress)
    _check(reference, (model, extractor), views, labelled)
    return extractor, model, network


def _description(
    extractor: FeatureExtractor,
    model: _Model,
    views: Views,
    settings: FitSettings,
    usable: Usable,
    engines: tuple[ValidatedEngine, ...],
    network: QuantisedNetwork | None,
) -> Description:
    """Return what the artifact says of itself."""
    copies = usable.copies
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
        top=settings.top,
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
            groups=tuple(copies.group.tolist()) if copies.different < len(copies.group) else (),
            coreset_ratio=settings.ratio,
            projection=settings.projection,
            seed=settings.seed,
            folds=min(settings.folds, copies.different),
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
        np.array([anomaly.score for anomaly in model.patchcore.score(embedded(one, inputs).cpu())])
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
            features = embedded(extractor, prepared(pixels, extractor, views.plan)).cpu()
            found.append(views.anomaly(model.patchcore.score(features)).score / model.calibration.threshold)
        scores.append(np.array(found))
    check_shift(*scores, labels=np.array([image.defect is not None for image in labelled]))


def _cross_fitted(
    banks: Banks, views: Views, extractor: FeatureExtractor, settings: FitSettings, progress: Progress
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return each group's worst score and highest map value against a bank of the other folds."""
    count = len(views.images)
    scores = np.empty(count, dtype=np.float32)
    peaks = np.empty(count, dtype=np.float32)
    done = 0
    progress("calibrating", done, count)
    for fold in range(int(banks.fold_of.max()) + 1):
        _, model = _patchcore(banks.without(fold), views, extractor, settings)
        for image in torch.nonzero(banks.fold_of == fold).flatten().tolist():
            rows = torch.tensor(views.judged(image))
            features = banks.features.images(rows).view(len(rows), *extractor.grid, -1)
            anomaly = views.anomaly(model.score(features))
            scores[image], peaks[image] = anomaly.score, anomaly.anomaly_map.max()
            done += 1
            progress("calibrating", done, count)
    return one_each(scores, views.group), one_each(peaks, views.group)
