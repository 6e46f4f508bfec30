"""PatchCore, U-Net and classifier in one verdict: PatchCore catches what is new, the others know what is known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.errors import NoNumberError
from neverblink.vision.findings import ANOMALY, UNKNOWN, Finding, Source
from neverblink.vision.regions import Region, components, regions
from neverblink.vision.unet_spec import UnetSpec

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
RejectOn = Literal["score", "defects", "either"]

_EXPLAINED = 0.2
"""An anomalous region of which a known defect covers this share, or its peak, is that defect: anomaly maps are
smoothed and reach beyond it.
"""

_MAX_REGIONS = 32


@dataclass(frozen=True, slots=True)
class TypeRule:
    """From when on a defect of one type rejects. `reject` False: it is named and tolerated, whatever its size."""

    reject: bool = True
    min_area_px: int = 1
    min_area_mm2: float | None = None
    min_confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What a product is rejected for.

    `score`: an anomaly score above the threshold. `defects`: a region whose type's rule says so, while an anomaly
    that nobody named only makes the part unsure. `either`: both. `types` has a rule a type, also for `anomaly` and
    `unknown`; `others` is for the rest.
    """

    reject_on: RejectOn = "either"
    types: Mapping[str, TypeRule] = field(default_factory=dict)
    others: TypeRule = TypeRule()


@dataclass(frozen=True, slots=True)
class Decision:
    """`reject` and why: `anomaly` by score, `defect` by a region alone. `unsure` passes, and a person should look."""

    reject: bool
    reason: Literal["anomaly", "defect"] | None
    unsure: bool


@dataclass(frozen=True, slots=True)
class Marked:
    """A region that a model marked and none has named: `channel` and `confidence` are the U-Net's, None without."""

    region: Region
    seen_by: tuple[Source, ...]
    channel: int | None = None
    confidence: float | None = None


def mark(
    anomaly_map: Map,
    map_threshold: float,
    *,
    anomalous: bool,
    image_size: tuple[int, int],
    probabilities: Map | None = None,
    outlined: Mask | None = None,
    min_area_px: int = 1,
) -> list[Marked]:
    """Return where an image does not look right, highest anomaly first, at most 32 regions.

    `anomaly_map` (h, w), the U-Net's `probabilities` and what is `outlined` by them, both (K, h', w'), cover the image
    of `image_size` (width, height). The map has a say where the image's score is `anomalous`, then in at least one
    region. What both mark is one region, with the U-Net's outline.
    """
    found: list[Marked] = []
    if probabilities is not None and outlined is not None:
        high, wide = probabilities.shape[1:]
        # One grid for both: outlines come from the finer network, and where it marks nothing, nothing is lost.
        anomaly_map = np.asarray(cv2.resize(anomaly_map, (wide, high)), dtype=np.float32)
        found = _segments(anomaly_map, probabilities, outlined, image_size, min_area_px)
    if anomalous:
        blobs = regions(
            anomaly_map,
            map_threshold,
            image_size=image_size,
            min_area_px=min_area_px,
            at_least_one=True,
            limit=_MAX_REGIONS,
        )
        for blob in blobs:
            explained = [index for index, marked in enumerate(found) if _explains(marked.region, blob, anomaly_map)]
            for index in explained:
                found[index] = replace(found[index], seen_by=("unet", "patchcore"))
            if not explained:
                found.append(Marked(blob, ("patchcore",)))
    return sorted(found, key=lambda marked: -marked.region.peak)[:_MAX_REGIONS]


def named(
    marked: Sequence[Marked], unet: UnetSpec | None, names: Sequence[tuple[str | None, float]] | None
) -> list[Finding]:
    """Return the findings of marked regions. `names` are the classifier's (type, confidence), None without one.

    Type None is its answer that it knows no such type. Without a classifier a region has the U-Net's type, and
    what only PatchCore saw is an anomaly.
    """
    found: list[Finding] = []
    for index, one in enumerate(marked):
        region = one.region
        type_, source, confidence = ANOMALY, one.seen_by[0], one.confidence
        if one.channel is not None and unet is not None:
            type_ = unet.classes[one.channel]
        if names is not None:
            name, confidence = names[index]
            type_, source = name or UNKNOWN, "classifier"
        found.append(Finding(type_, source, *region.bbox, region.area_px, confidence, region.peak, one.seen_by))
    return found


def decide(
    score: float,
    threshold: float,
    findings: Sequence[Finding],
    policy: Policy,
    *,
    unsure: bool = False,
    mm_per_px: float | None = None,
) -> Decision:
    """Return the verdict of an image from its `score`, `unsure` by score or not, and its findings.

    A finding that is large enough to reject but not certain enough makes a part that passes unsure. Raises
    NoNumberError when anything that it compares is no finite number: such comparisons are false, and would pass a part.
    """
    if not (math.isfinite(score) and math.isfinite(threshold) and math.isfinite(mm_per_px or 0.0)):
        raise NoNumberError(
            f"nothing can be decided by a score of {score}, a threshold of {threshold} and {mm_per_px} mm per pixel"
        )
    for finding in findings:
        if not math.isfinite(finding.confidence or 0.0):
            raise NoNumberError(f"nothing can be decided by a region whose confidence is {finding.confidence}")
    anomalous = score > threshold
    weighed = [_weighed(finding, policy, mm_per_px) for finding in findings]
    by_score = anomalous and policy.reject_on != "defects"
    by_defect = "reject" in weighed and policy.reject_on != "score"
    if by_score or by_defect:
        return Decision(reject=True, reason="anomaly" if by_score else "defect", unsure=False)
    doubtful = policy.reject_on != "score" and ("doubt" in weighed or (anomalous and not findings))
    return Decision(reject=False, reason=None, unsure=unsure or doubtful)


def area_mm2(finding: Finding, mm_per_px: float | None) -> float | None:
    """Return a finding's area in mm², None where the station has no scale."""
    return None if mm_per_px is None else finding.area_px * mm_per_px**2


def _weighed(finding: Finding, policy: Policy, mm_per_px: float | None) -> Literal["reject", "doubt", "tolerated"]:
    rule = policy.types.get(finding.type, policy.others)
    area = area_mm2(finding, mm_per_px)
    # Without a scale a limit in mm² cannot excuse a defect.
    small = finding.area_px < rule.min_area_px or (
        area is not None and rule.min_area_mm2 is not None and area < rule.min_area_mm2
    )
    if finding.type not in policy.types and (finding.type == ANOMALY or (finding.type == UNKNOWN and not rule.reject)):
        # Nobody knows what it is: only a rule of its own lets it pass unseen.
        return "doubt"
    if small or not rule.reject:
        return "tolerated"
    sure = finding.confidence is None or finding.confidence >= rule.min_confidence
    return "reject" if sure else "doubt"


def _segments(
    anomaly_map: Map, probabilities: Map, outlined: Mask, image_size: tuple[int, int], min_area_px: int
) -> list[Marked]:
    found: list[Marked] = []
    for region in components(np.asarray(outlined.any(axis=0)), anomaly_map, image_size, min_area_px):
        weights = (probabilities[:, region.mask] * outlined[:, region.mask]).sum(axis=1)
        channel = int(weights.argmax())
        own = outlined[channel] & region.mask
        found.append(Marked(region, ("unet",), channel, float(probabilities[channel][own].mean())))
    return found


def _explains(defect: Region, blob: Region, anomaly_map: Map) -> bool:
    peak = np.unravel_index(int(np.argmax(np.where(blob.mask, anomaly_map, -np.inf))), anomaly_map.shape)
    return bool(defect.mask[peak]) or (defect.mask & blob.mask).sum() >= _EXPLAINED * blob.mask.sum()
