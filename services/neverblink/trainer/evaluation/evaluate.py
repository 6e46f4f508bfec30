"""How well a model tells good parts from defects, on images it has not seen."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from neverblink.decisions.judgement import judged
from neverblink.decisions.promise import promise_of
from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.job_life.progress import Progress
from neverblink.reports.galleries import HeatScale
from neverblink.trainer.datasets.images import DatasetError, LabelledImage
from neverblink.trainer.evaluation.figures import (
    PIXEL_SIDE,
    DefectClass,
    Evaluation,
    Example,
    Latency,
    PixelFigures,
    ScoredImage,
    best_f1,
)
from neverblink.trainer.evaluation.pixel_ranking import PixelRanking
from neverblink.trainer.evaluation.scaled_masks import ScaledMask, scaled_mask
from neverblink.trainer.promises.promise_costs import PromiseTally, Terms, settled
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.decode import Image, read_image
from neverblink.vision.errors import NoNumberError
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects
from neverblink.vision.network_names import EngineName

EXAMPLES = 12
"""So many of the lowest defects and of the highest good parts keep their maps, to be looked at."""

_BATCH = 8
_TIMED = 60
_WARM_UP = 3

Clock = Callable[[], float]

Witness = Callable[[Path, Image, Inspection], None]
"""Told of each test image, once: its file, its (H, W, 3) uint8 RGB pixels, and all that the models say about it."""


def evaluate(
    images: Sequence[LabelledImage],
    folder: Path,
    weights: Path | None = None,
    progress: Progress = lambda *_: None,
    *,
    device: str = "cpu",
    engine: EngineName | Literal["auto"] = "auto",
    rules: ProductRules = DEFAULT_RULES,
    taught: Collection[Path] = (),
    witness: Witness = lambda *_: None,
    clock: Clock = time.perf_counter,
) -> Evaluation:
    """Inspect labelled images with an artifact and measure ranking, localisation and time.

    Each image is inspected once, with U-Net and classifier where the artifact has them, and decided as `rules` say;
    `witness` is told what was found. Images that are `taught` are ranked, and their decisions do not count. Every other
    one, 63 at most, goes alone, to time single images; the rest in batches. What another promise would decide takes a
    second look at few images, if any. Pixel figures are taken over images with a mask and good ones, at 256 × 256
    pixels each; masks without a defect pixel are left out and counted. Raises VisionError: an image, mask or artifact
    that cannot be used.
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
    tally = _Tally(images, artifact, rules, taught)
    stopwatch = _Stopwatch(clock)
    depth = rules.depth or artifact.manifest.depth
    for index, picture, inspection in _inspected(inspector, images, stopwatch, depth):
        path = images[index].path
        if (fault := inspection.fault) is not None:
            raise NoNumberError(f"{path} cannot be judged: {fault}")
        tally.add(index, picture, inspection)
        witness(path, picture, inspection)
        progress("inspecting", len(tally.scored), len(images))
    settled(tally.promises, partial(_looked_again, inspector, depth=depth))
    promises = tally.promises.costs("real")
    assert promises is not None
    in_order = tuple(tally.scored[index] for index in range(len(images)))
    scores = np.array([image.score for image in in_order])
    return Evaluation(
        manifest=artifact.manifest,
        digest=artifact.digest,
        engine=f"{extractor.engine_name} on {device}",
        image_auroc=float(roc_auc_score(labels, scores)),
        average_precision=float(average_precision_score(labels, scores)),
        best_f1=best_f1(scores, labels),
        pixels=tally.pixels(),
        classes=tuple(_classes(in_order, tally.rankings)),
        latency=stopwatch.latency(_models(artifact, rules)),
        scored=in_order,
        lowest_defects=tuple(tally.lowest.kept),
        highest_good=tuple(tally.highest.kept),
        promises=promises,
        promise=promise_of(artifact.manifest, rules),
        rules=rules.title,
        heat=HeatScale.of(artifact),
        depth=depth,
    )


class _Tally:
    """What is kept of each inspected image: its score, its pixels' ranks, and a few that are to be looked at."""

    def __init__(
        self, images: Sequence[LabelledImage], artifact: Artifact, rules: ProductRules, taught: Collection[Path]
    ) -> None:
        self._images, self._rules, self._taught = images, rules, taught
        self._calibration = artifact.manifest.calibration
        self.promises = PromiseTally(artifact, rules)
        self.scored: dict[int, ScoredImage] = {}
        self.lowest, self.highest = _Extremes(lowest=True), _Extremes(lowest=False)
        self.rankings: dict[str | None, PixelRanking] = {None: PixelRanking()}
        self._masks = _MaskCount()

    def add(self, index: int, picture: Image, inspection: Inspection) -> None:
        """Add an image by its place. Raises VisionError when its mask cannot be used."""
        image, anomaly = self._images[index], inspection.anomaly
        truth = self._masks.truth(image, picture)
        told = judged(inspection, self._calibration, self._rules, mm_per_px=self._rules.mm_per_px)
        taught = image.path in self._taught
        found = ScoredImage(image.path, image.defect, told.score, told.reject, told.reason, told.unsure, taught)
        self.scored[index] = found
        if not taught:
            self.promises.add(image.path, inspection, defective=image.defect is not None)
        shown = Example(found, anomaly.anomaly_map, image if image.marked else None)
        (self.highest if image.defect is None else self.lowest).offer(shown)
        if truth is not None:
            small = cv2.resize(anomaly.anomaly_map, (PIXEL_SIDE, PIXEL_SIDE))
            ranking = self.rankings.setdefault(image.defect, PixelRanking())
            ranking.add(np.asarray(small, dtype=np.float32), truth.mask, regions=truth.regions)

    def pixels(self) -> PixelFigures:
        """Return the figures over all images with known pixels."""
        joined = reduce(PixelRanking.joined, self.rankings.values())
        return PixelFigures(
            auroc=joined.auroc(),
            au_pro=joined.au_pro(),
            masks=self._masks.used,
            regions=joined.regions,
            empty_masks=self._masks.empty,
            without_mask=self._masks.absent,
        )


class _Extremes:
    """The `EXAMPLES` wrong ones, those whose score is furthest on the wrong side first, then the nearest right ones.

    They keep their maps; the rest is let go.
    """

    def __init__(self, *, lowest: bool) -> None:
        self.kept: list[Example] = []
        self._sign = 1 if lowest else -1

    def offer(self, example: Example) -> None:
        self.kept = sorted([*self.kept, example], key=self._rank)[:EXAMPLES]

    def _rank(self, example: Example) -> tuple[bool, float]:
        return not example.image.wrong, self._sign * example.image.score


class _MaskCount:
    """Reads masks and counts what became of them."""

    def __init__(self) -> None:
        self.used = self.empty = self.absent = 0

    def truth(self, image: LabelledImage, picture: Image) -> ScaledMask | None:
        """Return the defect pixels on a grid of 256 × 256, None where they are not known."""
        if image.defect is None:
            return ScaledMask(np.zeros((PIXEL_SIDE, PIXEL_SIDE), dtype=np.bool_), ())
        mask = image.marks(*picture.shape[:2])
        if mask is None:
            self.absent += 1
            return None
        truth = scaled_mask(mask, (PIXEL_SIDE, PIXEL_SIDE))
        if not truth.regions:
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
            decided=sum(not image.taught for image in own),
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
        # Pixel figures and examples look at every map.
        found = inspect_defects([(inspector, picture) for picture in pictures], complete=True)
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
    inspector: Inspector, images: Sequence[LabelledImage], stopwatch: _Stopwatch, depth: int | None
) -> Iterator[tuple[int, Image, Inspection]]:
    """Yield each image's place, pixels and inspection: first those from all over the set that go alone, then the rest.

    So each image is inspected once, and there are times for one at a time and for batches.
    """
    step = max(2, -(-len(images) // (_WARM_UP + _TIMED)))
    alone = [[index] for index in range(0, len(images), step)]
    others = [index for index in range(len(images)) if index % step]
    for group in (*alone, *(others[start : start + _BATCH] for start in range(0, len(others), _BATCH))):
        pictures = [read_image(images[index].path, depth=depth) for index in group]
        yield from zip(group, pictures, stopwatch.inspect(inspector, pictures), strict=True)


def _looked_again(
    inspector: Inspector, terms: Terms, paths: Sequence[Path], *, depth: int | None
) -> Iterator[tuple[Path, Inspection]]:
    """Yield images' inspections by other thresholds."""
    other = inspector.with_threshold(terms.calibration.threshold, terms.calibration.map_threshold)
    for start in range(0, len(paths), _BATCH):
        group = paths[start : start + _BATCH]
        pictures = [read_image(path, depth=depth) for path in group]
        yield from zip(group, inspect_defects([(other, picture) for picture in pictures]), strict=True)


def _models(artifact: Artifact, rules: ProductRules) -> str:
    """Return what a scorer runs for an image, in words."""
    manifest = artifact.manifest
    asked = f" (from {rules.segment_from:g} of the threshold on)" if rules.segment_from else ""
    names = ["PatchCore"]
    names += [] if manifest.unet is None else [f"U-Net{asked}"]
    names += [] if manifest.classifier is None else ["classifier"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
