"""Where it matters, drawn over the image."""

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import Image

_FLOOR = 0.5
"""The heat begins at half the threshold and is fully there at the threshold and a half."""

_OUTLINE = (0, 229, 255)


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


def outlined(image: Image, mask: npt.NDArray[np.bool_], colour: tuple[int, int, int] = _OUTLINE) -> Image:
    """Draw the outlines of an (h, w) mask over the whole image on a copy of an (H, W, 3) uint8 RGB image."""
    height, width = image.shape[:2]
    # Area averages keep a hair-fine region, whose pixels a smaller image would lose.
    shares = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours((shares > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(image.copy(), contours, -1, colour, 1, cv2.LINE_AA), dtype=np.uint8)
