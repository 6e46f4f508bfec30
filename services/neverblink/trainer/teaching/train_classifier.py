"""From labelled defects to a classifier that names regions, tried on images that it had not seen."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import minimize_scalar
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.datasets.images import DatasetError
from neverblink.vision.alignment.aligner import Aligner
from neverblink.vision.alignment.view import View
from neverblink.vision.classifier import (
    Classifier,
    Familiar,
    KnownRegions,
    Name,
    name_of,
    type_chances,
)
from neverblink.vision.classifier_spec import UNKNOWN_RATE, ClassifierSpec, TypeFigures, images_needed
from neverblink.vision.decode import read_image
from neverblink.vision.defect_finder import Picture
from neverblink.vision.inspector import Inspector, brought_back, embedded, prepared
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.region_features import describe
from neverblink.vision.tile_plan import TilePlan

_BATCH = 8

_FLATTEST = 1e-3
"""A number that varies less than this share of the median one is taken to vary so much: its scale is noise."""

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

Flag = Callable[[Picture, Tensor], Sequence[Mask]]
"""Given an (H, W, 3) uint8 RGB image, or a part's view in it, and its (T, h, w, C) features, returns masks over the
image of what would be flagged."""

Source = Literal["drawn", "flagged"]

_Row = tuple[Floats, str, int, Source]


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """What a classifier is made with."""

    unknown_rate: float | None = None
    """At most this share of an image's regions of known types is called unknown; None: 5 %, or what can be promised."""
    min_confidence: float = 0.0
    min_area_px: int = 4
    """Smaller parts of a mask are slips of the pen."""
    min_images: int = 3
    """Types that fewer images show are left out: each of five classifiers should know them from two images."""
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse before the work what cannot be kept. Raises DatasetError."""
        if self.min_images < 2 or self.folds < 2:
            raise DatasetError(
                "a type is learnt from 2 images and tried in 2 folds at least, not from"
                f" {self.min_images} and in {self.folds}"
            )
        if self.unknown_rate is not None and not 0 < self.unknown_rate < 1:
            raise DatasetError(f"an unknown rate lies between 0 and 1, not at {self.unknown_rate}")
        if not 0 <= self.min_confidence < 1:
            raise DatasetError(f"a least confidence lies from 0 up to below 1, not at {self.min_confidence}")


@dataclass(frozen=True, slots=True)
class Regions:
    """What is learnt from: `descriptors` (n, D) float32, and of each region its type, image and who outlined it.

    `image` (n,) int64 counts over the images given. `too_small`, `empty_masks` and `without_mask` count what was
    left out: parts of a mask, masks, and images with a defect but no mask.
    """

    descriptors: Floats
    type: npt.NDArray[np.str_]
    image: npt.NDArray[np.int64]
    source: npt.NDArray[np.str_]
    too_small: int = 0
    empty_masks: int = 0
    without_mask: int = 0

    def chosen(self, rows: npt.NDArray[np.bool_]) -> "Regions":
        """Return some of the regions."""
        return Regions(
            self.descriptors[rows],
            self.type[rows],
            self.image[rows],
            self.source[rows],
            self.too_small,
            self.empty_masks,
            self.without_mask,
        )


@dataclass(frozen=True, slots=True)
class TriedRegion:
    """A region, and its name by a classifier that saw nothing of its image."""

    image: int
    type: str
    source: Source
    name: Name


@dataclass(frozen=True, slots=True)
class TrainedClassifier:
    """The classifier, and what it makes of regions when their images were left out.

    `confusion` (K, K + 1) int64: a row a type, a column a name, the last for unknown. `left_out` holds types with
    too few images, and how many.
    """

    classifier: Classifier
    confusion: npt.NDArray[np.int64]
    tried: tuple[TriedRegion, ...]
    regions: Regions
    left_out: dict[str, int] = field(default_factory=dict)


def train_classifier(
    images: Sequence[DefectImage],
    extractor: FeatureExtractor,
    settings: ClassifierSettings = ClassifierSettings(),
    progress: Progress = lambda *_: None,
    *,
    plan: TilePlan | None = None,
    aligner: Aligner | None = None,
    flag: Flag | None = None,
) -> TrainedClassifier:
    """Train on the regions of labelled images; good ones among them are passed over.

    Regions come from drawn masks, and with `flag` from what the model marks in the same images too. In use they come
    from there: on magnetic tiles a classifier that knows drawn masks only names 0.51 of such regions rightly
    (balanced), one that knows both 0.93. Raises DatasetError, ImageError, VisionError.
    """
    found = labelled_regions(
        images,
        extractor,
        plan=plan,
        aligner=aligner,
        flag=flag,
        min_area_px=settings.min_area_px,
        progress=progress,
    )
    return fit_regions(found, settings)


def flagged_by(inspector: Inspector) -> Flag:
    """Return what marks an image's regions as a verdict does: the U-Net's regions, and the anomaly map's."""

    def flag(image: Picture, features: Tensor) -> list[Mask]:
        height, width = image.shape[:2]
        (anomaly,) = inspector.judge(features, [(height, width)], complete=True)
        return inspector.finder.regions(image, brought_back(anomaly, image if isinstance(image, View) else None))

    return flag


def labelled_regions(
    images: Sequence[DefectImage],
    extractor: FeatureExtractor,
    *,
    plan: TilePlan | None = None,
    aligner: Aligner | None = None,
    flag: Flag | None = None,
    min_area_px: int = 4,
    progress: Progress = lambda *_: None,
) -> Regions:
    """Describe the regions of defects: each connected part of a mask, or each box; and what `flag` marks of them.

    A flagged region has the type of the defects that it touches; one that touches none or several types is left out,
    like one that lies outside the crop. Raises DatasetError when no image has a region.
    """
    defective = [(index, image) for index, image in enumerate(images) if image.defective]
    outlined = [(index, image) for index, image in defective if image.marked]
    counts = Counter(without_mask=len(defective) - len(outlined))
    rows: list[_Row] = []
    for start in range(0, len(outlined), _BATCH):
        batch = outlined[start : start + _BATCH]
        pixels = [read_image(image.path, depth=extractor.spec.preprocess.depth) for _, image in batch]
        seen: list[Picture] = list(pixels) if aligner is None else [aligner.view(image) for image in pixels]
        inputs = [prepared(image, extractor, plan) for image in seen]
        features = embedded(extractor, [part for parts in inputs for part in parts])
        own = torch.split(features, [len(parts) for parts in inputs])
        for (index, image), whole, shown, tiles in zip(batch, pixels, seen, own, strict=True):
            drawn = image.masks(*whole.shape[:2])
            found = _outlines(image, drawn, min_area_px, counts)
            rows += _described(found, index, "drawn", tiles, extractor, plan, shown)
            if flag is not None:
                found = [(name, mask) for mask in flag(shown, tiles) if (name := _touched(mask, drawn))]
                rows += _described(found, index, "flagged", tiles, extractor, plan, shown)
        progress("describing defects", start + len(batch), len(outlined))
    if not rows:
        raise DatasetError(
            f"none of the {len(images)} images has an outlined defect: a classifier learns from masks, a folder a type"
            " below `ground_truth`, or from boxes.csv"
        )
    descriptors, types, numbers, sources = zip(*rows, strict=True)
    return Regions(np.stack(descriptors), np.array(types), np.array(numbers), np.array(sources), **counts)


def fit_regions(found: Regions, settings: ClassifierSettings) -> TrainedClassifier:
    """Train on described regions. Each is tried by a classifier without its image's fold: that calibrates confidence
    and novelty, no image is lost to it, and no region is judged by another of its own image.

    Raises DatasetError when too few images are left, or too few for the unknown rate asked for.
    """
    found, left_out = _with_enough_images(found, settings.min_images)
    images = len(np.unique(found.image))
    rate = _unknown_rate(settings.unknown_rate, images)
    fold_of = _folds(found, settings)
    types = np.unique(found.type)
    truth = np.searchsorted(types, found.type)
    squared = np.full((len(truth), len(types)), np.inf)
    nearest = np.empty(len(truth))
    for fold in range(int(fold_of.max()) + 1):
        held_out = fold_of == fold
        known, columns = _known_regions(found.descriptors[~held_out], truth[~held_out])
        for row in np.flatnonzero(held_out):
            squared[row, columns], nearest[row] = known.distances(found.descriptors[row])
    temperature = _temperature(squared, truth)
    weights = 1 / np.bincount(found.image)[found.image]
    names = _names(squared, nearest, weights, found.image, (rate, temperature, settings.min_confidence), types)
    confusion = np.zeros((len(types), len(types) + 1), dtype=np.int64)
    column = {name: number for number, name in enumerate(types.tolist())}
    for row, name in zip(truth, names, strict=True):
        confusion[row, len(types) if name.type is None else column[name.type]] += 1
    known, _ = _known_regions(found.descriptors, truth)
    order = np.argsort(nearest, kind="stable")
    spec = ClassifierSpec(
        types=tuple(types.tolist()),
        dimension=found.descriptors.shape[1],
        temperature=temperature,
        unknown_rate=rate,
        min_confidence=settings.min_confidence,
        regions=len(truth),
        images=images,
        figures=tuple(_figures(found, confusion, types)),
        called_unknown=float(confusion[:, -1].sum() / len(truth)),
    )
    return TrainedClassifier(
        Classifier(spec, known, Familiar(nearest[order].astype(np.float32), weights[order].astype(np.float32))),
        confusion,
        tuple(
            TriedRegion(int(image), str(name), "flagged" if source == "flagged" else "drawn", tried)
            for image, name, source, tried in zip(found.image, found.type, found.source, names, strict=True)
        ),
        found,
        left_out,
    )


def _outlines(
    image: DefectImage, drawn: Mapping[str, Mask], min_area_px: int, counts: Counter[str]
) -> list[tuple[str, Mask]]:
    parts = list(_parts(image, drawn))
    found = [(name, mask) for name, mask in parts if np.count_nonzero(mask) >= min_area_px]
    counts["too_small"] += len(parts) - len(found)
    counts["empty_masks"] += not parts
    return found


def _described(
    outlines: Sequence[tuple[str, Mask]],
    index: int,
    source: Source,
    features: Tensor,
    extractor: FeatureExtractor,
    plan: TilePlan | None,
    shown: Picture,
) -> list[_Row]:
    if not outlines:
        return []
    masks = np.stack([mask for _, mask in outlines])
    if isinstance(shown, View):
        masks = np.stack([shown.onto(mask) for mask in masks])
    size = shown.shape[0], shown.shape[1]
    described = describe(features, masks, extractor.spec.preprocess, plan=plan, size=size)
    return [
        (descriptor, name, index, source)
        for descriptor, (name, _) in zip(described, outlines, strict=True)
        if np.isfinite(descriptor).all()
    ]


def _parts(image: DefectImage, drawn: Mapping[str, Mask]) -> Iterator[tuple[str, Mask]]:
    """Yield the regions of an image: what each box holds of the mask, or the 8-connected parts of it."""
    for box in image.boxes:
        mask = np.zeros_like(drawn[box.type])
        window = np.s_[box.top : box.bottom, box.left : box.right]
        mask[window] = drawn[box.type][window]
        if mask.any():
            yield box.type, mask
    if image.boxes:
        return
    for name, whole in drawn.items():
        count, labels = cv2.connectedComponents(whole.astype(np.uint8), connectivity=8)
        for label in range(1, count):
            yield name, np.asarray(labels == label, dtype=np.bool_)


def _touched(mask: Mask, drawn: Mapping[str, Mask]) -> str | None:
    """Return the type of the defects that a flagged region touches, None where it touches none or several types."""
    found: list[str] = []
    for name, defect in drawn.items():
        height, width = defect.shape
        enlarged = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        if (enlarged.astype(np.bool_) & defect).any():
            found.append(name)
    return found[0] if len(found) == 1 else None


def _with_enough_images(found: Regions, wanted: int) -> tuple[Regions, dict[str, int]]:
    counts = {str(name): len(np.unique(found.image[found.type == name])) for name in np.unique(found.type)}
    left_out = {name: count for name, count in counts.items() if count < wanted}
    if len(left_out) == len(counts):
        raise DatasetError(
            f"no defect type is shown by {wanted} images ({', '.join(f'{k}: {n}' for k, n in counts.items())}): give"
            " more images of the types that are to be named"
        )
    return found.chosen(~np.isin(found.type, sorted(left_out))), left_out


def _unknown_rate(asked: float | None, images: int) -> float:
    if asked is None:
        return max(UNKNOWN_RATE, 1 / (1 + images))
    if images < images_needed(asked):
        raise DatasetError(
            f"{images} images cannot promise that at most {100 * asked:.3g} % of known regions are called unknown:"
            f" {images_needed(asked)} are needed"
        )
    return asked


def _folds(found: Regions, settings: ClassifierSettings) -> npt.NDArray[np.int64]:
    """Return each region's fold (n,); all of an image are in one, and each type's images are spread over all."""
    images = np.unique(found.image)
    counts = Counter(found.type.tolist())
    rarest = {
        int(image): min(found.type[found.image == image].tolist(), key=lambda name: (counts[name], name))
        for image in images
    }
    shuffled = np.random.default_rng(settings.seed).permutation(images)
    order = sorted(shuffled.tolist(), key=lambda image: rarest[image])
    fold = {image: number % min(settings.folds, len(order)) for number, image in enumerate(order)}
    return np.array([fold[image] for image in found.image.tolist()])


def _known_regions(descriptors: Floats, truth: npt.NDArray[np.int64]) -> tuple[KnownRegions, npt.NDArray[np.int64]]:
    """Return the space in which the regions' types are balls, and which types occur: linear discriminant analysis
    with the pooled covariance shrunk by O. Ledoit and M. Wolf, Journal of Multivariate Analysis 88, 2004.
    """
    columns, own = np.unique(truth, return_inverse=True)
    centre = descriptors.mean(axis=0, dtype=np.float64)
    spread = descriptors.std(axis=0, dtype=np.float64)
    floor = _FLATTEST * float(np.median(spread)) or 1.0
    scaled = (descriptors - centre) / np.maximum(spread, floor)
    means = np.stack([scaled[own == column].mean(axis=0) for column in range(len(columns))])
    covariance, _ = ledoit_wolf(scaled - means[own], assume_centered=True)
    # Regions that are all alike have no covariance; a hair keeps it invertible.
    covariance += 1e-6 * np.eye(len(covariance))
    root = np.linalg.cholesky(covariance)
    turned = solve_triangular(root, np.eye(len(root)), lower=True).T
    whitening = (turned / np.maximum(spread, floor)[:, None]).astype(np.float32)
    offset = centre.astype(np.float32)
    # By the way that every region takes later: one at a time, in single precision.
    places = np.stack([(descriptor - offset) @ whitening for descriptor in descriptors])
    return KnownRegions(offset, whitening, (means @ turned).astype(np.float32), places), columns


def _temperature(squared: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    """Return what makes confidences frequencies (C. Guo et al., ICML 2017), for types that each count alike."""
    told = np.isfinite(squared[np.arange(len(truth)), truth])
    if squared.shape[1] == 1 or not told.any():
        return 1.0
    squared, truth = squared[told], truth[told]
    weight = 1 / np.bincount(truth)[truth]

    def loss(log_temperature: float) -> float:
        chances = type_chances(squared, float(np.exp(log_temperature)))[np.arange(len(truth)), truth]
        return float(-(weight * np.log(np.maximum(chances, 1e-12))).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(1e-2), np.log(1e4)), method="bounded").x))


def _names(
    squared: npt.NDArray[np.float64],
    nearest: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    image: npt.NDArray[np.int64],
    limits: tuple[float, float, float],
    types: npt.NDArray[np.str_],
) -> list[Name]:
    """Name each region as the classifier would without its image."""
    rate, temperature, min_confidence = limits
    chances = type_chances(squared, temperature)
    order = np.argsort(nearest, kind="stable")
    ascending, weight = nearest[order].astype(np.float32), weights[order].astype(np.float32)
    found: list[Name] = []
    for row in range(len(image)):
        others = image[order] != image[row]
        known = Familiar(ascending[others], weight[others]).share(float(nearest[row]))
        found.append(name_of(types.tolist(), chances[row], known, unknown_rate=rate, min_confidence=min_confidence))
    return found


def _figures(found: Regions, confusion: npt.NDArray[np.int64], types: npt.NDArray[np.str_]) -> Iterator[TypeFigures]:
    for number, name in enumerate(types.tolist()):
        right, named = int(confusion[number, number]), int(confusion[:, number].sum())
        own = found.type == name
        yield TypeFigures(
            name=name,
            regions=int(own.sum()),
            images=len(np.unique(found.image[own])),
            recall=right / int(own.sum()),
            precision=right / named if named else None,
        )
