"""From pictures of good parts to a calibrated artifact."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import timm
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from neverblink import __version__
from neverblink.trainer.dataset import DatasetError, LabelledImage, file_digest
from neverblink.trainer.feature_store import FeatureStore
from neverblink.trainer.yaml_file import read_yaml
from neverblink.vision.artifact import (
    Artifact,
    Description,
    Plain,
    Provenance,
    Quantised,
    ValidatedEngine,
    save_artifact,
)
from neverblink.vision.augmentation import Lighting
from neverblink.vision.backbone_spec import DEFAULT_MODEL
from neverblink.vision.backbones import Backbone, load_backbone
from neverblink.vision.calibration import Calibration, calibrate, folds, threshold_rank
from neverblink.vision.coreset import Condensed, condense, greedy_k_center, project
from neverblink.vision.decode import read_image
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines import OWN_BANK, EngineName, QuantisedNetwork, check_shift, quantise
from neverblink.vision.errors import VisionError, reason_of
from neverblink.vision.inspector import Image, embedded, joined, prepared
from neverblink.vision.neighbours import neighbour_table
from neverblink.vision.patchcore import Anomaly, FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Clahe, Preprocess
from neverblink.vision.region import Mask, RegionOfInterest, patch_region, read_mask, tiled_patch_region
from neverblink.vision.tiling import TilePlan

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, how much is done, and of how much."""

_BATCH = 8

_GIB = 1024**3

_PROGRAM_GIB = 1.0
"""What the program, its network and a batch need besides features: 0.7 GiB with ResNet-18 at 256 px, and some air."""

_CHOSEN_AT_ONCE = 1 << 20
"""More patches than this (1,024 images of 256 px) are condensed fold by fold: the work grows with their square."""

_KEPT = 2.0
"""Times its share that each fold keeps: on magnetic tiles 1.5, 2 and 5 end at 1.08 to 1.11 of the greedy radius."""


_QUANTISED_WITH = 128
"""Inputs that int8 finds its ranges with; NNCF's own default is 300."""

_VALIDATED_WITH = 8


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a model is made with; the defaults are what `neverblink fit` uses."""

    product: Plain
    name: Plain
    version: Plain = "1"
    model: str = DEFAULT_MODEL
    weights: Path | None = None
    levels: tuple[int, ...] | None = None
    """Feature levels; None: what suits the network."""
    dimension: int | None = None
    """Numbers per patch after pooling, 1024 in the official code; None: the channels of all levels."""
    size: int = 256
    crop: int | None = None
    keep_aspect: bool = False
    """Pad the images to a square instead of stretching them; their aspect is the first training image's."""
    white_balance: tuple[float, float, float] | None = None
    clahe: Clahe | None = None
    tiling: TilePlan | None = None
    region: RegionOfInterest | Path | None = None
    """What is judged: polygons, or a mask image over the camera's image."""
    brightness: tuple[float, ...] = (1.0,)
    """Each training image goes into the bank once a factor."""
    ratio: float = 0.01
    projection: int = 64
    """On magnetic tiles 64 dimensions give the AUROC of all 152 (0.872, 0.873) in 0.4 of the coreset's time."""
    neighbours: int = 0
    top: int = 1
    """An image's score is the mean of so many highest patches; 1 is the paper's maximum."""
    folds: int = 5
    false_reject: float | None = None
    seed: int = 0
    starts: int = 1
    """Random starting points of the coreset; the official code has 10."""
    memory_gib: float = 4.0
    """What the job may hold in memory; features beyond that go to a file in `scratch`."""
    scratch: Path | None = None
    device: str = "cpu"
    engine: EngineName | Literal["auto"] = "auto"
    labelled: Sequence[LabelledImage] = ()
    """Images that bf16 and int8 are tried on; without them only the scores of good images are compared."""

    @property
    def room(self) -> int:
        """Return the bytes left for features. Raises DatasetError when the limit does not even hold the program."""
        if self.memory_gib < _PROGRAM_GIB + 0.25:
            raise DatasetError(
                f"{self.memory_gib:g} GiB of memory do not hold the network and a batch; allow {_PROGRAM_GIB + 0.25:g}"
            )
        return int((self.memory_gib - _PROGRAM_GIB) * _GIB)


class SettingsError(VisionError):
    """A setting of a fit that cannot be used; the message names it."""


def settings_from(values: Mapping[str, object]) -> FitSettings:
    """Check settings that come from outside: a command line, a file of configurations.

    A `region` that names a YAML file is read as polygons. Raises SettingsError in one sentence.
    """
    region = values.get("region")
    if isinstance(region, Path) and region.suffix.lower() in {".yaml", ".yml", ".json"}:
        values = {**values, "region": read_yaml(region, "region", SettingsError)}
    try:
        return TypeAdapter(FitSettings).validate_python(values)
    except ValidationError as error:
        fault = error.errors()[0]
        given = f" (it is {fault['input']!r})" if isinstance(fault["input"], str | int | float) else ""
        # A union's branch is named in brackets, which says nothing to a person.
        place = ".".join(str(part) for part in fault["loc"] if "[" not in str(part))
        raise SettingsError(f"{place}: {reason_of(fault)}{given}") from error


@dataclass(frozen=True, slots=True)
class Fitted:
    """The artifact, and how many images are behind it."""

    artifact: Artifact
    images: int


def fit(
    images: Sequence[Path],
    folder: Path,
    settings: FitSettings,
    progress: Progress = lambda *_: None,
    *,
    judged: Mask | None = None,
) -> Fitted:
    """Fit a PatchCore model to images of good parts and write it to `folder`.

    Every image goes into the memory bank, and every image calibrates the threshold: it is scored by a bank
    built without it (`folds` banks of all but one fold each). On magnetic tiles those scores have the median
    of fresh images; leaving only an image's own vectors out of the one bank puts it 2.5 % higher.
    `neighbours` above 0 turns on the re-weighting of eq. 7. Memory stays below `memory_gib`: what does not fit
    is in a file, and many patches are condensed fold by fold, which serves all banks. `judged` (R, h, w) bool are the
    patches that another artifact judges; it takes the place of a region in the settings.

    With the engine openvino-bf16 or openvino-int8 the model is fitted twice, in fp32 and so, and refused when the
    second ranks worse or scores good parts otherwise. Raises VisionError.
    """
    if len(images) < 2:
        raise DatasetError(f"{len(images)} image is not enough to know what is normal; give dozens, better hundreds")
    if settings.false_reject is not None:
        # A promise that cannot be kept is refused before the work, not after it.
        threshold_rank(len(images), settings.false_reject)
    backbone = load_backbone(
        settings.model,
        weights=settings.weights,
        levels=settings.levels,
        dimension=settings.dimension,
        preprocess=_preprocess(images, settings),
    )
    checked = settings.engine in OWN_BANK
    extractor = FeatureExtractor(backbone, device=settings.device, engine="auto" if checked else settings.engine)
    views = _Views(images, extractor, settings, judged)
    model, digests = _model(views, extractor, settings, progress)
    network: QuantisedNetwork | None = None
    if checked:
        reference, reference_extractor = model, extractor
        if settings.engine == "openvino-int8":
            network = quantise(
                PatchEmbedding(backbone), side=backbone.spec.preprocess.side, images=views.some(_QUANTISED_WITH)
            )
        extractor = FeatureExtractor(backbone, engine=settings.engine, quantised=network)
        model, _ = _model(views, extractor, settings, progress)
        _check((reference, reference_extractor), (model, extractor), views, settings.labelled)
    description = Description(
        name=settings.name,
        version=settings.version,
        product=settings.product,
        created=datetime.now(UTC),
        backbone=backbone.spec,
        grid=extractor.grid,
        dimension=extractor.dimension,
        vectors=len(model.bank),
        neighbours=min(settings.neighbours, len(model.bank)),
        top=settings.top,
        regions=0 if views.region is None else len(views.region),
        tiling=settings.tiling,
        engine=extractor.engine_name,
        engines=() if checked else _validated(backbone, model, extractor, views),
        quantised=None
        if network is None
        else Quantised(graph_bytes=network.graph.size, weights_bytes=network.weights.size),
        calibration=model.calibration,
        provenance=Provenance(
            images=digests,
            coreset_ratio=settings.ratio,
            projection=settings.projection,
            seed=settings.seed,
            folds=min(settings.folds, len(images)),
            brightness=() if settings.brightness == (1.0,) else settings.brightness,
            starts=settings.starts,
            levels=model.levels,
            software={"neverblink": __version__, "torch": torch.__version__, "timm": timm.__version__},
        ),
    )
    artifact = save_artifact(
        folder,
        description,
        bank=model.bank.numpy(),
        neighbours=None if model.table is None else model.table.numpy(),
        scores=model.scores,
        peaks=model.peaks,
        region=views.region,
        graph=None if network is None else network.graph,
        weights=None if network is None else network.weights,
        overwrite=True,
    )
    return Fitted(artifact, len(images))


@dataclass(frozen=True, slots=True)
class _Model:
    """What one engine's features give: bank (M, C), chosen by `levels` of k-center; eq. 7's table; held-out scores
    and map peaks (m,).
    """

    bank: Tensor
    levels: Literal[1, 2]
    table: Tensor | None
    scores: npt.NDArray[np.float32]
    peaks: npt.NDArray[np.float32]
    calibration: Calibration
    patchcore: PatchCore


class _Views:
    """The network inputs of the training images: each once a brightness, and in tiles where images are cut.

    Inputs of one image follow one another, tiles within brightness. `region` (R, h, w) bool is what is judged.
    """

    def __init__(
        self, images: Sequence[Path], extractor: FeatureExtractor, settings: FitSettings, judged: Mask | None
    ) -> None:
        first = read_image(images[0])
        self.images = images
        self.size: tuple[int, int] = first.shape[:2]
        self.plan = settings.tiling
        self._extractor = extractor
        self._lighting = Lighting(brightness=settings.brightness)
        self.tiles = 1 if self.plan is None else len(self.plan.tiles(*self.size))
        self.an_image = self.tiles * len(settings.brightness)
        self._as_it_is = self.tiles * settings.brightness.index(1.0)
        self.region = _region(settings, extractor, self.size) if judged is None else judged

    def of(self, path: Path) -> list[Image]:
        """Return an image's inputs. Raises DatasetError when it is cut and has another size than the first."""
        image = read_image(path)
        if self.plan is not None and image.shape[:2] != self.size:
            (height, width), (first_height, first_width) = image.shape[:2], self.size
            raise DatasetError(
                f"{path} has {width} × {height} pixels and {self.images[0]} has {first_width} × {first_height}: images"
                " that are cut into tiles must be of one size"
            )
        variants = self._lighting.variants(image)
        return [part for variant in variants for part in prepared(variant, self._extractor, self.plan)]

    def judged(self, image: int) -> range:
        """Return the rows of an image as it is: what its score comes from."""
        start = image * self.an_image + self._as_it_is
        return range(start, start + self.tiles)

    def some(self, count: int) -> list[Image]:
        """Return about `count` inputs, those of whole images spread over all, as they are."""
        wanted = max(1, count // self.tiles)
        paths = self.images[:: max(1, len(self.images) // wanted)][:wanted]
        return [part for path in paths for part in prepared(read_image(path), self._extractor, self.plan)]

    def anomaly(self, tiles: Sequence[Anomaly]) -> Anomaly:
        """Return an image's anomaly from those of its inputs."""
        return tiles[0] if self.plan is None else joined(tiles, self.plan, self.size)


def _preprocess(images: Sequence[Path], settings: FitSettings) -> Preprocess:
    aspect: float | None = None
    if settings.keep_aspect:
        height, width = (
            read_image(images[0]).shape[:2] if settings.tiling is None else (settings.tiling.tile, settings.tiling.tile)
        )
        aspect = width / height
    return Preprocess(
        resize=settings.size,
        crop=settings.crop,
        aspect=aspect,
        white_balance=settings.white_balance,
        clahe=settings.clahe,
    )


def _region(settings: FitSettings, extractor: FeatureExtractor, size: tuple[int, int]) -> Mask | None:
    """Return the (R, h, w) patches that are judged, None for all; what was padded never is."""
    preprocess = extractor.spec.preprocess
    if settings.region is None and preprocess.aspect is None:
        return None
    if isinstance(settings.region, Path):
        mask = read_mask(settings.region)
    else:
        mask = (settings.region or RegionOfInterest()).mask(*size)
    if settings.tiling is None:
        return patch_region(mask, preprocess, extractor.grid)[None]
    if mask.shape != size:
        raise DatasetError(
            f"the region mask has {mask.shape[1]} × {mask.shape[0]} pixels and the images have {size[1]} × {size[0]}:"
            " with tiles they must be of one size"
        )
    return tiled_patch_region(mask, settings.tiling, preprocess, extractor.grid)


def _model(
    views: _Views, extractor: FeatureExtractor, settings: FitSettings, progress: Progress
) -> tuple[_Model, tuple[str, ...]]:
    """Fit with one engine's features; also returns the digest of each image file."""
    rows = len(views.images) * views.an_image
    patches = extractor.grid[0] * extractor.grid[1]
    room = settings.room
    with FeatureStore(rows, patches, extractor.dimension, in_memory=room // 3, scratch=settings.scratch) as features:
        digests = _extract(views, extractor, features, progress)
        with _projected(features, settings) as projected:
            banks = _Banks(features, projected, views, settings)
            bank = banks.all_images(lambda done, total: progress("choosing the memory bank", done, total))
            scores, peaks = _cross_fitted(banks, views, extractor, settings, progress)
    calibration = calibrate(
        scores, peaks, false_reject="auto" if settings.false_reject is None else settings.false_reject
    )
    table, patchcore = _patchcore(bank, views, extractor, settings)
    return _Model(bank, banks.levels, table, scores, peaks, calibration, patchcore), digests


def _patchcore(
    bank: Tensor, views: _Views, extractor: FeatureExtractor, settings: FitSettings
) -> tuple[Tensor | None, PatchCore]:
    table = neighbour_table(bank, settings.neighbours) if settings.neighbours else None
    return table, PatchCore(
        bank, neighbours=table, region=views.region, preprocess=extractor.spec.preprocess, top=settings.top
    )


def _extract(views: _Views, extractor: FeatureExtractor, features: FeatureStore, progress: Progress) -> tuple[str, ...]:
    """Append the features of all images, and return the digest of each file."""
    digests: list[str] = []
    images = views.images
    for start in range(0, len(images), _BATCH):
        paths = images[start : start + _BATCH]
        features.append(embedded(extractor, [part for path in paths for part in views.of(path)]).cpu())
        digests += [file_digest(path) for path in paths]
        progress("extracting features", start + len(paths), len(images))
    return tuple(digests)


def _validated(
    backbone: Backbone, model: _Model, extractor: FeatureExtractor, views: _Views
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
    views: _Views,
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
            features = embedded(extractor, prepared(read_image(image.path), extractor, views.plan)).cpu()
            found.append(views.anomaly(model.patchcore.score(features)).score / model.calibration.threshold)
        scores.append(np.array(found))
    check_shift(*scores, labels=np.array([image.defect is not None for image in labelled]))


def _projected(features: FeatureStore, settings: FitSettings) -> FeatureStore:
    """Return the features in the few dimensions in which the coreset is chosen."""
    dimension = project(features.image(0), settings.projection, seed=settings.seed).shape[1]
    found = FeatureStore(
        len(features), features.patches, dimension, in_memory=settings.room // 3, scratch=settings.scratch
    )
    for index in range(len(features)):
        found.append(project(features.image(index), settings.projection, seed=settings.seed))
    return found


class _Banks:
    """The memory bank of all images, and those of all images but one fold's.

    Few patches: each bank is the greedy choice among all its patches. Many: what each fold keeps is chosen once,
    and each bank from what its folds kept: six banks for less than the work of one.
    """

    def __init__(self, features: FeatureStore, projected: FeatureStore, views: _Views, settings: FitSettings) -> None:
        images = len(views.images)
        self.fold_of = torch.from_numpy(folds(images, settings.folds, seed=settings.seed))
        self.features = features
        self._projected = projected
        self._settings = settings
        self._patches = features.patches
        # All inputs of an image are in its fold: no bank may know an image by a brighter copy of it.
        self._fold_of_row = self.fold_of.repeat_interleave(views.an_image)
        region = torch.ones((1, self._patches), dtype=torch.bool) if views.region is None else _flat(views.region)
        self._inside = region.repeat(len(self._fold_of_row) // len(region), 1) if len(region) > 1 else region
        size = 4 * self._patches * projected.dimension
        self._rows_at_once = max(1, settings.room // 6 // size)
        self._at_once = len(features) * self._patches <= _CHOSEN_AT_ONCE and not projected.on_disk
        self._condensed: list[Condensed] = []

    @property
    def levels(self) -> Literal[1, 2]:
        """Return by how many levels of k-center the banks are chosen."""
        return 1 if self._at_once else 2

    def all_images(self, progress: Callable[[int, int], None]) -> Tensor:
        """Return the (M, C) bank of all images."""
        every = torch.arange(len(self.features))
        if self._at_once:
            return self._chosen_at_once(every, progress)
        wanted = self._wanted(every)
        total = round(_KEPT * wanted) + wanted
        kept = 0
        progress(0, total)
        for fold in range(int(self.fold_of.max()) + 1):
            self._condensed.append(self._condense(fold))
            kept += len(self._condensed[-1].positions)
            progress(kept, total)
        return self._chosen_from(self._condensed, wanted, lambda done, of: progress(total - of + done, total))

    def without(self, fold: int) -> Tensor:
        """Return the (M, C) bank of all images but those of a fold; after `all_images`."""
        others = torch.nonzero(self._fold_of_row != fold).flatten()
        if self._at_once:
            return self._chosen_at_once(others)
        condensed = [kept for other, kept in enumerate(self._condensed) if other != fold]
        return self._chosen_from(condensed, self._wanted(others))

    def _wanted(self, rows: Tensor) -> int:
        return max(1, round(self._settings.ratio * int(self._inside_of(rows).sum())))

    def _positions(self, rows: Tensor) -> Tensor:
        """Return which patches of some rows are judged, counted over the patches of all rows."""
        every = rows.unsqueeze(1) * self._patches + torch.arange(self._patches)
        return every[self._inside_of(rows)]

    def _inside_of(self, rows: Tensor) -> Tensor:
        return self._inside[rows] if len(self._inside) > 1 else self._inside.expand(len(rows), -1)

    def _vectors(self, rows: Tensor) -> Tensor:
        """Return the projected patches of some rows that are judged, in the order of `_positions`."""
        return self._projected.images(rows)[self._inside_of(rows)]

    def _chosen_at_once(self, rows: Tensor, progress: Callable[[int, int], None] | None = None) -> Tensor:
        chosen = greedy_k_center(
            self._vectors(rows),
            self._wanted(rows),
            seed=self._settings.seed,
            starts=self._settings.starts,
            progress=progress,
        )
        return self.features.gather(self._positions(rows)[chosen])

    def _condense(self, fold: int) -> Condensed:
        """Return what a fold keeps; positions count over the patches of all rows."""
        rows = torch.nonzero(self._fold_of_row == fold).flatten()
        settings = self._settings
        kept = condense(
            (self._vectors(some) for some in torch.split(rows, self._rows_at_once)),
            min(1.0, _KEPT * settings.ratio),
            seed=settings.seed,
            starts=settings.starts,
        )
        return Condensed(kept.vectors, self._positions(rows)[kept.positions])

    def _chosen_from(
        self, condensed: Sequence[Condensed], wanted: int, progress: Callable[[int, int], None] | None = None
    ) -> Tensor:
        positions = torch.cat([kept.positions for kept in condensed])
        chosen = greedy_k_center(
            torch.cat([kept.vectors for kept in condensed]),
            wanted,
            seed=self._settings.seed,
            starts=self._settings.starts,
            progress=progress,
        )
        return self.features.gather(positions[chosen])


def _flat(region: Mask) -> Tensor:
    return torch.from_numpy(region.reshape(len(region), -1))


def _cross_fitted(
    banks: _Banks, views: _Views, extractor: FeatureExtractor, settings: FitSettings, progress: Progress
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return each image's score and highest map value against a bank of the other folds."""
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
    return scores, peaks
