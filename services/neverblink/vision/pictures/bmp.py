"""BMP: it has no checksum, so its lengths are all that can be checked; OpenCV decodes it."""

import struct

from neverblink.vision.pictures.faults import corrupt, unsupported
from neverblink.vision.pictures.stored import Header

SIGNATURE = b"BM"

_PLAIN, _RUNS_OF_8, _RUNS_OF_4, _BITFIELDS = range(4)
_PADDING = 4
"""Some writers add two bytes to the length of the pixels, to end the file on a multiple of four."""


def read_header(data: bytes, max_pixels: int) -> Header:
    """Return the size, and check that all rows are there. Raises ImageError, IndexError, struct.error."""
    (start,) = struct.unpack_from("<I", data, 10)
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
        if start + rows > len(data):
            raise corrupt(f"the BMP is cut off after {len(data)} bytes of {start + rows}")
    return Header(width, height)
