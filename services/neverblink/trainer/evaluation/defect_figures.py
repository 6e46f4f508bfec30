"""Figures of known defects, type by type: found, named, outlined, sized."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT
from neverblink.trainer.evaluation.region_matching import OVERLAP, LabelledRegion
from neverblink.vision.findings import ANOMALY, UNKNOWN, Finding
from neverblink.vision.unet_spec import UnetSpec

FEW = 10
"""Figures of a type with fewer images are marked: one image more or less moves them by ten points and more."""

MISSED = "missed"
"""The column of labelled regions that no finding meets."""

NOTHING = "nothing"
"""The row of findings that meet no labelled region."""

UNNAMED = (UNKNOWN, ANOMALY)
"""What a finding is rightly called whose type no model has a name for; a U-Net with one channel adds `defect`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often yes was right, wrong, and missed, in images or pixels. A figure without a case is None.

    `wrong` is None for types that no model has a name for: what was called unknown is not wrongly called so.
    """

    right: int
    wrong: int | None
    missed: int

    @property
    def precision(self) -> float | None:
        """Return the share of yes that is right."""
        return None if self.wrong is None else _share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float | None:
        """Return the share of cases that got a yes."""
        return _share(self.right, self.right + self.missed)

    @property
    def f1(self) -> float | None:
        """Return the harmonic mean of precision and recall; of pixels it is called Dice."""
        return None if self.wrong is None else _share(2 * self.right, 2 * self.right + self.wrong + self.missed)

    @property
    def iou(self) -> float | None:
        """Return intersection over union."""
        return None if self.wrong is None else _share(self.right, self.right + self.wrong + self.missed)


@dataclass(frozen=True, slots=True)
class RegionFigures:
    """Labelled regions of a type: `found` by any finding, `named` by one of this type (`unknown` or `anomaly` for a
    type without a name). `findings` bear the type's name, `confirmed` of them meet a region of it.
    """

    labelled: int
    found: int
    named: int
    findings: int
    confirmed: int

    @property
    def found_share(self) -> float | None:
        """Return the share of labelled regions that something was found at."""
        return _share(self.found, self.labelled)

    @property
    def recall(self) -> float | None:
        """Return the share of labelled regions that were found and named right."""
        return _share(self.named, self.labelled)

    @property
    def precision(self) -> float | None:
        """Return the share of the type's findings that meet a region of it."""
        return _share(self.confirmed, self.findings)

    @property
    def f1(self) -> float | None:
        """Return the harmonic mean of precision and recall."""
        if self.precision is None or self.recall is None:
            return None
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


@dataclass(frozen=True, slots=True)
class PixelFigures:
    """The U-Net's pixels of a type: pooled over all images, and as the mean over `images` that show the type.

    A U-Net with one channel for all defects is pooled over the images that show the type, without the pixels of
    other types; `average_precision` and `au_pro` then rank these and the good parts.
    """

    pooled: Counts
    images: int
    mean_dice: float | None
    mean_iou: float | None
    average_precision: float | None
    au_pro: float | None

    @property
    def dice(self) -> float | None:
        """Return the Dice coefficient of all pixels at the class's threshold."""
        return self.pooled.f1

    @property
    def iou(self) -> float | None:
        """Return the intersection over union of all pixels at the class's threshold."""
        return self.pooled.iou


@dataclass(frozen=True, slots=True)
class AreaRatio:
    """Area found over area labelled, an image's regions of a type that were found together: median and quartiles."""

    median: float
    low: float
    high: float
    images: int


@dataclass(frozen=True, slots=True)
class DefectType:
    """One type; `named` says whether any model has a name for it. Figures are None where they are not defined.

    `pixels` is None without a U-Net channel for the type, `area` where no region was found.
    """

    name: str
    named: bool
    images: int
    rejected: int
    unsure: int
    by_image: Counts
    average_precision: float | None
    by_region: RegionFigures
    pixels: PixelFigures | None
    anomaly_au_pro: float | None
    area: AreaRatio | None

    @property
    def few(self) -> bool:
        """Say whether there are so few images that the figures are anecdotes."""
        return self.images < FEW

    @property
    def rejected_share(self) -> float | None:
        """Return the share of the type's images whose part was rejected, for whatever reason."""
        return _share(self.rejected, self.images)


@dataclass(frozen=True, slots=True)
class Confusion:
    """Labelled regions by what they were called, and in the last row findings where nothing is labelled.

    Columns are the same types, then the `nameless` answers and `missed`. `named` says of each type whether a model
    has a name for it.
    """

    types: tuple[str, ...]
    named: tuple[bool, ...]
    counts: tuple[tuple[int, ...], ...]
    nameless: tuple[str, ...] = UNNAMED

    @property
    def rows(self) -> tuple[str, ...]:
        """Return the rows' titles."""
        return (*self.types, NOTHING)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns' titles."""
        return (*self.types, *self.nameless, MISSED)

    def right(self, row: int, column: int) -> bool:
        """Say whether a cell counts right answers: the type's name, or for a nameless type that it is unnamed."""
        if row == len(self.types):
            return False
        return column == row if self.named[row] else 0 <= column - len(self.types) < len(self.nameless)


@dataclass(frozen=True, slots=True)
class DefectExample:
    """An image to be looked at, and what is wrong, the worst first. npt.NDArray[np.float32]s cover the whole image.

    `missed` are labelled regions with what they were called (None: nothing), `alarms` findings at no labelled
    region. `probability` (h, w) float32 is the highest of all U-Net classes, `marked` (h, w) bool where one of them
    is above its threshold; None without a U-Net.
    """

    image: DefectImage
    findings: tuple[Finding, ...]
    missed: tuple[tuple[LabelledRegion, str | None], ...]
    alarms: tuple[Finding, ...]
    rejected: bool
    unsure: bool
    score_ratio: float
    anomaly_map: npt.NDArray[np.float32]
    probability: npt.NDArray[np.float32] | None
    marked: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class DefectEvaluation:
    """Known defects by type, and what good parts suffer from them.

    Region and pixel figures are over `measured` images: good ones, and those where every type they show has a
    pixel in its mask. `one_channel`: the U-Net tells no types apart. `decided_by` says whose rules made the verdicts.
    `misses` and `false_alarms` hold at most `EXAMPLES` images each.
    """

    unet: UnetSpec | None
    one_channel: bool
    decided_by: str
    names: tuple[str, ...]
    named_by: str | None
    types: tuple[DefectType, ...]
    confusion: Confusion
    images: int
    good: int
    false_rejects: int
    good_unsure: int
    good_with_findings: int
    measured: int
    without_mask: int
    empty_masks: int
    misses: tuple[DefectExample, ...] = field(default=(), repr=False)
    false_alarms: tuple[DefectExample, ...] = field(default=(), repr=False)

    @property
    def false_reject_rate(self) -> float | None:
        """Return the share of good parts that was rejected, None without good parts."""
        return _share(self.false_rejects, self.good)

    @property
    def mean_average_precision(self) -> float | None:
        """Return the mean of the types' average precision by image, each type weighing the same."""
        return mean_of(found.average_precision for found in self.types)

    @property
    def mean_f1(self) -> float | None:
        """Return the mean of the types' F1 by image, of types that occur and have a name."""
        return mean_of(found.by_image.f1 for found in self.types if found.images)

    @property
    def mean_region_recall(self) -> float | None:
        """Return the mean share of regions that were found and named right, each type weighing the same."""
        return mean_of(found.by_region.recall for found in self.types)

    @property
    def mean_dice(self) -> float | None:
        """Return the mean of the types' pooled Dice, of types that occur."""
        return mean_of(found.pixels.dice for found in self.types if found.pixels and found.pixels.images)

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON: all figures, the confusion matrix and what went wrong in the worst images."""
        return {
            "decided_by": self.decided_by,
            "named_by": self.named_by,
            "names": self.names,
            "unet_one_channel": self.one_channel,
            "unet_thresholds": {} if self.unet is None else _thresholds(self.unet),
            "images": self.images,
            "good": self.good,
            "false_rejects": self.false_rejects,
            "false_reject_rate": self.false_reject_rate,
            "good_unsure": self.good_unsure,
            "good_with_findings": self.good_with_findings,
            "measured": self.measured,
            "without_mask": self.without_mask,
            "empty_masks": self.empty_masks,
            "mean_average_precision": self.mean_average_precision,
            "mean_f1": self.mean_f1,
            "mean_region_recall": self.mean_region_recall,
            "mean_dice": self.mean_dice,
            "region_overlap": OVERLAP,
            "au_pro_limit": PRO_LIMIT,
            "types": [_plain_type(found) for found in self.types],
            "confusion": {
                "labelled": self.confusion.rows,
                "called": self.confusion.columns,
                "regions": self.confusion.counts,
            },
            "worst_misses": [_plain_example(example) for example in self.misses],
            "worst_false_alarms": [_plain_example(example) for example in self.false_alarms],
        }


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean of the figures that are defined, None when none is."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _thresholds(unet: UnetSpec) -> dict[str, float]:
    return {name: unet.threshold(channel) for channel, name in enumerate(unet.classes)}


def _plain_type(found: DefectType) -> dict[str, object]:
    pixels, by_image, by_region = found.pixels, found.by_image, found.by_region
    return asdict(found) | {
        "few": found.few,
        "rejected_share": found.rejected_share,
        "by_image": asdict(by_image) | {"precision": by_image.precision, "recall": by_image.recall, "f1": by_image.f1},
        "by_region": asdict(by_region)
        | {
            "found_share": by_region.found_share,
            "precision": by_region.precision,
            "recall": by_region.recall,
            "f1": by_region.f1,
        },
        "pixels": None if pixels is None else asdict(pixels) | {"dice": pixels.dice, "iou": pixels.iou},
    }


def _plain_example(example: DefectExample) -> dict[str, object]:
    return {
        "path": str(example.image.path),
        "labelled": example.image.types,
        "rejected": example.rejected,
        "unsure": example.unsure,
        "score_ratio": example.score_ratio,
        "missed": [asdict(region) | {"called": called} for region, called in example.missed],
        "false_alarms": [asdict(finding) for finding in example.alarms],
    }
