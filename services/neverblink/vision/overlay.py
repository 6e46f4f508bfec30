"""Where it matters, drawn over the image."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.area_average import area_average
from neverblink.vision.decode import Image

_NORMAL = 0.5
"""Where nothing is known about good parts, half the threshold is taken for normal."""

_HIGHEST_NORMAL = 0.95
"""Of the threshold: what lies there is worth a tint, however high the peaks of good parts are."""

_FULL = 1.5
"""The heat is fully there at the threshold and a half."""

# RGB. A tint that is no alarm up to the threshold, warm colours above: a part that passes is never painted red.
_TINT, _WARM, _HOT = ((70.0, 140.0, 255.0), (255.0, 170.0, 0.0), (225.0, 20.0, 20.0))
_MOST_TINT, _LEAST_HEAT, _MOST_HEAT = 0.4, 0.5, 0.75

_JUST_BELOW = 0.97
"""Of the highest place: what is this close to it is shown with it, so that it is more than a pixel."""

_A_HAIR_ABOVE = 1.001
"""Of the highest place: interpolation may round it up, and must not make it warm."""

OUTLINE = (0, 214, 255)
"""RGB of what a model found."""


def overlay(
    image: Image,
    anomaly_map: npt.NDArray[np.float32],
    threshold: float,
    *,
    normal: float | None = None,
    anomalous: bool | None = None,
) -> Image:
    """Return an (H, W, 3) uint8 RGB image with its (h, w) float32 map over it; the image itself is not changed.

    A bluish tint grows from `normal`, the map value from which on a good part is remarkable, up to the threshold;
    above, colours are warm at once, so that a defect at 1.1 of the threshold is seen. Without `normal` it is half the
    threshold. An image that is `anomalous` by its score shows at least its highest place in a warm colour, though its
    map stays below; one that is not shows none, though its map goes beyond. None: as the map says.
    """
    height, width = image.shape[:2]
    if anomalous is not None:
        peak = float(anomaly_map.max())
        threshold = min(threshold, _JUST_BELOW * peak) if anomalous else max(threshold, _A_HAIR_ABOVE * peak)
    threshold = max(threshold, 1e-12)
    start = _NORMAL if normal is None else min(normal / threshold, _HIGHEST_NORMAL)
    ratio = cv2.resize(anomaly_map / threshold, (width, height), interpolation=cv2.INTER_LINEAR)
    beyond = np.clip((ratio - 1) / (_FULL - 1), 0, 1)
    share = np.where(
        ratio > 1,
        _LEAST_HEAT + (_MOST_HEAT - _LEAST_HEAT) * beyond,
        _MOST_TINT * np.clip((ratio - start) / (1 - start), 0, 1),
    )[..., None]
    tint, warm, hot = (np.array(colour, dtype=np.float32) for colour in (_TINT, _WARM, _HOT))
    colours = np.where((ratio > 1)[..., None], warm + (hot - warm) * beyond[..., None], tint)
    blended = image.astype(np.float32) * (1 - share) + colours * share
    return np.asarray(np.clip(np.rint(blended), 0, 255), dtype=np.uint8)


def at_most(image: Image, side: int) -> Image:
    """Return an (H, W, 3) uint8 RGB image of at most `side` pixels a side: itself, or a smaller one."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return area_average(image, max(1, round(height * scale)), max(1, round(width * scale)))


def thumbnail(image: Image, side: int) -> Image:
    """Return what `at_most` does, sooner and for looking alone.

    Whole pixels are averaged, which OpenCV does in a fifth of the time, and what is left, less than a half, is
    interpolated. An image may lose fewer pixels at its right and lower edge than lie in one of the thumbnail.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    whole = min(int(1 / scale), height, width)
    high, wide = height // whole, width // whole
    if whole > 1:
        cut = image[: high * whole, : wide * whole]
        image = np.asarray(cv2.resize(cut, (wide, high), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def outlined(image: Image, mask: npt.NDArray[Any], colour: tuple[int, int, int] = OUTLINE, *, thick: int = 1) -> Image:
    """Return a copy of an (H, W, 3) uint8 RGB image on which an (h, w) mask's regions have an outline, in pixels."""
    height, width = image.shape[:2]
    marked = np.where(mask > 0, np.uint8(255), np.uint8(0))
    shrinks = marked.shape[0] > height or marked.shape[1] > width
    # Area averages keep a hair-fine region, whose pixels a smaller image would lose.
    covered = cv2.resize(marked, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    contours, _ = cv2.findContours((covered > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(image.copy(), contours, -1, colour, thick, cv2.LINE_AA), dtype=np.uint8)
