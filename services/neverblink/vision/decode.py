"""Image bytes to pixels, with limits that hold before anything is allocated."""

import re
import struct
import zlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.errors import VisionError

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

ImageFault = Literal["no-image", "wrong-type", "corrupt-image", "image-too-large"]

MAX_PIXELS = 64_000_000
"""An 8000 × 8000 line-scan image; decoded it takes 192 MB."""

MAX_BYTES = 256 * 1024 * 1024
"""No camera image is larger on disk; a larger file is not read."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})

RAW_TYPE = "image/x-raw"
"""Content type of uncompressed rows, with `format` (`rgb8` or `grey8`), `width` and `height` as parameters."""

_RAW_CHANNELS = {"rgb8": 3, "grey8": 1}
_RAW_PARAMETER = re.compile(r"\s*([a-z]+)\s*=\s*\"?([a-z0-9]+)\"?\s*")

_PNG = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers of JPEG: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_EOI_SEARCH = 64 * 1024


class ImageError(VisionError):
    """Bytes that are no usable image; `reason` is the word a verdict carries."""

    def __init__(self, reason: ImageFault, message: str) -> None:
        super().__init__(message)
        self.reason: ImageFault = reason


def decode(
    data: bytes | bytearray | memoryview, *, content_type: str | None = None, max_pixels: int = MAX_PIXELS
) -> Image:
    """Decode a PNG, JPEG or BMP into (H, W, 3) uint8 RGB; grey becomes three equal channels.

    A `content_type` of `RAW_TYPE` says that the bytes are rows of pixels; no other one is believed, the bytes say it.
    The size is read from the header first, so an image above `max_pixels` is refused without allocating it.
    Truncated files are refused, not half decoded. Orientation tags are ignored: the sensor's rows stay rows.
    Raises ImageError.
    """
    data = bytes(data)
    if content_type is not None and content_type.partition(";")[0].strip() == RAW_TYPE:
        return _raw_pixels(data, content_type, max_pixels)
    width, height = image_size(data)
    if width * height > max_pixels:
        raise ImageError(
            "image-too-large",
            f"the image has {width} × {height} pixels, more than the {max_pixels} that are allowed",
        )
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError("corrupt-image", f"the image cannot be decoded: {error.err}") from error
    if pixels is None:
        raise ImageError("corrupt-image", "the image's header is right but its pixels cannot be decoded")
    if pixels.shape[:2] != (height, width):
        raise ImageError(
            "corrupt-image",
            f"the header promises {width} × {height} pixels, the decoder finds {pixels.shape[1]} × {pixels.shape[0]}",
        )
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def raw_content_type(image: npt.NDArray[np.uint8]) -> str:
    """Return the content type of an (H, W, 3) RGB or (H, W) grey uint8 image that travels as its bare rows."""
    height, width = image.shape[:2]
    return f"{RAW_TYPE}; format={'grey8' if image.ndim == 2 else 'rgb8'}; width={width}; height={height}"


def _raw_pixels(data: bytes, content_type: str, max_pixels: int) -> Image:
    stated = dict(_RAW_PARAMETER.findall(content_type))
    channels = _RAW_CHANNELS.get(stated.get("format", ""))
    size = [int(stated.get(name, "")) if stated.get(name, "").isdecimal() else 0 for name in ("width", "height")]
    width, height = size
    if channels is None or not 0 < width <= max_pixels or not 0 < height <= max_pixels:
        raise ImageError("corrupt-image", f"the content type {content_type!r} says no size and format of raw pixels")
    if width * height > max_pixels:
        raise ImageError(
            "image-too-large",
            f"the image has {width} × {height} pixels, more than the {max_pixels} that are allowed",
        )
    if len(data) != width * height * channels:
        raise ImageError(
            "corrupt-image",
            f"{width} × {height} raw pixels take {width * height * channels} bytes, and there are {len(data)}",
        )
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    return pixels.copy() if channels == 3 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image file as `decode` does; the message of an ImageError begins with the path."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError("image-too-large", f"the file has {size} bytes, more than {MAX_BYTES}")
        return decode(path.read_bytes(), max_pixels=max_pixels)
    except OSError as error:
        raise ImageError("no-image", f"{path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(error.reason, f"{path}: {error}") from error


def image_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from the header of a PNG, JPEG or BMP, without decoding.

    Also checks that the file is whole: PNG by its checksums, JPEG by its end marker, BMP by its length.
    Raises ImageError.
    """
    if not data:
        raise ImageError("no-image", "the image is empty: zero bytes")
    try:
        if data.startswith(_PNG):
            width, height = _png_size(data)
        elif data.startswith(b"\xff\xd8\xff"):
            width, height = _jpeg_size(data)
        elif data.startswith(b"BM"):
            width, height = _bmp_size(data)
        else:
            raise ImageError("wrong-type", f"not a PNG, JPEG or BMP image: it begins with the bytes {data[:8]!r}")
    except (struct.error, IndexError) as error:
        raise ImageError("corrupt-image", f"the image is cut off after {len(data)} bytes") from error
    if width < 1 or height < 1:
        raise ImageError("corrupt-image", f"the image's header says {width} × {height} pixels")
    return width, height


def _png_size(data: bytes) -> tuple[int, int]:
    """Walk the chunks and check each one's CRC: what passes here is the file that was written."""
    view = memoryview(data)
    size: tuple[int, int] | None = None
    offset = len(_PNG)
    while True:
        (length,) = struct.unpack_from(">I", data, offset)
        kind = data[offset + 4 : offset + 8]
        (checksum,) = struct.unpack_from(">I", data, offset + 8 + length)
        if zlib.crc32(view[offset + 4 : offset + 8 + length]) != checksum:
            raise ImageError("corrupt-image", f"the PNG's {kind!r} chunk does not match its checksum")
        if size is None:
            if kind != b"IHDR" or length != 13:
                raise ImageError("corrupt-image", "the PNG does not begin with its header")
            width, height = struct.unpack_from(">II", data, offset + 8)
            size = (width, height)
        if kind == b"IEND":
            return size
        offset += 12 + length


def _jpeg_size(data: bytes) -> tuple[int, int]:
    offset = 2
    while True:
        if data[offset] != 0xFF:
            raise ImageError("corrupt-image", f"the JPEG has no marker at byte {offset}")
        marker = data[offset + 1]
        if marker == 0xFF:  # fill byte
            offset += 1
        elif marker in _JPEG_STANDALONE:
            offset += 2
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, offset + 5)
            break
        elif marker in (0xD9, 0xDA):
            raise ImageError("corrupt-image", "the JPEG has no frame header before its data")
        else:
            (length,) = struct.unpack_from(">H", data, offset + 2)
            offset += 2 + max(length, 2)
    # A JPEG carries no checksum and libjpeg fills what is missing with grey: the end marker is the evidence.
    if data.rfind(b"\xff\xd9", max(offset, len(data) - _EOI_SEARCH)) < 0:
        raise ImageError("corrupt-image", f"the JPEG is cut off after {len(data)} bytes: no end marker")
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    (start,) = struct.unpack_from("<I", data, 10)
    header, width, height = struct.unpack_from("<Iii", data, 14)
    _planes, bits, compression = struct.unpack_from("<HHI", data, 26)
    if header < 40 or width < 1:
        raise ImageError("corrupt-image", f"the BMP's header says {width} × {height} pixels, {header} bytes")
    height = abs(height)
    rows = ((width * bits + 31) // 32) * 4 * height
    if compression in (0, 3) and start + rows > len(data) and width * height <= MAX_PIXELS:
        raise ImageError("corrupt-image", f"the BMP is cut off after {len(data)} bytes of {start + rows}")
    return width, height
