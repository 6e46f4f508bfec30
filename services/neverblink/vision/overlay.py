"""Where it matters, drawn over the image."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import Image

_FLOOR = 0.5
"""The heat begins at half the threshold and is fully there at the threshold and a half."""

OUTLINE = (0, 214, 255)
"""RGB of what a model found."""


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


def at_most(image: Image, side: int) -> Image:
    """Return an (H, W, 3) uint8 RGB image of at most `side` pixels a side: itself, or a smaller one."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def outlined(image: Image, mask: npt.NDArray[Any], colour: tuple[int, int, int] = OUTLINE) -> Image:
    """Return a copy of an (H, W, 3) uint8 RGB image on which an (h, w) mask's regions have an outline."""
    height, width = image.shape[:2]
    marked = np.where(mask > 0, np.uint8(255), np.uint8(0))
    shrinks = marked.shape[0] > height or marked.shape[1] > width
    # Area averages keep a hair-fine region, whose pixels a smaller image would lose.
    covered = cv2.resize(marked, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    contours, _ = cv2.findContours((covered > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(image.copy(), contours, -1, colour, 1, cv2.LINE_AA), dtype=np.uint8)
