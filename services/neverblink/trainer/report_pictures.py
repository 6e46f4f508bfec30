"""Pictures of a report: small, inside the page."""

import base64

import cv2
import numpy as np

from neverblink.vision.decode import Image

LABEL_COLOUR = (255, 196, 0)
"""RGB of what is labelled."""

_SIDE = 320
_JPEG_QUALITY = 82


def small(image: Image) -> Image:
    """Return an (H, W, 3) uint8 RGB image of at most 320 pixels a side."""
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def data_url(image: Image) -> str:
    """Return an (H, W, 3) uint8 RGB image as a JPEG that is part of the page."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
