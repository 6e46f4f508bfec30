"""Image bytes to pixels: whole or refused, upright, eight bits, with limits that hold before anything is allocated."""

import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.pictures import bmp, jpeg, png, tiff, webp
from neverblink.vision.pictures.depth import Depth, scaled, suggested_depth
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
from neverblink.vision.pictures.stored import Header, Values
from neverblink.vision.pictures.tiff_layout import is_tiff

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "RAW_TYPE",
    "SUFFIXES",
    "Depth",
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
_SIXTEEN = b"\x10"


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
    header = _header(data, MAX_PIXELS)
    check_size(header.width, header.height, 1 << 62)
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def has_16_bits(data: bytes) -> bool:
    """Say whether bytes are a PNG with 16 bits a value: such a one means something only together with its depth."""
    return data.startswith(png.SIGNATURE) and data[24:25] == _SIXTEEN


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


def _header(data: bytes, max_pixels: int) -> Header:
    if not data:
        raise ImageError("no-image", "the image is empty: zero bytes")
    try:
        if data.startswith(png.SIGNATURE):
            return png.read_header(data)
        if data.startswith(_JPEG):
            return jpeg.read_header(data)
        if is_tiff(data):
            return tiff.read_header(data)
        if webp.is_webp(data):
            return webp.read_header(data)
        if data.startswith(bmp.SIGNATURE):
            return bmp.read_header(data, max_pixels)
    except (struct.error, IndexError) as error:
        raise _cut_off(data) from error
    if data.startswith(_GIFS):
        raise unsupported(f"the image is a GIF, which is not read: save it as {_KINDS}")
    raise unsupported(f"not a {_KINDS} image: it begins with the bytes {data[:8]!r}")


def _values(data: bytes, max_pixels: int, *, colour: bool) -> Values:
    """Return what a file stores, upright; with `colour` in three channels, alpha left away."""
    header = _header(data, max_pixels)
    check_size(header.width, header.height, max_pixels)
    try:
        if data.startswith(_JPEG):
            values = jpeg.read_values(data, colour=colour)
        elif is_tiff(data):
            values = tiff.read_values(data)
        elif webp.is_webp(data):
            values = _webp_values(data, colour=colour)
        else:
            values = _by_opencv(data, colour=colour and not has_16_bits(data))
    except (struct.error, IndexError) as error:
        raise _cut_off(data) from error
    if values.shape[:2] != (header.height, header.width):
        raise corrupt(
            f"the header promises {header.width} × {header.height} pixels, the decoder finds"
            f" {values.shape[1]} × {values.shape[0]}"
        )
    return upright(values[..., :3] if colour and values.ndim == 3 else values, header.orientation)


def _webp_values(data: bytes, *, colour: bool) -> Values:
    webp.check_bitstream(data)
    values = _by_opencv(data, colour=colour)
    other = webp.with_another_end(data)
    if other is None:
        return values
    try:
        unread = np.array_equal(values, _by_opencv(other, colour=colour))
    except ImageError:
        return values
    if unread:
        raise corrupt("the WebP was cut off and filled up with zeros: its picture ends before its data does")
    return values


def _by_opencv(data: bytes, *, colour: bool) -> Values:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if colour else cv2.IMREAD_UNCHANGED
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise corrupt(f"the image cannot be decoded: {error.err}") from error
    if found is None:
        raise corrupt("the image's header is right but its pixels cannot be decoded")
    if found.dtype not in (np.uint8, np.uint16):
        raise unsupported(f"the image has {found.dtype} values, and whole ones from 0 on are read")
    if not colour and found.ndim == 3:
        found = found[..., [2, 1, 0, 3][: found.shape[2]]]
    return np.asarray(found, dtype=found.dtype.type, order="C")


def _as_rgb(pixels: npt.NDArray[np.uint8]) -> Image:
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return np.require(pixels, dtype=np.uint8, requirements=("C", "W"))


def _cut_off(data: bytes) -> ImageError:
    return corrupt(f"the image is cut off after {len(data)} bytes")
