"""Connected regions of a map, as boxes and areas in pixels of the image that the map covers."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.unet_spec import UnetSpec

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_CERTAIN = 1e-7

_SPREAD = 0.7
"""A lone region reaches as far as the map stays above this share of its peak."""


@dataclass(frozen=True, slots=True)
class Region:
    """A connected part of a map: box and area in pixels of the image, highest map value, (h, w) mask on the map."""

    x: int
    y: int
    width: int
    height: int
    area_px: int
    peak: float
    mask: Mask

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Return (x, y, width, height)."""
        return self.x, self.y, self.width, self.height


def regions(
    anomaly_map: Map,
    threshold: float,
    *,
    image_size: tuple[int, int],
    min_area_px: int = 1,
    at_least_one: bool = False,
    limit: int = 100,
) -> list[Region]:
    """Return the connected regions above the map threshold, highest peak first, at most `limit`.

    `image_size` is (width, height) of the image that the map covers. With `at_least_one` a map that stays
    below gives the region around its peak: a rejected part must show where to look.
    """
    found = components(anomaly_map > threshold, anomaly_map, image_size, min_area_px)
    if not found and at_least_one:
        reach = min(_SPREAD * float(anomaly_map.max()), threshold)
        found = components(anomaly_map > reach, anomaly_map, image_size, 1)[:1]
    return found[:limit]


def components(marked: Mask, values: Map, image_size: tuple[int, int], min_area_px: int) -> list[Region]:
    """Return the 8-connected parts of an (h, w) mask of at least `min_area_px`, highest of `values` (h, w) first."""
    height, width = marked.shape
    across, down = image_size[0] / width, image_size[1] / height
    count, labels, table, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=8)
    found: list[Region] = []
    for label in range(1, count):
        x, y, wide, high, area = (int(value) for value in table[label])
        area_px = max(1, round(area * across * down))
        if area_px < min_area_px:
            continue
        mask = np.asarray(labels == label, dtype=np.bool_)
        left, top = min(int(x * across), image_size[0] - 1), min(int(y * down), image_size[1] - 1)
        right, bottom = min(round((x + wide) * across), image_size[0]), min(round((y + high) * down), image_size[1])
        found.append(
            Region(
                x=left,
                y=top,
                width=max(1, right - left),
                height=max(1, bottom - top),
                area_px=area_px,
                peak=float(values[mask].max()),
                mask=mask,
            )
        )
    return sorted(found, key=lambda region: -region.peak)


def outlined_by(unet: UnetSpec, probabilities: Map, *, scale: float = 1.0) -> Mask:
    """Return which pixels a U-Net with (K, h, w) `probabilities` marks for each class, (K, h, w).

    A region reaches as far as the class's threshold, and is one only with evidence enough: what keeps good parts quiet
    must not shrink the outlines of defects. `scale` is how many of the network's pixels a pixel here is wide.
    """
    marked = np.zeros(probabilities.shape, dtype=np.bool_)
    for channel, plane in enumerate(probabilities):
        labels, evidence = evidence_of(plane, unet.threshold(channel), scale=scale)
        marked[channel] = (evidence > unet.surely(channel))[labels]
    return marked


def outlined_finely(unet: UnetSpec, planes: Map, outlined: Mask) -> Mask:
    """Return what is `outlined` (K, h, w) on a finer grid, (K, H, W), that the probabilities `planes` were brought to.

    Which regions count was decided before; the outline is the finer grid's own.
    """
    size = planes.shape[2], planes.shape[1]
    kept = np.stack([cv2.resize(plane, size) for plane in outlined.astype(np.float32)])
    levels = np.array([unet.threshold(channel) for channel in range(len(planes))])
    return np.asarray((planes > levels[:, None, None]) & (kept > 0), dtype=np.bool_)


def evidence_of(plane: Map, threshold: float, *, scale: float = 1.0) -> tuple[npt.NDArray[np.int32], Map]:
    """Return the regions of (h, w) probabilities above a threshold: (h, w) labels from 1, and (n + 1,) their evidence.

    The evidence of a region of n of the network's pixels is ln(1 + n) times the mean of how far its logits are beyond
    the threshold's: a speck must be surer than a large region. That of label 0, the rest, is 0. On magnetic tiles, at
    2 % of good parts marked, it finds 0.63 of the defective ones, and the highest probability in a region 0.36.
    """
    count, labels = cv2.connectedComponents((plane > threshold).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    # Only what is marked has evidence, and that is little of most images.
    marked = labels > 0
    beyond = _logit(plane[marked]) - _logit(np.float32(threshold))
    areas = np.bincount(labels[marked], minlength=count)
    total = np.bincount(labels[marked], weights=beyond, minlength=count)
    evidence = np.log1p(areas * scale**2) * total / np.maximum(areas, 1)
    return np.asarray(labels, dtype=np.int32), evidence.astype(np.float32)


def _logit(probabilities: Map | np.float32) -> Map:
    # Nearer to 0 and 1 than this single precision has no steps left.
    inside = np.clip(probabilities, _CERTAIN, 1 - _CERTAIN, dtype=np.float64)
    return np.asarray(np.log(inside / (1 - inside)), dtype=np.float32)
