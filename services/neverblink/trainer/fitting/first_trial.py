"""What a fresh model finds: on the real defects of a data set where there are any, else on synthetic ones."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from neverblink.confidence.intervals import auroc_interval
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.labelled_image import LabelledImage, good_beside
from neverblink.trainer.datasets.usable_pictures import usable_labelled
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.promises.advice import Ranking
from neverblink.trainer.promises.promise_costs import PromiseCosts, PromiseTally, Source
from neverblink.vision.alignment.aligner import NotFoundError
from neverblink.vision.alignment.foreground import foreground
from neverblink.vision.artifact import Artifact
from neverblink.vision.decode import Image, ImageError, read_image
from neverblink.vision.evenly import some_of
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, inspect
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.region import Mask, read_mask
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.synthesis import KINDS, Scene, SynthesisError, Synthetic, synthesise

_MOST: Final = 150
"""Real images of either kind that a fit looks at: `neverblink evaluate` judges by all of them."""

_MOST_PER_KIND: Final = 4
_IMAGES_PER_DEFECT: Final = 5
"""A few drawn defects for few images: the trial of a small fit must not take longer than the fit."""

_BATCH: Final = 8
_SHOWN: Final = 6


class Tried(NamedTuple):
    """A part with a defect, real or drawn: what it is called, its kind, pixels, (H, W) bool mask, score and map."""

    name: str
    kind: str
    image: Image
    mask: Mask | None
    inspection: Inspection


@dataclass(frozen=True, slots=True)
class FirstTrial:
    """What a fresh model's promises cost, how its score ranks, and the defects with the lowest scores."""

    costs: PromiseCosts
    ranking: Ranking
    lowest: tuple[Tried, ...]
    notes: tuple[str, ...] = ()


def try_out(
    artifact: Artifact,
    extractor: FeatureExtractor,
    settings: FitSettings,
    good: Sequence[Path],
    labelled: Sequence[LabelledImage],
    progress: Progress = lambda *_: None,
) -> FirstTrial | None:
    """Return what the model makes of defects, None where there are none and none can be drawn.

    `good` are pictures that synthetic defects are drawn on; the model was fitted to them, so that all but the defect is
    known to it. Of `labelled` images at most 150 of either kind are looked at, none that it was fitted to.
    """
    fitted = set(artifact.manifest.provenance.images)
    usable, unusable = usable_labelled(labelled, skip_unusable=True, depth=settings.depth) if labelled else ([], [])
    defective = some_of([image for image in usable if image.defect is not None], _MOST)
    fresh = some_of(good_beside(usable, fitted), _MOST) if defective else []
    tally = PromiseTally(artifact, DEFAULT_RULES)
    tried = _Tried(Inspector(artifact, extractor, device=settings.device), tally)
    source: Source = "real" if defective else "synthetic"
    if defective:
        shown = _photographed([*fresh, *defective], settings.depth)
        total = len(fresh) + len(defective)
    else:
        shown = _drawn(good, settings, aligned=artifact.manifest.alignment is not None)
        total = _per_kind(good) * len(KINDS)
    tried.look(shown, lambda done: progress(f"trying {source} defects", done, max(total, done)))
    progress(f"trying {source} defects", total, total)
    costs = tally.costs(source)
    if costs is None:
        return None
    # Without fresh good parts the held-out scores stand for them: each is by a bank that did not know it.
    normal = tried.good or [float(score) for score in artifact.scores]
    bad = tried.defective
    auroc = float(roc_auc_score([False] * len(normal) + [True] * len(bad), [*normal, *bad]))
    ranking = Ranking(auroc, auroc_interval(auroc, len(normal), len(bad)), len(normal), len(bad))
    return FirstTrial(costs, ranking, tuple(tried.lowest), _notes(usable, unusable, defective, tried.unfound))


class _Tried:
    """Inspects parts and keeps their scores, and the defects that stand out least."""

    def __init__(self, inspector: Inspector, tally: PromiseTally) -> None:
        self._inspector, self._tally = inspector, tally
        self.good: list[float] = []
        self.defective: list[float] = []
        self.lowest: list[Tried] = []
        self.unfound = 0

    def look(self, shown: Iterator[tuple[str, str | None, Image, Mask | None]], told: Callable[[int], None]) -> None:
        batch: list[tuple[str, str | None, Image, Mask | None]] = []
        for one in shown:
            batch.append(one)
            if len(batch) == _BATCH:
                self._judge(batch)
                told(len(self.good) + len(self.defective))
                batch = []
        if batch:
            self._judge(batch)

    def _finds(self, image: Image) -> bool:
        if self._inspector.aligner is not None:
            try:
                self._inspector.aligner.find(image)
            except NotFoundError:
                self.unfound += 1
                return False
        return True

    def _judge(self, batch: Sequence[tuple[str, str | None, Image, Mask | None]]) -> None:
        batch = [one for one in batch if self._finds(one[2])]
        anomalies = inspect([(self._inspector, image) for _, _, image, _ in batch])
        for (name, kind, image, mask), anomaly in zip(batch, anomalies, strict=True):
            inspection = Inspection(anomaly)
            number = len(self.good) + len(self.defective)
            self._tally.add(Path(f"{number}/{name}"), inspection, defective=kind is not None)
            if kind is None:
                self.good.append(anomaly.score)
                continue
            self.defective.append(anomaly.score)
            self.lowest.append(Tried(name, kind, image, mask, inspection))
            self.lowest.sort(key=lambda tried: tried.inspection.anomaly.score)
            del self.lowest[_SHOWN:]


def _photographed(
    images: Sequence[LabelledImage], depth: int | None
) -> Iterator[tuple[str, str | None, Image, Mask | None]]:
    for image in images:
        pixels = read_image(image.path, depth=depth)
        mask = image.marks(*pixels.shape[:2]) if image.marked else None
        yield f"{image.path.parent.name}/{image.path.name}", image.defect, pixels, mask


def _drawn(good: Sequence[Path], settings: FitSettings, *, aligned: bool) -> Iterator[tuple[str, str, Image, Mask]]:
    """Yield good parts with a synthetic defect of each kind, as `neverblink synthesize` draws them by default."""
    random = np.random.default_rng(settings.seed)
    order = random.permutation(len(good))
    number = 0
    for kind in KINDS:
        for _ in range(_per_kind(good)):
            path = good[order[number % len(good)]]
            number += 1
            try:
                image = read_image(path, depth=settings.depth)
                found: Synthetic = synthesise(
                    image, kind, random, scene=Scene(region=drawing_region(settings, image, aligned=aligned))
                )
            except (ImageError, SynthesisError):
                # A kind that such pictures have no room for says nothing about the model.
                continue
            yield f"{kind} on {path.name}", kind, found.image, found.mask


def drawing_region(settings: FitSettings, image: Image, *, aligned: bool) -> Mask | None:
    """Return the (H, W) part of an image that is judged: a defect beside it would be missed by wish. Where no region
    says it, that is the part itself, if it stands out from its ground.
    """
    size = image.shape[:2]
    if aligned or settings.region is None:
        # A region of an aligned part is over its upright picture.
        return foreground(image)
    if isinstance(settings.region, RegionOfInterest):
        return settings.region.mask(*size)
    if settings.region is not None and (mask := read_mask(settings.region)).shape == size:
        return mask
    return None


def _per_kind(good: Sequence[Path]) -> int:
    return min(_MOST_PER_KIND, max(1, len(good) // (_IMAGES_PER_DEFECT * len(KINDS))))


def _notes(
    usable: Sequence[LabelledImage], unusable: Sequence[object], defective: Sequence[LabelledImage], unfound: int
) -> tuple[str, ...]:
    notes = []
    if unusable:
        notes.append(f"{len(unusable)} test pictures cannot be used and were not tried")
    if unfound:
        notes.append(f"in {unfound} of the tried pictures no part is found: a line leaves them unscored, never passed")
    total = sum(image.defect is not None for image in usable)
    if len(defective) < total:
        notes.append(f"tried on {len(defective)} of {total} pictures of defects: `neverblink evaluate` judges by all")
    return tuple(notes)
