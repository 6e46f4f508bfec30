"""A grabbed image and how it travels."""

import hashlib
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.errors import NeverblinkError
from neverblink.events import Reason
from neverblink.plant import Payload
from neverblink.vision.decode import raw_content_type


class SourceError(NeverblinkError, RuntimeError):
    """A picture could not be had; `reason` is the verdict's, the message says what to look at."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Picture:
    """One grabbed image: (H, W, 3) uint8 RGB or (H, W) uint8 grey, its bytes as they will travel, and their digest.

    The digest is computed with it, in the acquisition thread: 36 MB of raw pixels take tens of milliseconds.
    """

    pixels: NDArray[np.uint8]
    body: bytes
    content_type: str
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.body).hexdigest())


def encoded(pixels: NDArray[np.uint8], payload: Payload) -> Picture:
    """Encode (H, W, 3) uint8 RGB or (H, W) uint8 grey pixels as the station's payload asks. Raises SourceError."""
    if payload.format == "raw":
        return Picture(pixels, pixels.tobytes(), raw_content_type(pixels))
    # One filter instead of a choice among five a row takes two thirds of the time, and level 1 half of level 3's, for
    # one to three per cent more bytes; OpenCV's own default is faster and a third larger (the images of
    # bench/line/payload.py).
    flags = {
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG],
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, payload.jpeg_quality],
    }
    ordered = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, body = cv2.imencode(f".{payload.format}", ordered, flags[payload.format])
    if not done:
        raise SourceError(Reason.CORRUPT_IMAGE, f"a {pixels.shape} image cannot be encoded as {payload.format}")
    return Picture(pixels, body.tobytes(), f"image/{payload.format}")
