"""What an image itself looks like, before any model: cheap enough for the camera node. No torch here."""

from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

QualityFault = Literal["too-dark", "saturated", "low-contrast", "blurred"]
SizeFault = Literal["wrong-size"]

_SAMPLED_SIDE = 512
"""Larger images are sampled down to about this side: a 20 MP frame then costs what a 512 px one does."""

_CLIPPED = 254
"""JPEG lets a clipped 255 wobble by one."""

_WINDOWS = 3


@dataclass(frozen=True)
class ImageQuality:
    """Brightness, contrast: luma mean and deviation as a share of full scale; saturation: share of clipped
    pixels; sharpness: variance of luma's Laplacian, to be compared within one station only.
    """

    brightness: float
    contrast: float
    sharpness: float
    saturation: float


class SizeLimits(Protocol):
    """The size that a station's images have; None is not checked."""

    @property
    def width(self) -> int | None:
        """Pixels; any other width is wrong."""
        ...

    @property
    def height(self) -> int | None:
        """Pixels; any other height is wrong."""
        ...


class QualityLimits(Protocol):
    """Limits of a station; None is not checked. The plant file's `quality` section is one."""

    @property
    def min_brightness(self) -> float | None:
        """Below: too dark."""
        ...

    @property
    def max_brightness(self) -> float | None:
        """Above: saturated."""
        ...

    @property
    def max_saturation(self) -> float | None:
        """Above: saturated."""
        ...

    @property
    def min_contrast(self) -> float | None:
        """Below: low contrast."""
        ...

    @property
    def min_sharpness(self) -> float | None:
        """Below: blurred."""
        ...


def measure(image: npt.NDArray[np.uint8]) -> ImageQuality:
    """Measure an (H, W, 3) RGB or (H, W) grey uint8 image; below 2 ms at any size.

    Large images are sampled: every n-th pixel for brightness, contrast and clipping, and a grid of windows at
    full resolution for sharpness, because scaling down would hide blur.
    """
    height, width = image.shape[:2]
    step = -(-max(height, width) // _SAMPLED_SIDE)
    luma = _luma(image[::step, ::step])
    mean, deviation = cv2.meanStdDev(luma)
    clipped = int(np.count_nonzero(luma >= _CLIPPED))
    return ImageQuality(
        brightness=float(mean[0, 0]) / 255,
        contrast=float(deviation[0, 0]) / 255,
        sharpness=_sharpness(luma) if step == 1 else _windowed_sharpness(image),
        saturation=clipped / luma.size,
    )


def judge(quality: ImageQuality, limits: QualityLimits) -> QualityFault | None:
    """Return the first limit that the image breaks, None when it is worth scoring."""
    if _below(quality.brightness, limits.min_brightness):
        return "too-dark"
    if _above(quality.brightness, limits.max_brightness) or _above(quality.saturation, limits.max_saturation):
        return "saturated"
    if _below(quality.contrast, limits.min_contrast):
        return "low-contrast"
    if _below(quality.sharpness, limits.min_sharpness):
        return "blurred"
    return None


def judge_size(image: npt.NDArray[np.uint8], limits: SizeLimits) -> SizeFault | None:
    """Return the fault of an (H, W, …) image that has not the station's size: another camera, mode or crop."""
    height, width = image.shape[:2]
    if limits.width not in (None, width) or limits.height not in (None, height):
        return "wrong-size"
    return None


def _below(value: float, limit: float | None) -> bool:
    # Written so that what is no number breaks the limit.
    return limit is not None and not value >= limit


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and not value <= limit


def _luma(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    contiguous = np.ascontiguousarray(image)
    if contiguous.ndim == 2:
        return contiguous
    return np.asarray(cv2.cvtColor(contiguous, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _sharpness(luma: npt.NDArray[np.uint8]) -> float:
    _, deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


def _windowed_sharpness(image: npt.NDArray[np.uint8]) -> float:
    height, width = image.shape[:2]
    side = _SAMPLED_SIDE // _WINDOWS
    tops = np.linspace(0, max(0, height - side), _WINDOWS).astype(int)
    lefts = np.linspace(0, max(0, width - side), _WINDOWS).astype(int)
    windows = [image[top : top + side, left : left + side] for top in tops for left in lefts]
    return float(np.mean([_sharpness(_luma(window)) for window in windows]))
