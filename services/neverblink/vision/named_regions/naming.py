"""Which named region each finding lies in, what presence checks find, and what an ignored region silences."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.alignment.view import View
from neverblink.vision.findings import Finding
from neverblink.vision.inspection import Anomaly, NamedScore, RegionSeen
from neverblink.vision.named_regions.spec import REST, FittedRegion, RegionsSpec, area_of

Picture = npt.NDArray[np.uint8] | View[np.uint8]

PRESENT: Final = "present"
_ABSENT: Final = "absent"
_WRONG: Final = "wrong"

_NEAR = 4.0
"""Patches that the network sees beyond a region, for the most part."""

_LOUDER, _MUCH_LOUDER = 1.25, 3.0
"""Beside a region that is so much louder, one that only looks unlike good parts is explained by it; one that looks like
an example, beside one that is much louder. On simulated boards with one fault each, what spills over is at 0.76 of its
cause in nine of ten.
"""


class RegionNames:
    """Names what is found in a product's images."""

    def __init__(self, spec: RegionsSpec, patches_across: float) -> None:
        """`patches_across` is how many patches of the network's grid the picture's longer side has."""
        self._spec = spec
        reach = _NEAR * max(spec.width, spec.height) / patches_across
        boxes = {region.name: _box(region) for region in spec.regions if region.polygon}
        self._beside = {
            name: {other for other, theirs in boxes.items() if other != name and _apart(box, theirs) <= reach}
            for name, box in boxes.items()
        }
        self._kinds = {region.name: region for region in spec.regions}

    def scores(self, anomaly: Anomaly, threshold: float) -> tuple[NamedScore, ...]:
        """Return what each region of an image says at a threshold, in the order in which they were drawn."""
        by_name = {seen.name: seen for seen in anomaly.regions}
        found = []
        for seen in anomaly.regions:
            if seen.presence is None:
                found.append(NamedScore(seen.name, "judged", seen.score))
            else:
                state = self._state(seen, by_name, threshold)
                found.append(NamedScore(seen.name, "presence", seen.score, state))
        return tuple(found)

    def named(self, findings: Sequence[Finding], scores: Sequence[NamedScore], image: Picture) -> tuple[Finding, ...]:
        """Return the findings of an image with the regions that they lie in, and those of presence checks first.

        What only the U-Net or the classifier saw is left out where its middle lies in an ignored region.
        """
        missing = [one for one in scores if one.state not in (None, PRESENT)]
        missing.sort(key=lambda one: -one.score)
        kept = [self._of_presence(self._kinds[one.name], one, image) for one in missing]
        for finding in findings:
            region = self._at(_upright(finding, image, self._spec))
            silenced = region is None or region.kind == "ignored"
            if silenced and "patchcore" not in finding.seen_by:
                continue
            kept.append(finding if silenced or region is None else replace(finding, region=region.name))
        return tuple(kept)

    def _state(self, seen: RegionSeen, by_name: dict[str, RegionSeen], threshold: float) -> str:
        presence = seen.presence or 0.0
        if presence <= threshold:
            return PRESENT
        region = self._kinds[seen.name]
        beside = max((by_name[name].score for name in self._beside[seen.name] if name in by_name), default=0.0)
        if beside > (_LOUDER if seen.looks is None else _MUCH_LOUDER) * presence:
            # The network sees beyond a region: what is wrong beside it changes it too, and is told there.
            return PRESENT
        if seen.looks is not None:
            return seen.looks
        return _WRONG if region.examples else _ABSENT

    def _at(self, point: tuple[float, float]) -> FittedRegion | None:
        for region in self._spec.regions:
            if region.polygon and cv2.pointPolygonTest(_corners(region), point, measureDist=False) >= 0:
                return region
        return self._kinds.get(REST)

    def _of_presence(self, region: FittedRegion, score: NamedScore, image: Picture) -> Finding:
        corners = _on_picture(np.array(region.polygon, dtype=np.float64), image, self._spec)
        height, width = (image.pixels if isinstance(image, View) else image).shape[:2]
        left, top = np.floor(corners.min(axis=0)).astype(int)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int)
        left, top = int(np.clip(left, 0, width - 1)), int(np.clip(top, 0, height - 1))
        right, bottom = int(np.clip(right, left + 1, width)), int(np.clip(bottom, top + 1, height))
        area = area_of(tuple((float(x), float(y)) for x, y in corners))
        assert score.state is not None
        return Finding(
            type=score.state,
            source="presence",
            x=left,
            y=top,
            width=right - left,
            height=bottom - top,
            area_px=max(1, round(area)),
            peak=score.score,
            seen_by=("presence",),
            region=region.name,
        )


def _corners(region: FittedRegion) -> npt.NDArray[np.float32]:
    return np.array(region.polygon, dtype=np.float32).reshape(-1, 1, 2)


def _box(region: FittedRegion) -> tuple[float, float, float, float]:
    xs, ys = zip(*region.polygon, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    down = max(one[1] - other[3], other[1] - one[3], 0.0)
    return float(np.hypot(across, down))


def _upright(finding: Finding, image: Picture, spec: RegionsSpec) -> tuple[float, float]:
    """Return a finding's middle in pixels of the picture that regions were drawn on."""
    point = np.array([finding.x + finding.width / 2, finding.y + finding.height / 2])
    if isinstance(image, View):
        inverse = np.asarray(cv2.invertAffineTransform(image.matrix), dtype=np.float64)
        point = inverse[:, :2] @ point + inverse[:, 2]
    height, width = image.shape[:2]
    return float(point[0] * spec.width / width), float(point[1] * spec.height / height)


def _on_picture(corners: npt.NDArray[np.float64], image: Picture, spec: RegionsSpec) -> npt.NDArray[np.float64]:
    """Return (n, 2) corners of a region in pixels of the camera's picture."""
    height, width = image.shape[:2]
    placed = corners * np.array([width / spec.width, height / spec.height])
    if isinstance(image, View):
        placed = placed @ image.matrix[:, :2].T + image.matrix[:, 2]
    return np.asarray(placed, dtype=np.float64)
