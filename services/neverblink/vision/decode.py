"""Image bytes to pixels: whole or refused, upright, eight bits, with limits that hold before anything is allocated."""

import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.pictures import bmp, jpeg, png, tiff, webp
from neverblink.vision.pictures.depth import scaled, suggested_depth
from neverblink.vision.pictures.faults import (
    MAX_BYTES,
    MAX_PIXELS,
    ImageError,
    ImageFault,
    check_size,
    corrupt,
    unsupported,
)
from neverblink.vision.pictures.orientation import upright
from neverblink.vision.pictures.raw import RAW_TYPE, is_raw, raw_content_type, read_raw
from neverblink.vision.pictures.stored import Stored, Values
from neverblink.vision.pictures.tiff_layout import is_tiff

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "RAW_TYPE",
    "SUFFIXES",
    "Image",
    "ImageError",
    "ImageFault",
    "Values",
    "decode",
    "decode_values",
    "has_16_bits",
    "image_size",
    "raw_content_type",
    "read_image",
    "read_values",
    "scaled",
    "suggested_depth",
]

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_KINDS = "PNG, JPEG, TIFF, WebP or BMP"
_JPEG = b"\xff\xd8\xff"
_GIFS = (b"GIF87a", b"GIF89a")


def decode(
    data: bytes | bytearray | memoryview,
    *,
    content_type: str | None = None,
    max_pixels: int = MAX_PIXELS,
    depth: int | None = None,
) -> Image:
    """Decode a PNG, JPEG, TIFF, WebP or BMP into (H, W, 3) uint8 RGB; grey becomes three equal channels, alpha goes.

    A `content_type` of `RAW_TYPE` says that the bytes are rows of pixels; no other one is believed, the bytes say it.
    The size is read from the header first, so an image above `max_pixels` is refused without allocating it. A damaged
    file is refused and not half decoded, as far as its format lets anyone know. The picture is turned as its EXIF
    orientation says. Values of 16 bits are scaled by the `depth` that is stated for them, and refused without one.
    Bare rows of 8 bits in colour are the bytes themselves, not to be written to: a copy of 12 MP takes 7 ms.
    Raises ImageError.
    """
    data = bytes(data)
    if content_type is not None and is_raw(content_type):
        values, stated = read_raw(data, content_type, max_pixels)
        return _as_rgb(scaled(values, stated or depth))
    return _as_rgb(scaled(_values(data, max_pixels, colour=True), depth))


def decode_values(data: bytes | bytearray | memoryview, *, max_pixels: int = MAX_PIXELS) -> Values:
    """Decode as `decode` does and keep what is stored: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16.

    For masks, whose values mean something; a palette's colours take the place of its indices. Raises ImageError.
    """
    return _values(bytes(data), max_pixels, colour=False)


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS, depth: int | None = None) -> Image:
    """Read an image file as `decode` does; the message of an ImageError begins with the path."""
    return _as_rgb(scaled(_read(path, max_pixels, colour=True), depth, str(path)))


def read_values(path: Path, *, max_pixels: int = MAX_PIXELS) -> Values:
    """Read an image file as `decode_values` does; the message of an ImageError begins with the path."""
    return _read(path, max_pixels, colour=False)


def image_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of the decoded picture from a file's header. Raises ImageError.

    Also refuses what is damaged as far as that shows without decoding: a PNG by its checksums, a WebP, TIFF and BMP
    by their lengths.
    """
    stored = _opened(data, MAX_PIXELS)
    check_size(stored.width, stored.height, MAX_PIXELS)
    return (stored.height, stored.width) if stored.orientation >= 5 else (stored.width, stored.height)


def has_16_bits(data: bytes) -> bool:
    """Say whether bytes are a PNG with 16 bits a value: such a one means something only together with its depth."""
    return png.has_16_bits(data)


def _read(path: Path, max_pixels: int, *, colour: bool) -> Values:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError("image-too-large", f"the file has {size} bytes, more than {MAX_BYTES}")
        return _values(path.read_bytes(), max_pixels, colour=colour)
    except OSError as error:
        raise ImageError("no-image", f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(error.reason, f"{path}: {error}") from error


def _opened(data: bytes, max_pixels: int) -> Stored:
    if not data:
        raise ImageError("no-image", "the image is empty: zero bytes")
    try:
        if data.startswith(png.SIGNATURE):
            return png.opened(data, max_pixels)
        if data.startswith(_JPEG):
            return jpeg.opened(data)
        if is_tiff(data):
            return tiff.opened(data)
        if webp.is_webp(data):
            return webp.opened(data)
        if data.startswith(bmp.SIGNATURE):
            return bmp.opened(data, max_pixels)
    except (struct.error, IndexError) as error:
        raise _cut_off(data) from error
    if data.startswith(_GIFS):
        raise unsupported(f"the image is a GIF, which is not read: save it as {_KINDS}")
    raise unsupported(f"not a {_KINDS} image: it begins with the bytes {data[:8]!r}")


def _values(data: bytes, max_pixels: int, *, colour: bool) -> Values:
    """Return what a file stores, upright; with `colour` without alpha."""
    stored = _opened(data, max_pixels)
    check_size(stored.width, stored.height, max_pixels)
    try:
        values = stored.values(colour)
    except (struct.error, IndexError) as error:
        raise _cut_off(data) from error
    if values.shape[:2] != (stored.height, stored.width):
        raise corrupt(
            f"the header promises {stored.width} × {stored.height} pixels, the decoder finds"
            f" {values.shape[1]} × {values.shape[0]}"
        )
    return upright(values[..., :3] if colour and values.ndim == 3 else values, stored.orientation)


def _as_rgb(pixels: npt.NDArray[np.uint8]) -> Image:
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return np.ascontiguousarray(pixels)


def _cut_off(data: bytes) -> ImageError:
    return corrupt(f"the image is cut off after {len(data)} bytes")
