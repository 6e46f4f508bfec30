"""Uncompressed rows whose size and format a content type states."""

import re

import numpy as np
import numpy.typing as npt

from neverblink.vision.pictures.faults import check_size, corrupt
from neverblink.vision.pictures.stored import Values

RAW_TYPE = "image/x-raw"
"""Content type of uncompressed rows, with `format`, `width` and `height` as parameters, and `depth` where a value has
16 bits: how many of them it uses. Formats: `rgb8`, `grey8`, `rgb16`, `grey16`, the latter two little-endian."""

_FORMATS = {"rgb8": (3, "<u1"), "grey8": (1, "<u1"), "rgb16": (3, "<u2"), "grey16": (1, "<u2")}
_PARAMETER = re.compile(r"\s*([a-z]+)\s*=\s*\"?([a-z0-9]+)\"?\s*")


def raw_content_type(image: npt.NDArray[np.uint8]) -> str:
    """Return the content type of an (H, W, 3) RGB or (H, W) grey uint8 image that travels as its bare rows."""
    height, width = image.shape[:2]
    return f"{RAW_TYPE}; format={'grey8' if image.ndim == 2 else 'rgb8'}; width={width}; height={height}"


def is_raw(content_type: str | None) -> bool:
    """Say whether bytes of a content type are bare rows."""
    return content_type is not None and content_type.partition(";")[0].strip() == RAW_TYPE


def read_raw(data: bytes, content_type: str, max_pixels: int) -> tuple[Values, int | None]:
    """Return the rows as (H, W) or (H, W, 3) values, and the depth that is stated for them. Raises ImageError."""
    stated = dict(_PARAMETER.findall(content_type))
    channels, kind = _FORMATS.get(stated.get("format", ""), (0, ""))
    width, height, depth = (_number(stated.get(name, "")) for name in ("width", "height", "depth"))
    if not channels or not 0 < width <= max_pixels or not 0 < height <= max_pixels:
        raise corrupt(f"the content type {content_type!r} says no size and format of raw pixels")
    check_size(width, height, max_pixels)
    size = width * height * channels * np.dtype(kind).itemsize
    if len(data) != size:
        raise corrupt(f"{width} × {height} raw pixels take {size} bytes, and there are {len(data)}")
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.frombuffer(data, kind).reshape(shape), depth or None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else 0
