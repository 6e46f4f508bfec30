"""What an evaluation finds: scores, figures by class, pixels, times."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from neverblink.confidence.intervals import Interval, auroc_interval
from neverblink.reports.galleries import HeatScale
from neverblink.trainer.datasets.labelled_image import LabelledImage
from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT, Truth
from neverblink.trainer.promises.promise_costs import PromiseCosts
from neverblink.vision.artifact_manifest import Manifest
from neverblink.vision.calibration import Calibration

PIXEL_SIDE = 256
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One test image, and what is decided about it as a scorer decides; `defect` is None for a good part.

    `reason` says why it is rejected: `anomaly` by its score, `defect` by a region alone. `taught`: U-Net or classifier
    were trained with it, so that its score counts and what is decided about it does not.
    """

    path: Path
    defect: str | None
    score: float
    rejected: bool
    reason: str | None = None
    unsure: bool = False
    taught: bool = False

    @property
    def wrong(self) -> bool:
        """Say whether the verdict contradicts the label."""
        return self.rejected is (self.defect is None) and not self.taught


class Example(NamedTuple):
    """A test image to be looked at, with its (S, S) float32 map over the whole image, and what marks its defect."""

    image: ScoredImage
    anomaly_map: npt.NDArray[np.float32]
    marks: LabelledImage | None = None


@dataclass(frozen=True, slots=True)
class DefectClass:
    """One kind of defect against all good parts; pixel figures are None where no mask has a defect pixel.

    Of its `images`, `decided` count for what is decided: the models were not trained with them.
    """

    name: str
    images: int
    decided: int
    missed: int
    auroc: float
    pixel_auroc: float | None
    au_pro: float | None

    @property
    def recall(self) -> float | None:
        """Return the share that was rejected, None where the models were trained with all of them."""
        return 1 - self.missed / self.decided if self.decided else None


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
    the wrong ones first. Decisions are a scorer's, by `rules`; `promise` says what they promise, in a sentence.
    `depth` are the bits that values of 16-bit pictures were taken to use.
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
    promises: PromiseCosts
    promise: str
    rules: str
    heat: HeatScale
    depth: int | None = None

    @property
    def hybrid(self) -> bool:
        """Say whether more than the score may decide."""
        return self.manifest.unet is not None or self.manifest.classifier is not None

    @property
    def by_region_alone(self) -> tuple[int, int]:
        """Return how many good and defective parts are rejected by a region and not by their score."""
        own = [image.defect for image in self.scored if image.reason == "defect" and not image.taught]
        return own.count(None), len(own) - own.count(None)

    @property
    def auroc_interval(self) -> Interval:
        """Return between what the AUROC of more such images lies, with 95 % confidence."""
        return auroc_interval(self.image_auroc, self.good, self.defective)

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
    def decided(self) -> tuple[int, int]:
        """Return of how many good and defective parts the decisions count: no model was trained with them."""
        own = [image.defect for image in self.scored if not image.taught]
        return own.count(None), len(own) - own.count(None)

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
        return 1 - self.missed / self.decided[1]

    @property
    def precision(self) -> float | None:
        """Return the share of rejected parts that is defective, None when nothing was rejected."""
        hits = self.decided[1] - self.missed
        return hits / (hits + self.false_rejects) if hits + self.false_rejects else None

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall at the threshold."""
        hits = self.decided[1] - self.missed
        return 2 * hits / (2 * hits + self.missed + self.false_rejects)

    @property
    def false_reject_rate(self) -> float:
        """Return the share of good parts that was rejected."""
        return self.false_rejects / self.decided[0]

    @property
    def chance_of_false_rejects(self) -> float:
        """Return how likely at least so many false rejects by the score are while its promised rate holds.

        Below 5 %: the good parts of this test are not like those that the model was calibrated on.
        """
        by_score = sum(image.wrong and image.reason != "defect" for image in self.scored if image.defect is None)
        return float(binom.sf(by_score - 1, self.decided[0], self.calibration.false_reject))

    @property
    def unsure(self) -> tuple[int, int]:
        """Return how many good and defective parts are unsure; all of them pass."""
        inside = [image.defect for image in self.scored if image.unsure and not image.taught]
        return inside.count(None), len(inside) - inside.count(None)

    @property
    def recall(self) -> dict[str, float | None]:
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
                "promise": self.promise,
                "decided_by": self.rules,
                "calibration": self.calibration.model_dump(mode="json"),
            },
            "images": self.images,
            "good": self.good,
            "defective": self.defective,
            "decided": dict(zip(("good", "defective"), self.decided, strict=True)),
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
            "rejected_by_region_alone": dict(zip(("good", "defective"), self.by_region_alone, strict=True)),
            "image_auroc_interval": list(self.auroc_interval),
            "promises": self.promises.as_dict(),
            "unsure": {"good": unsure_good, "defective": unsure_defective},
            "pixel_auroc": self.pixels.auroc,
            "au_pro": self.pixels.au_pro,
            "pixels": asdict(self.pixels) | {"au_pro_limit": PRO_LIMIT, "side": PIXEL_SIDE},
            "recall": self.recall,
            "classes": [asdict(found) | {"recall": found.recall} for found in self.classes],
            "latency": asdict(self.latency),
            "worst_misses": [_plain(example.image) for example in self.lowest_defects if example.image.wrong],
            "worst_false_alarms": [_plain(example.image) for example in self.highest_good if example.image.wrong],
            "scores": [_plain(image) for image in self.scored],
        }


def best_f1(scores: Floats, defective: Truth) -> BestF1:
    """Return the best F1 over every cut between (n,) scores; the threshold lies midway to the next lower score."""
    order = np.argsort(-scores)
    descending, hits = scores[order], np.cumsum(defective[order])
    ends = np.flatnonzero(np.append(np.diff(descending) != 0, True))
    f1 = 2 * hits[ends] / (ends + 1 + defective.sum())
    best = int(f1.argmax())
    below = descending[ends[best] + 1] if ends[best] + 1 < len(scores) else 0.0
    return BestF1(float(f1[best]), float((descending[ends[best]] + below) / 2))


def _plain(image: ScoredImage) -> dict[str, object]:
    return asdict(image) | {"path": str(image.path)}
