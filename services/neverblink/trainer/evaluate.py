"""How well a model tells good parts from defects, on images it has not seen."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import binom
from sklearn.metrics import average_precision_score, roc_auc_score

from neverblink.product_rules import DEFAULT_RULES, ProductRules
from neverblink.trainer.dataset import DatasetError, LabelledImage
from neverblink.trainer.defect_dataset import mask_of_size, read_defect_mask
from neverblink.trainer.fit import Progress
from neverblink.trainer.pixel_ranking import PRO_LIMIT, PixelRanking, Truth
from neverblink.vision.artifact import Artifact, Manifest, load_artifact
from neverblink.vision.calibration import Calibration
from neverblink.vision.decode import Image, read_image
from neverblink.vision.engines import EngineName
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects

EXAMPLES = 12
"""So many of the lowest defects and of the highest good parts keep their maps, to be looked at."""

_BATCH = 8
_PIXEL_SIDE = 256
_TIMED = 60
_WARM_UP = 3

Floats = npt.NDArray[np.float64]
Clock = Callable[[], float]

Witness = Callable[[Path, Image, Inspection], None]
"""Told of each test image, once: its file, its (H, W, 3) uint8 RGB pixels, and all that the models say about it."""


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One test image and what the model said; `defect` is None for a good part."""

    path: Path
    defect: str | None
    score: float
    rejected: bool

    @property
    def wrong(self) -> bool:
        """Say whether the verdict contradicts the label."""
        return self.rejected is (self.defect is None)


class Example(NamedTuple):
    """A test image to be looked at, with its (S, S) float32 map over the whole image, and its mask's file."""

    image: ScoredImage
    anomaly_map: npt.NDArray[np.float32]
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class DefectClass:
    """One kind of defect against all good parts; pixel figures are None where no mask has a defect pixel."""

    name: str
    images: int
    missed: int
    auroc: float
    pixel_auroc: float | None
    au_pro: float | None

    @property
    def recall(self) -> float:
        """Return the share that was rejected."""
        return 1 - self.missed / self.images


@dataclass(frozen=True, slots=True)
class PixelFigures:
    """Localisation over good images and those with a mask; the rest is counted and left out."""

    auroc: float | None
    au_pro: float | None
    masks: int
    regions: int
    empty_masks: int
    without_mask: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from decoded pixels to findings one at a time, and images per second in batches.

    `models` are those that took part, as a scorer runs them.
    """

    models: str
    p50_ms: float
    p99_ms: float
    timed: int
    batch: int
    images_per_s: float


@dataclass(frozen=True, slots=True)
class BestF1:
    """The best F1 of all thresholds. It is chosen on the test images, so no plant will see it: a ceiling."""

    f1: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Ranking quality, and what happens at the artifact's threshold.

    `scored` holds every image in the order given; `lowest_defects` and `highest_good` at most `EXAMPLES` each,
    the most wrong first.
    """

    manifest: Manifest
    digest: str
    engine: str
    image_auroc: float
    average_precision: float
    best_f1: BestF1
    pixels: PixelFigures
    classes: tuple[DefectClass, ...]
    latency: Latency
    scored: tuple[ScoredImage, ...]
    lowest_defects: tuple[Example, ...]
    highest_good: tuple[Example, ...]

    @property
    def calibration(self) -> Calibration:
        """Return the threshold that judged, and its promise."""
        return self.manifest.calibration

    @property
    def threshold(self) -> float:
        """Return the image score above which a part was rejected."""
        return self.calibration.threshold

    @property
    def images(self) -> int:
        """Return how many images were judged."""
        return len(self.scored)

    @property
    def good(self) -> int:
        """Return how many of them show good parts."""
        return sum(image.defect is None for image in self.scored)

    @property
    def defective(self) -> int:
        """Return how many of them show a defect."""
        return self.images - self.good

    @property
    def false_rejects(self) -> int:
        """Return how many good parts were rejected."""
        return sum(image.wrong for image in self.scored if image.defect is None)

    @property
    def missed(self) -> int:
        """Return how many defective parts passed."""
        return sum(image.wrong for image in self.scored if image.defect is not None)

    @property
    def found(self) -> float:
        """Return the recall at the threshold: the share of defective parts that was rejected."""
        return 1 - self.missed / self.defective

    @property
    def precision(self) -> float | None:
        """Return the share of rejected parts that is defective, None when nothing was rejected."""
        rejected = sum(image.rejected for image in self.scored)
        return (self.defective - self.missed) / rejected if rejected else None

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall at the threshold."""
        hits = self.defective - self.missed
        return 2 * hits / (2 * hits + self.missed + self.false_rejects)

    @property
    def false_reject_rate(self) -> float:
        """Return the share of good parts that was rejected."""
        return self.false_rejects / self.good

    @property
    def chance_of_false_rejects(self) -> float:
        """Return how likely at least so many false rejects are while the promised rate holds.

        Below 5 %: the good parts of this test are not like those that the model was calibrated on.
        """
        return float(binom.sf(self.false_rejects - 1, self.good, self.calibration.false_reject))

    @property
    def unsure(self) -> tuple[int, int]:
        """Return how many good and defective parts lie in the unsure band; all of them pass."""
        inside = [image.defect for image in self.scored if self.calibration.is_unsure(image.score)]
        return inside.count(None), len(inside) - inside.count(None)

    @property
    def recall(self) -> dict[str, float]:
        """Return the recall per defect type."""
        return {found.name: found.recall for found in self.classes}

    @property
    def pixel_auroc(self) -> float | None:
        """Return the pixel AUROC, None without masks."""
        return self.pixels.auroc

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON: all figures, the model's identity, and every image's score."""
        manifest = self.manifest
        unsure_good, unsure_defective = self.unsure
        return {
            "model": {
                "name": manifest.name,
                "version": manifest.version,
                "product": manifest.product,
                "digest": self.digest,
                "backbone": manifest.backbone.model,
                "weights": manifest.backbone.weights,
                "engine": self.engine,
                "fitted_with_engine": manifest.engine,
                "bank": [manifest.vectors, manifest.dimension],
                "promise": self.calibration.statement(),
                "calibration": self.calibration.model_dump(mode="json"),
            },
            "images": self.images,
            "good": self.good,
            "defective": self.defective,
            "image_auroc": self.image_auroc,
            "average_precision": self.average_precision,
            "best_f1": asdict(self.best_f1) | {"chosen_on": "these test images"},
            "threshold": self.threshold,
            "false_rejects": self.false_rejects,
            "false_reject_rate": self.false_reject_rate,
            "chance_of_false_rejects": self.chance_of_false_rejects,
            "missed": self.missed,
            "found": self.found,
            "precision": self.precision,
            "f1": self.f1,
            "unsure": {"good": unsure_good, "defective": unsure_defective},
            "pixel_auroc": self.pixels.auroc,
            "au_pro": self.pixels.au_pro,
            "pixels": asdict(self.pixels) | {"au_pro_limit": PRO_LIMIT, "side": _PIXEL_SIDE},
            "recall": self.recall,
            "classes": [asdict(found) | {"recall": found.recall} for found in self.classes],
            "latency": asdict(self.latency),
            "worst_misses": [_plain(example.image) for example in self.lowest_defects if example.image.wrong],
            "worst_false_alarms": [_plain(example.image) for example in self.highest_good if example.image.wrong],
            "scores": [_plain(image) for image in self.scored],
        }


def evaluate(
    images: Sequence[LabelledImage],
    folder: Path,
    weights: Path | None = None,
    progress: Progress = lambda *_: None,
    *,
    device: str = "cpu",
    engine: EngineName | Literal["auto"] = "auto",
    rules: ProductRules = DEFAULT_RULES,
    witness: Witness = lambda *_: None,
    clock: Clock = time.perf_counter,
) -> Evaluation:
    """Inspect labelled images with an artifact and measure ranking, localisation and time.

    Each image is inspected once, with U-Net and classifier where the artifact has them, as `rules` say; `witness`
    is told what was found. Every other one, 63 at most, goes alone, to time single images; the rest in batches.
    Pixel figures are taken over images with a mask and good ones, at 256 × 256 pixels each; masks without a defect
    pixel are left out and counted. Raises VisionError: an image, mask or artifact that cannot be used.
    """
    labels = np.array([image.defect is not None for image in images])
    if labels.all() or not labels.any():
        raise DatasetError(
            f"{int(labels.sum())} of {len(images)} test images show a defect: both good and defective ones are needed"
        )
    artifact = load_artifact(folder)
    extractor = extractor_of(artifact, weights=weights, device=device, engine=engine)
    inspector = Inspector(
        artifact, extractor, device=device, segment_from=rules.segment_from, min_area_px=rules.min_area_px
    )
    # U-Net and classifier are opened here: no image's time pays for it.
    _ = inspector.finder
    scored: dict[int, ScoredImage] = {}
    lowest, highest = _Extremes(lowest=True), _Extremes(lowest=False)
    rankings: dict[str | None, PixelRanking] = {None: PixelRanking()}
    masks = _MaskCount()
    stopwatch = _Stopwatch(clock)
    for index, picture, inspection in _inspected(inspector, images, stopwatch):
        image, anomaly = images[index], inspection.anomaly
        truth = masks.truth(image, picture)
        witness(image.path, picture, inspection)
        found = ScoredImage(image.path, image.defect, anomaly.score, anomaly.score > artifact.threshold)
        scored[index] = found
        (highest if image.defect is None else lowest).offer(Example(found, anomaly.anomaly_map, image.mask))
        if truth is not None:
            small = cv2.resize(anomaly.anomaly_map, (_PIXEL_SIDE, _PIXEL_SIDE))
            rankings.setdefault(image.defect, PixelRanking()).add(np.asarray(small, dtype=np.float32), truth)
        progress("inspecting", len(scored), len(images))
    in_order = tuple(scored[index] for index in range(len(images)))
    scores = np.array([image.score for image in in_order])
    joined = reduce(PixelRanking.joined, rankings.values())
    return Evaluation(
        manifest=artifact.manifest,
        digest=artifact.digest,
        engine=f"{extractor.engine_name} on {device}",
        image_auroc=float(roc_auc_score(labels, scores)),
        average_precision=float(average_precision_score(labels, scores)),
        best_f1=best_f1(scores, labels),
        pixels=PixelFigures(
            auroc=joined.auroc(),
            au_pro=joined.au_pro(),
            masks=masks.used,
            regions=joined.regions,
            empty_masks=masks.empty,
            without_mask=masks.absent,
        ),
        classes=tuple(_classes(in_order, rankings)),
        latency=stopwatch.latency(_models(artifact, rules)),
        scored=in_order,
        lowest_defects=tuple(lowest.kept),
        highest_good=tuple(highest.kept),
    )


def best_f1(scores: Floats, defective: Truth) -> BestF1:
    """Return the best F1 over every cut between (n,) scores; the threshold lies midway to the next lower score."""
    order = np.argsort(-scores)
    descending, hits = scores[order], np.cumsum(defective[order])
    ends = np.flatnonzero(np.append(np.diff(descending) != 0, True))
    f1 = 2 * hits[ends] / (ends + 1 + defective.sum())
    best = int(f1.argmax())
    below = descending[ends[best] + 1] if ends[best] + 1 < len(scores) else 0.0
    return BestF1(float(f1[best]), float((descending[ends[best]] + below) / 2))


class _Extremes:
    """The `EXAMPLES` images whose score is furthest on the wrong side, with their maps; the rest is let go."""

    def __init__(self, *, lowest: bool) -> None:
        self.kept: list[Example] = []
        self._sign = 1 if lowest else -1

    def offer(self, example: Example) -> None:
        self.kept = sorted([*self.kept, example], key=lambda kept: self._sign * kept.image.score)[:EXAMPLES]


class _MaskCount:
    """Reads masks and counts what became of them."""

    def __init__(self) -> None:
        self.used = self.empty = self.absent = 0

    def truth(self, image: LabelledImage, picture: Image) -> Truth | None:
        """Return (256, 256) bool defect pixels, None where they are not known."""
        if image.defect is None:
            return np.zeros((_PIXEL_SIDE, _PIXEL_SIDE), dtype=np.bool_)
        if image.mask is None:
            self.absent += 1
            return None
        mask = read_defect_mask(image.mask, picture.shape[:2], image.path)
        truth = mask_of_size(mask, (_PIXEL_SIDE, _PIXEL_SIDE))
        if not truth.any():
            self.empty += 1
            return None
        self.used += 1
        return truth


def _classes(scored: Sequence[ScoredImage], rankings: dict[str | None, PixelRanking]) -> Iterable[DefectClass]:
    good = [image.score for image in scored if image.defect is None]
    for name in sorted({image.defect for image in scored if image.defect is not None}):
        own = [image for image in scored if image.defect == name]
        pixels = rankings[None].joined(rankings[name]) if name in rankings else None
        yield DefectClass(
            name=name,
            images=len(own),
            missed=sum(image.wrong for image in own),
            auroc=float(roc_auc_score([False] * len(good) + [True] * len(own), good + [image.score for image in own])),
            pixel_auroc=None if pixels is None else pixels.auroc(),
            au_pro=None if pixels is None else pixels.au_pro(),
        )


class _Stopwatch:
    """Times inspections of single images and of batches; the first of each are warm-up and do not count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alone: list[float] = []
        self._together: list[tuple[int, float]] = []

    def inspect(self, inspector: Inspector, pictures: Sequence[Image]) -> list[Inspection]:
        """Inspect (H, W, 3) uint8 RGB images in one batch."""
        began = self._clock()
        found = inspect_defects([(inspector, picture) for picture in pictures])
        seconds = self._clock() - began
        if len(pictures) == 1:
            self._alone.append(seconds)
        else:
            self._together.append((len(pictures), seconds))
        return found

    def latency(self, models: str) -> Latency:
        """Return the times so far, of inspections by `models`."""
        single = [1000 * seconds for seconds in self._alone[_WARM_UP:] or self._alone]
        # A handful of images leaves no batch.
        batches = self._together[1:] or self._together or [(1, seconds) for seconds in self._alone]
        return Latency(
            models=models,
            p50_ms=float(np.percentile(single, 50)),
            p99_ms=float(np.percentile(single, 99)),
            timed=len(single),
            batch=_BATCH,
            images_per_s=sum(count for count, _ in batches) / max(sum(took for _, took in batches), 1e-9),
        )


def _inspected(
    inspector: Inspector, images: Sequence[LabelledImage], stopwatch: _Stopwatch
) -> Iterator[tuple[int, Image, Inspection]]:
    """Yield each image's place, pixels and inspection: first those from all over the set that go alone, then the rest.

    So each image is inspected once, and there are times for one at a time and for batches.
    """
    step = max(2, -(-len(images) // (_WARM_UP + _TIMED)))
    alone = [[index] for index in range(0, len(images), step)]
    others = [index for index in range(len(images)) if index % step]
    for group in (*alone, *(others[start : start + _BATCH] for start in range(0, len(others), _BATCH))):
        pictures = [read_image(images[index].path) for index in group]
        yield from zip(group, pictures, stopwatch.inspect(inspector, pictures), strict=True)


def _models(artifact: Artifact, rules: ProductRules) -> str:
    """Return what a scorer runs for an image, in words."""
    manifest = artifact.manifest
    asked = f" (from {rules.segment_from:g} of the threshold on)" if rules.segment_from else ""
    names = ["PatchCore"]
    names += [] if manifest.unet is None else [f"U-Net{asked}"]
    names += [] if manifest.classifier is None else ["classifier"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _plain(image: ScoredImage) -> dict[str, object]:
    return asdict(image) | {"path": str(image.path)}
