"""Pictures of a report: small, with outlines, inside the page."""

import base64
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import Image

LABEL_COLOUR = (255, 196, 0)
"""RGB of what is labelled."""

MODEL_COLOUR = (0, 214, 255)
"""RGB of what a model found."""

_SIDE = 320
_JPEG_QUALITY = 82


def small(image: Image) -> Image:
    """Return an (H, W, 3) uint8 RGB image of at most 320 pixels a side."""
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def outlined(image: Image, mask: npt.NDArray[Any], colour: tuple[int, int, int] = LABEL_COLOUR) -> Image:
    """Return a copy on which the regions of an (h, w) mask over the whole image have an outline."""
    height, width = image.shape[:2]
    marked = np.where(mask > 0, np.uint8(255), np.uint8(0))
    shrinks = marked.shape[0] > height or marked.shape[1] > width
    covered = cv2.resize(marked, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours((covered > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(image.copy(), outlines, -1, colour, 1, cv2.LINE_AA), dtype=np.uint8)


def data_url(image: Image) -> str:
    """Return an (H, W, 3) uint8 RGB image as a JPEG that is part of the page."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
