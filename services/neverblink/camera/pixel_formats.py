"""From the pixel formats of GenICam's PFNC to what we score."""

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.camera.picture import SourceError
from neverblink.events import Reason

_BITS = {"8": 8, "10": 10, "12": 12, "14": 14, "16": 16}
_COLOURS = {
    "RGB8": None,
    "BGR8": cv2.COLOR_BGR2RGB,
    "RGBa8": cv2.COLOR_RGBA2RGB,
    "BGRa8": cv2.COLOR_BGRA2RGB,
    "YUV422_8": cv2.COLOR_YUV2RGB_YUYV,
    "YUV422_8_UYVY": cv2.COLOR_YUV2RGB_UYVY,
}
_CHANNELS = {"RGB8": 3, "BGR8": 3, "RGBa8": 4, "BGRa8": 4, "YUV422_8": 2, "YUV422_8_UYVY": 2}
# The two letters are the first two pixels of the first row, as in PFNC.
_MOSAICS = {
    "BayerRG": cv2.COLOR_BayerRGGB2RGB,
    "BayerGR": cv2.COLOR_BayerGRBG2RGB,
    "BayerGB": cv2.COLOR_BayerGBRG2RGB,
    "BayerBG": cv2.COLOR_BayerBGGR2RGB,
}

KNOWN = (*_COLOURS, *(f"{kind}{bits}" for kind in ("Mono", *_MOSAICS) for bits in _BITS))
"""The pixel formats that `from_pfnc` takes; packed ones are not among them."""


def from_pfnc(data: NDArray[np.uint8] | NDArray[np.uint16], name: str, width: int, height: int) -> NDArray[np.uint8]:
    """Return a camera's flat pixels as a new array, (H, W) uint8 for Mono formats and (H, W, 3) uint8 RGB for others.

    10 to 16 bits keep their upper eight. Raises SourceError for a format or a size that is not as stated.
    """
    if name not in KNOWN:
        raise SourceError(
            Reason.WRONG_TYPE, f"the camera sends {name}; set the node PixelFormat to one of {', '.join(KNOWN)}"
        )
    channels = _CHANNELS.get(name, 1)
    if data.size != width * height * channels:
        raise SourceError(
            Reason.CORRUPT_IMAGE,
            f"the camera states {width} × {height} pixels of {name} and sends {data.size} values",
        )
    if name in _COLOURS:
        shaped = data.reshape(height, width, channels)
        code = _COLOURS[name]
        return np.array(shaped if code is None else cv2.cvtColor(shaped, code), dtype=np.uint8)
    kind = name.rstrip("0123456789")
    bits = _BITS[name.removeprefix(kind)]
    flat = data.reshape(height, width)
    eight = flat if bits == 8 else (flat >> (bits - 8)).clip(0, 255).astype(np.uint8)
    if kind == "Mono":
        return np.array(eight, dtype=np.uint8)
    return np.asarray(cv2.cvtColor(np.asarray(eight, dtype=np.uint8), _MOSAICS[kind]), dtype=np.uint8)
