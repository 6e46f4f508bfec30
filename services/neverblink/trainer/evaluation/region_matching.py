"""Labelled regions against findings: which finding found which region."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.findings import Finding

OVERLAP = 0.5
"""A finding and a region meet when the region's pixels in the finding's box are this share of the smaller area."""


@dataclass(frozen=True, slots=True)
class LabelledRegion:
    """An 8-connected part of a type's mask: box and area in pixels of the image."""

    type: str
    x: int
    y: int
    width: int
    height: int
    area_px: int


@dataclass(frozen=True, slots=True)
class Matching:
    """The R labelled regions and the F findings of one image; `meets` (R, F) bool says which belong together,
    `closeness` (R, F) float64 how well they do, 0 to 1.
    """

    regions: tuple[LabelledRegion, ...]
    findings: tuple[Finding, ...]
    meets: npt.NDArray[np.bool_]
    closeness: npt.NDArray[np.float64]

    def name(self, region: int, right: Collection[str]) -> str | None:
        """Return what the models call a region: one of the `right` types where a finding that meets it says so,
        else the type of the closest finding, None when no finding meets it.
        """
        meeting = np.flatnonzero(self.meets[region])
        if not len(meeting):
            return None
        chosen = [index for index in meeting if self.findings[index].type in right] or meeting
        return self.findings[max(chosen, key=lambda index: self.closeness[region, index])].type


def match(masks: Mapping[str, npt.NDArray[np.bool_]], findings: Sequence[Finding]) -> Matching:
    """Match the regions of the (H, W) bool mask of each type with findings in pixels of the same image.

    Split and merged regions count as found, which C. Wolf and J.-M. Jolion, Object count/area graphs for the
    evaluation of object detection and segmentation algorithms, IJDAR 8 (2006), ask for: a scratch may be marked
    in three parts, and three pits as one. So the measure is the overlap coefficient, not IoU, under which a
    smoothed anomaly map would find no small defect; how far sizes are off is measured by itself.
    """
    regions: list[LabelledRegion] = []
    inside: list[npt.NDArray[np.int64]] = [np.zeros((0, len(findings)), dtype=np.int64)]
    for type_, mask in sorted(masks.items()):
        count, labels, table, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        regions += [LabelledRegion(type_, *(int(value) for value in row)) for row in table[1:]]
        pixels = np.zeros((count - 1, len(findings)), dtype=np.int64)
        for index, finding in enumerate(findings):
            window = labels[finding.y : finding.y + finding.height, finding.x : finding.x + finding.width]
            pixels[:, index] = np.bincount(window.ravel(), minlength=count)[1:]
        inside.append(pixels)
    shared = np.concatenate(inside)
    areas = np.array([region.area_px for region in regions], dtype=np.int64).reshape(-1, 1)
    sizes = np.array([finding.area_px for finding in findings], dtype=np.int64).reshape(1, -1)
    meets = shared >= OVERLAP * np.minimum(areas, sizes)
    closeness = np.minimum(1.0, shared / np.maximum(areas + sizes - shared, 1))
    return Matching(tuple(regions), tuple(findings), np.asarray(meets, dtype=np.bool_), closeness)
