"""What the models make of known defects, counted image by image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.datasets.sample_store import BINARY
from neverblink.trainer.evaluation.defect_figures import (
    UNNAMED,
    AreaRatio,
    Confusion,
    Counts,
    DefectEvaluation,
    DefectExample,
    DefectType,
    PixelFigures,
    RegionFigures,
    mean_of,
)
from neverblink.trainer.evaluation.evaluate import EXAMPLES
from neverblink.trainer.evaluation.pixel_ranking import PixelRanking
from neverblink.trainer.evaluation.region_matching import LabelledRegion, Matching, match
from neverblink.trainer.evaluation.scaled_masks import ScaledMask, scaled_mask
from neverblink.vision.findings import Finding
from neverblink.vision.inspection import Inspection
from neverblink.vision.regions import outlined_finely
from neverblink.vision.unet_spec import UnetSpec

_LONGEST_SIDE = 1024
"""Pixels are counted in the image's own size up to this: Dice of a fine scratch depends on it."""

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """A labelled image of `height` × `width` pixels, what the models found in it, and its verdict.

    `unsure` is for parts that passed; `score_ratio` is the image's score over the threshold.
    """

    image: DefectImage
    height: int
    width: int
    inspection: Inspection
    rejected: bool
    unsure: bool
    score_ratio: float


class DefectTally:
    """Counts inspected images one by one; of an image numbers remain, and its maps while it is among the worst.

    `unet` are the U-Net's classes, `types` what the classifier has names for; None without one. `decided_by` says
    whose rules the verdicts follow.
    """

    def __init__(
        self,
        unet: UnetSpec | None = None,
        types: Sequence[str] | None = None,
        *,
        decided_by: str = DEFAULT_RULES.title,
    ) -> None:
        self._unet = unet
        self._decided_by = decided_by
        self._classified = types is not None
        self._names = tuple(types) if types is not None else (() if unet is None else unet.classes)
        self._judged: list[_Judged] = []
        self._measured = self._without_mask = self._empty_masks = 0
        # (labelled type, called so): None is nothing labelled, or nothing found.
        self._calls: Counter[tuple[str | None, str | None]] = Counter()
        self._findings: Counter[str] = Counter()
        self._confirmed: Counter[str] = Counter()
        self._areas: dict[str, list[float]] = {}
        self._one_channel = unet is not None and unet.classes == BINARY
        named_channels = () if unet is None or self._one_channel else unet.classes
        self._pixels = {name: _PixelTally() for name in named_channels}
        # A finding of the one channel says that it is a defect, and no more: rightly called so, and not by a name.
        self._alike = BINARY if self._one_channel and not self._classified else ()
        # Pixels that the one channel marks on good parts: no type's, so they weigh only in every type's ranking.
        self._good_pixels = PixelRanking()
        self._anomaly: dict[str | None, PixelRanking] = {None: PixelRanking()}
        self._misses, self._alarms = _Worst(), _Worst()

    def add(self, inspected: InspectedImage) -> None:
        """Count an image. Raises DatasetError and ImageError when its mask cannot be used."""
        image, findings = inspected.image, inspected.inspection.findings
        self._judged.append(self._judge(inspected))
        masks = image.masks(inspected.height, inspected.width)
        if image.defective and not masks:
            self._without_mask += 1
        elif not all(mask.any() for mask in masks.values()):
            self._empty_masks += 1
        else:
            self._measured += 1
            matching = match(masks, findings)
            self._count_regions(matching)
            self._count_pixels(inspected, masks)
            self._keep_if_worst(inspected, matching)

    def evaluation(self) -> DefectEvaluation:
        """Return the figures of all images so far."""
        labelled = set(chain.from_iterable(judged.labelled for judged in self._judged))
        called = set(chain.from_iterable(judged.called for judged in self._judged))
        nameless = (*UNNAMED, *(name for name in self._alike if name not in labelled))
        names = tuple(name for name in self._names if name not in nameless)
        types = tuple(sorted((labelled | called | set(names)) - set(nameless)))
        good = [judged for judged in self._judged if not judged.labelled]
        rows: tuple[str | None, ...] = (*types, None)
        columns: tuple[str | None, ...] = (*types, *nameless, None)
        return DefectEvaluation(
            unet=self._unet,
            names=names,
            one_channel=self._one_channel,
            decided_by=self._decided_by,
            named_by="classifier" if self._classified else "U-Net" if names else None,
            types=tuple(self._type(name) for name in types),
            confusion=Confusion(
                types,
                tuple(name in names for name in types),
                tuple(tuple(self._calls[row, column] for column in columns) for row in rows),
                nameless,
            ),
            images=len(self._judged),
            good=len(good),
            false_rejects=sum(judged.rejected for judged in good),
            good_unsure=sum(judged.unsure for judged in good),
            good_with_findings=sum(bool(judged.called) for judged in good),
            measured=self._measured,
            without_mask=self._without_mask,
            empty_masks=self._empty_masks,
            misses=self._misses.kept,
            false_alarms=self._alarms.kept,
        )

    def _right(self, type_: str) -> tuple[str, ...]:
        """Return what a region of a type is rightly called; a type without a name, that it has none."""
        return (type_,) if type_ in self._names else (*UNNAMED, *self._alike)

    def _judge(self, inspected: InspectedImage) -> "_Judged":
        """An image's score for a type is the U-Net's highest probability where it names, else the highest confidence
        of a finding of the type, 0 without one.
        """
        scores = dict.fromkeys(self._names, 0.0)
        probabilities = inspected.inspection.probabilities
        if not self._classified and self._unet is not None and probabilities is not None:
            scores |= dict(zip(self._unet.classes, probabilities.max(axis=(1, 2)).tolist(), strict=True))
        else:
            for finding in inspected.inspection.findings:
                if finding.type in scores and finding.confidence is not None:
                    scores[finding.type] = max(scores[finding.type], finding.confidence)
        return _Judged(
            labelled=frozenset(inspected.image.types),
            called=frozenset(finding.type for finding in inspected.inspection.findings),
            scores=scores,
            rejected=inspected.rejected,
            unsure=inspected.unsure and not inspected.rejected,
        )

    def _count_regions(self, matching: Matching) -> None:
        for index, region in enumerate(matching.regions):
            self._calls[region.type, matching.name(index, self._right(region.type))] += 1
        for index, finding in enumerate(matching.findings):
            met = {matching.regions[row].type for row in np.flatnonzero(matching.meets[:, index])}
            self._findings[finding.type] += 1
            self._confirmed[finding.type] += finding.type in met
            if not met:
                self._calls[None, finding.type] += 1
        for type_ in {region.type for region in matching.regions}:
            own = np.array([region.type == type_ for region in matching.regions])
            meets = matching.meets & own[:, None]
            met_findings, met_regions = np.flatnonzero(meets.any(axis=0)), np.flatnonzero(meets.any(axis=1))
            if len(met_regions):
                found = sum(matching.findings[index].area_px for index in met_findings)
                labelled = sum(matching.regions[index].area_px for index in met_regions)
                self._areas.setdefault(type_, []).append(found / labelled)

    def _count_pixels(self, inspected: InspectedImage, masks: Mapping[str, Mask]) -> None:
        size = _grid(inspected.height, inspected.width)
        truths = {type_: scaled_mask(mask, size) for type_, mask in masks.items()}
        nowhere = ScaledMask(np.zeros(size, dtype=np.bool_), ())
        anything = np.logical_or.reduce([nowhere.mask, *(truth.mask for truth in truths.values())])
        anomaly_map = _resized(inspected.inspection.anomaly.anomaly_map, size)
        if not truths:
            self._anomaly[None].add(anomaly_map, nowhere.mask)
        for type_, truth in truths.items():
            ranking = self._anomaly.setdefault(type_, PixelRanking())
            ranking.add(anomaly_map, truth.mask, anything & ~truth.mask, regions=truth.regions)
        if self._unet is None:
            return
        probabilities = inspected.inspection.probabilities
        # Where the U-Net did not run it marks nothing: a plant sees it so.
        planes = np.zeros((len(self._unet.classes), *size), np.float32)
        outlined = np.zeros(planes.shape, dtype=np.bool_)
        if probabilities is not None and inspected.inspection.outlined is not None:
            planes = np.stack([_resized(plane, size) for plane in probabilities])
            outlined = outlined_finely(self._unet, planes, inspected.inspection.outlined)
        if not self._one_channel:
            for type_, plane, marked in zip(self._unet.classes, planes, outlined, strict=True):
                self._pixels[type_].add(plane, marked, truths.get(type_, nowhere))
            return
        if not truths:
            self._good_pixels.add(planes[0], nowhere.mask)
        for type_, truth in truths.items():
            tally = self._pixels.setdefault(type_, _PixelTally())
            tally.add(planes[0], outlined[0], truth, ignored=anything & ~truth.mask)

    def _keep_if_worst(self, inspected: InspectedImage, matching: Matching) -> None:
        """Of misses those that passed are worse, then regions not found at all, then large ones; of false alarms
        rejected good parts, then certain ones, then large ones.
        """
        calls = [(region, matching.name(i, self._right(region.type))) for i, region in enumerate(matching.regions)]
        missed = [(region, call) for region, call in calls if call not in self._right(region.type)]
        alarms = [matching.findings[index] for index in np.flatnonzero(~matching.meets.any(axis=0))]
        missed.sort(key=lambda one: (one[1] is None, one[0].area_px), reverse=True)
        alarms.sort(key=lambda one: (one.confidence or 0.0, one.area_px), reverse=True)
        if missed:
            region, call = missed[0]
            share = region.area_px / (inspected.height * inspected.width)
            self._misses.offer((not inspected.rejected, call is None, share), self._example(inspected, missed, alarms))
        if alarms:
            alarm, costly = alarms[0], inspected.rejected and not inspected.image.defective
            badness = (costly, alarm.confidence or 0.0, alarm.area_px)
            self._alarms.offer(badness, self._example(inspected, missed, alarms))

    def _example(
        self,
        inspected: InspectedImage,
        missed: Sequence[tuple[LabelledRegion, str | None]],
        alarms: Sequence[Finding],
    ) -> DefectExample:
        inspection = inspected.inspection
        planes = None if self._unet is None else inspection.probabilities
        return DefectExample(
            image=inspected.image,
            findings=inspection.findings,
            missed=tuple(missed),
            alarms=tuple(alarms),
            rejected=inspected.rejected,
            unsure=inspected.unsure,
            score_ratio=inspected.score_ratio,
            anomaly_map=inspection.anomaly.anomaly_map,
            probability=None if planes is None else planes.max(axis=0),
            marked=None if inspection.outlined is None else np.asarray(inspection.outlined.any(axis=0)),
        )

    def _type(self, name: str) -> DefectType:
        named = name in self._names
        own = [judged for judged in self._judged if name in judged.labelled]
        right = sum(not judged.called.isdisjoint(self._right(name)) for judged in own)
        yes = sum(name in judged.called for judged in self._judged)
        calls = {called: count for (labelled, called), count in self._calls.items() if labelled == name}
        anomaly = self._anomaly.get(name)
        return DefectType(
            name=name,
            named=named,
            images=len(own),
            rejected=sum(judged.rejected for judged in own),
            unsure=sum(judged.unsure for judged in own),
            by_image=Counts(right, yes - right if named else None, len(own) - right),
            average_precision=self._average_precision(name) if named else None,
            by_region=RegionFigures(
                labelled=sum(calls.values()),
                found=sum(count for called, count in calls.items() if called is not None),
                named=sum(calls.get(called, 0) for called in self._right(name)),
                findings=self._findings[name],
                confirmed=self._confirmed[name],
            ),
            pixels=self._pixels[name].figures(self._good_pixels) if name in self._pixels else None,
            anomaly_au_pro=None if anomaly is None else self._anomaly[None].joined(anomaly).au_pro(),
            area=_area_ratio(self._areas.get(name, [])),
        )

    def _average_precision(self, name: str) -> float | None:
        labels = [name in judged.labelled for judged in self._judged]
        if all(labels) or not any(labels):
            return None
        return float(average_precision_score(labels, [judged.scores[name] for judged in self._judged]))


@dataclass(frozen=True, slots=True)
class _Judged:
    """What remains of every image: types labelled, types of its findings, a score for each name, the verdict."""

    labelled: frozenset[str]
    called: frozenset[str]
    scores: dict[str, float]
    rejected: bool
    unsure: bool


class _PixelTally:
    """A U-Net channel's pixels against those of a type, at its threshold and over all thresholds."""

    def __init__(self) -> None:
        self._ranking = PixelRanking()
        self._pooled = np.zeros(3, dtype=np.int64)
        self._images: list[Counts] = []

    def add(self, probability: Map, marked: Mask, labelled: ScaledMask, ignored: Mask | None = None) -> None:
        truth = labelled.mask
        self._ranking.add(probability, truth, ignored, regions=labelled.regions)
        wrong = marked & ~truth if ignored is None else marked & ~(truth | ignored)
        counts = [int(np.count_nonzero(part)) for part in (marked & truth, wrong, truth & ~marked)]
        self._pooled += counts
        if truth.any():
            self._images.append(Counts(*counts))

    def figures(self, good: PixelRanking) -> PixelFigures:
        """Return the figures; `good` pixels take part in the ranking."""
        ranking = self._ranking.joined(good)
        right, wrong, missed = (int(count) for count in self._pooled)
        return PixelFigures(
            pooled=Counts(right, wrong, missed),
            images=len(self._images),
            mean_dice=mean_of(image.f1 for image in self._images),
            mean_iou=mean_of(image.iou for image in self._images),
            average_precision=ranking.average_precision(),
            au_pro=ranking.au_pro(),
        )


class _Worst:
    """The `EXAMPLES` worst images; the rest is let go."""

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[float, ...], DefectExample]] = []

    @property
    def kept(self) -> tuple[DefectExample, ...]:
        return tuple(example for _, example in self._kept)

    def offer(self, badness: tuple[float, ...], example: DefectExample) -> None:
        self._kept = sorted([*self._kept, (badness, example)], key=lambda kept: kept[0], reverse=True)[:EXAMPLES]


def _area_ratio(ratios: Sequence[float]) -> AreaRatio | None:
    if not ratios:
        return None
    low, median, high = (float(value) for value in np.percentile(ratios, (25, 50, 75)))
    return AreaRatio(median, low, high, len(ratios))


def _grid(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) in which an image's pixels are counted: its own, or smaller for a very large one."""
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(values: Map, size: tuple[int, int]) -> Map:
    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
