"""BMP: it has no checksum, so its lengths are all that can be checked; OpenCV decodes it."""

import struct
from functools import partial

from neverblink.vision.pictures import by_opencv
from neverblink.vision.pictures.faults import corrupt, unsupported
from neverblink.vision.pictures.stored import Stored

SIGNATURE = b"BM"

_PLAIN, _RUNS_OF_8, _RUNS_OF_4, _BITFIELDS = range(4)
_PADDING = 4
"""Some writers add two bytes to the length of the pixels, to end the file on a multiple of four."""

_WITH_PROFILE = 124
"""Length of the header that may name a colour profile behind the pixels."""

_HEADER_START = 30
"""Bytes up to the pixels' depth: the same in each picture of one camera, and in no row of pixels."""


def opened(data: bytes, max_pixels: int) -> Stored:
    """Read the size, and check that all rows are there. Raises ImageError, IndexError, struct.error."""
    file_length, start = struct.unpack_from("<I4xI", data, 2)
    length, width, height = struct.unpack_from("<Iii", data, 14)
    planes, bits, compression, stated = struct.unpack_from("<HHII", data, 26)
    if length < 40 or width < 1 or planes != 1:
        raise corrupt(f"the BMP's header says {width} × {height} pixels, {planes} planes, {length} bytes")
    height = abs(height)
    if compression not in (_PLAIN, _BITFIELDS):
        named = "with run lengths" if compression in (_RUNS_OF_8, _RUNS_OF_4) else f"of the kind {compression}"
        raise unsupported(f"the BMP is compressed {named}, which is not read: save it uncompressed, or as PNG")
    rows = ((width * bits + 31) // 32) * 4 * height
    if width * height <= max_pixels:
        if start < 14 + length:
            raise corrupt(f"the BMP's pixels begin at byte {start}, within its header")
        if stated and not rows <= stated < rows + _PADDING:
            raise corrupt(f"the BMP's header says {stated} bytes of pixels, and {width} × {height} take {rows}")
        end = start + rows
        if end > len(data):
            raise corrupt(f"the BMP is cut off after {len(data)} bytes of {end}")
        if file_length and not end <= file_length < _end_of_profile(data, length, end) + _PADDING:
            raise corrupt(f"the BMP's header says {file_length} bytes, and {width} × {height} pixels end after {end}")
        # Only a file that goes on can be a cut one with a whole one behind it.
        if len(data) > end + _PADDING and data.find(data[:_HEADER_START], _HEADER_START, end) >= 0:
            raise corrupt("the BMP is cut off, and the next one begins within its pixels")
    return Stored(width, height, 1, partial(by_opencv.decoded, data))


def _end_of_profile(data: bytes, length: int, end: int) -> int:
    """Return where the colour profile behind the pixels ends, `end` where there is none."""
    if length < _WITH_PROFILE:
        return end
    start, size = struct.unpack_from("<II", data, 14 + 112)
    return max(end, 14 + start + size) if size else end
