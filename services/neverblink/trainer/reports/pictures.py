"""Pictures of a report: small, inside the page."""

import base64

import cv2

from neverblink.vision.decode import Image
from neverblink.vision.overlay import at_most

LABEL_COLOUR = (255, 196, 0)
"""RGB of what is labelled."""

_SIDE = 320
_JPEG_QUALITY = 82


def small(image: Image) -> Image:
    """Return an (H, W, 3) uint8 RGB image as a page shows it, of at most 320 pixels a side."""
    return at_most(image, _SIDE)


def data_url(image: Image) -> str:
    """Return an (H, W, 3) uint8 RGB image as a JPEG that is part of the page."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
