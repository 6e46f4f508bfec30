"""Where it matters, drawn over the image, and as boxes in its pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import Image

_FLOOR = 0.5
"""The heat begins at half the threshold and is fully there at the threshold and a half."""

_SPREAD = 0.7
"""A lone region reaches as far as the map stays above this share of its peak."""


@dataclass(frozen=True)
class Region:
    """A connected part of a map above its threshold: box and area in pixels of the image, highest map value."""

    x: int
    y: int
    width: int
    height: int
    area_px: int
    peak: float

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Return (x, y, width, height)."""
        return self.x, self.y, self.width, self.height


def regions(
    anomaly_map: npt.NDArray[np.float32],
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
    found = _components(anomaly_map, threshold, image_size, min_area_px)
    if not found and at_least_one:
        peak = float(anomaly_map.max())
        found = _components(anomaly_map, min(_SPREAD * peak, threshold), image_size, 1)[:1]
    return found[:limit]


def _components(
    anomaly_map: npt.NDArray[np.float32], threshold: float, image_size: tuple[int, int], min_area_px: int
) -> list[Region]:
    height, width = anomaly_map.shape
    across, down = image_size[0] / width, image_size[1] / height
    count, labels, table, _ = cv2.connectedComponentsWithStats(
        (anomaly_map > threshold).astype(np.uint8), connectivity=8
    )
    found: list[Region] = []
    for label in range(1, count):
        x, y, wide, high, area = (int(value) for value in table[label])
        area_px = max(1, round(area * across * down))
        if area_px < min_area_px:
            continue
        window = np.s_[y : y + high, x : x + wide]
        left, top = min(int(x * across), image_size[0] - 1), min(int(y * down), image_size[1] - 1)
        right, bottom = min(round((x + wide) * across), image_size[0]), min(round((y + high) * down), image_size[1])
        found.append(
            Region(
                x=left,
                y=top,
                width=max(1, right - left),
                height=max(1, bottom - top),
                area_px=area_px,
                peak=float(anomaly_map[window][labels[window] == label].max()),
            )
        )
    return sorted(found, key=lambda region: -region.peak)


def overlay(image: Image, anomaly_map: npt.NDArray[np.float32], threshold: float) -> Image:
    """Blend a heat map over an (H, W, 3) uint8 RGB image where the map nears its threshold; returns a new one."""
    height, width = image.shape[:2]
    heat = cv2.resize(anomaly_map / max(threshold, 1e-12), (width, height), interpolation=cv2.INTER_LINEAR)
    strength = np.clip((heat - _FLOOR) / (1.5 - _FLOOR), 0, 1).astype(np.float32)
    colours = cv2.cvtColor(
        cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
    )
    share = (0.65 * strength)[..., None]
    blended = image.astype(np.float32) * (1 - share) + colours.astype(np.float32) * share
    return np.asarray(np.clip(np.rint(blended), 0, 255), dtype=np.uint8)
