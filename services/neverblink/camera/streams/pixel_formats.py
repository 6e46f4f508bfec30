"""From the pixel formats of GenICam's PFNC to what we score."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.camera.picture import SourceError
from neverblink.events import Reason
from neverblink.vision.decode import ImageError, scaled, suggested_depth

_BITS = {"8": 8, "10": 10, "12": 12, "14": 14, "16": 16}
# "p" is PFNC's dense packing from the lowest bit on; "Packed" is GigE Vision 1.x's, two pixels in three bytes.
_PACKED_BITS = {"10p": 10, "12p": 12, "10Packed": 10, "12Packed": 12}
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
_GREYS = {f"{kind}{bits}": (kind, bits) for kind in ("Mono", *_MOSAICS) for bits in (*_BITS, *_PACKED_BITS)}

KNOWN = (*_COLOURS, *_GREYS)
"""The pixel formats that `from_pfnc` takes."""


_CODES_OF_FAMILIES = {
    "Mono8": 0x01080001, "Mono10": 0x01100003, "Mono12": 0x01100005, "Mono14": 0x01100025, "Mono16": 0x01100007,
    "Mono10p": 0x010A0046, "Mono12p": 0x010C0047, "Mono10Packed": 0x010C0004, "Mono12Packed": 0x010C0006,
    "RGB8": 0x02180014, "BGR8": 0x02180015, "RGBa8": 0x02200016, "BGRa8": 0x02200017,
    "YUV422_8": 0x02100032, "YUV422_8_UYVY": 0x0210001F,
}  # fmt: skip
# The four mosaics lie next to one another, in this order or in that of the alphabet.
_CODES_OF_MOSAICS = {
    "8": (0x01080008, 1), "10": (0x0110000C, 1), "12": (0x01100010, 1), "14": (0x01100109, 1), "16": (0x0110002E, 1),
    "10Packed": (0x010C0026, 1), "12Packed": (0x010C002A, 1), "10p": (0x010A0056, 2), "12p": (0x010C0057, 2),
}  # fmt: skip


def _codes() -> dict[int, str]:
    found = {code: name for name, code in _CODES_OF_FAMILIES.items()}
    for bits, (first, step) in _CODES_OF_MOSAICS.items():
        alphabetical = {"BayerBG": -2, "BayerGB": -1, "BayerGR": 0, "BayerRG": 1}
        numbered = {"BayerGR": 0, "BayerRG": 1, "BayerGB": 2, "BayerBG": 3}
        places = alphabetical if step == 2 else numbered
        found |= {first + step * place: f"{kind}{bits}" for kind, place in places.items()}
    return found


CODES = _codes()
"""PFNC's numbers of the known formats."""


def row_bytes(name: str, width: int) -> float:
    """Return how many bytes a row takes; packed rows may end within one. Raises SourceError for a format not known."""
    _check_known(name)
    if name in _COLOURS:
        return float(width * _CHANNELS[name])
    _, bits = _GREYS[name]
    if bits in _BITS:
        return float(width if bits == "8" else 2 * width)
    return width * (1.5 if bits.endswith("Packed") else _PACKED_BITS[bits] / 8)


def image_bytes(name: str, width: int, height: int) -> int:
    """Return how many bytes an image without padding takes. Raises SourceError for a format not known."""
    return math.ceil(row_bytes(name, width) * height)


def from_pfnc(
    data: NDArray[np.uint8] | NDArray[np.uint16], name: str, width: int, height: int, depth: int | None = None
) -> NDArray[np.uint8]:
    """Return a camera's flat pixels as a new array, (H, W) uint8 for Mono formats and (H, W, 3) uint8 RGB for others.

    `data` is flat: bytes as the camera sent them, or uint16 values of a format of 10 to 16 bits that is not packed.
    More than eight bits are scaled to eight. `depth` are the bits that a station states for its camera: the formats of
    16 bits need it, for many cameras put 10 or 12 into them; others need it where a camera aligns values to the left.
    Raises SourceError for a format or a size that is not as stated, for 16 bits without a depth, and for values beyond
    the bits, of which the upper ones would be lost.
    """
    _check_known(name)
    if name in _COLOURS:
        channels = _CHANNELS[name]
        _check_size(data.size, width * height * channels, name, width, height)
        shaped = data.reshape(height, width, channels)
        code = _COLOURS[name]
        return np.array(shaped, dtype=np.uint8) if code is None else np.asarray(cv2.cvtColor(shaped, code), np.uint8)
    kind, packing = _GREYS[name]
    values: NDArray[Any]
    if packing in _PACKED_BITS:
        _check_size(data.size, image_bytes(name, width, height), name, width, height)
        bits = _PACKED_BITS[packing]
        values = _unpacked(np.asarray(data, dtype=np.uint8), packing, width * height)
    else:
        bits = _BITS[packing]
        values = (
            np.asarray(data).view(np.dtype("<u2"))
            if bits > 8 and data.dtype == np.uint8 and data.size % 2 == 0
            else data
        )
        _check_size(values.size, width * height, name, width, height)
    flat = values.reshape(height, width)
    if packing in ("10", "12", "14", "16"):
        eight = _scaled(flat, depth or (None if bits == 16 else bits), name)
    else:
        eight = _scaled(flat, bits, name)
    if kind == "Mono":
        # Eight bits as they came are still the camera's own buffer.
        return np.array(eight) if values.dtype == np.uint8 else eight
    return np.asarray(cv2.cvtColor(eight, _MOSAICS[kind]), dtype=np.uint8)


def _scaled(values: NDArray[Any], bits: int | None, name: str) -> NDArray[np.uint8]:
    """Bring a format's values to eight bits. Raises SourceError."""
    try:
        return scaled(values, bits, f"the camera's {name}")
    except ImageError as error:
        if bits is None or bits == 16:
            raise SourceError(Reason(error.reason), str(error)) from error
        raise SourceError(
            Reason.WRONG_TYPE,
            f"the camera states {name} and sends values up to {int(values.max())}, more than {bits} bits hold: does it"
            f" align them to the left? State `depth: {suggested_depth(values)}` for its station",
        ) from error


def _unpacked(data: NDArray[np.uint8], packing: str, pixels: int) -> NDArray[np.uint16]:
    """Return `pixels` values of 10 or 12 bits."""
    pixels_a_group, bytes_a_group = (4, 5) if packing == "10p" else (2, 3)
    groups = -(-pixels // pixels_a_group)
    whole = data
    if data.size < groups * bytes_a_group:  # the last group is not full
        whole = np.zeros(groups * bytes_a_group, np.uint8)
        whole[: data.size] = data
    b = whole.reshape(groups, bytes_a_group).astype(np.uint16)
    out = np.empty((groups, pixels_a_group), np.uint16)
    if packing == "10p":
        for pixel in range(4):
            out[:, pixel] = (b[:, pixel] >> 2 * pixel) | (b[:, pixel + 1] & ((4 << 2 * pixel) - 1)) << (8 - 2 * pixel)
    elif packing == "12p":
        out[:, 0] = b[:, 0] | (b[:, 1] & 0xF) << 8
        out[:, 1] = b[:, 1] >> 4 | b[:, 2] << 4
    else:  # the middle byte holds the lowest bits of both
        low = _PACKED_BITS[packing] - 8
        mask = (1 << low) - 1
        out[:, 0] = b[:, 0] << low | b[:, 1] & mask
        out[:, 1] = b[:, 2] << low | b[:, 1] >> 4 & mask
    return out.reshape(-1)[:pixels]


def _check_known(name: str) -> None:
    if name not in KNOWN:
        raise SourceError(
            Reason.WRONG_TYPE, f"the camera sends {name}; set the node PixelFormat to one of {', '.join(KNOWN)}"
        )


def _check_size(values: int, expected: int, name: str, width: int, height: int) -> None:
    if values != expected or values < 1:
        raise SourceError(
            Reason.CORRUPT_IMAGE, f"the camera states {width} × {height} pixels of {name} and sends {values} values"
        )
