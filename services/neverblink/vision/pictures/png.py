"""PNG: every chunk's checksum, then libpng by way of OpenCV."""

import struct
import zlib
from functools import partial

from neverblink.vision.pictures import by_opencv
from neverblink.vision.pictures.faults import ImageError, corrupt, unsupported
from neverblink.vision.pictures.orientation import exif_orientation
from neverblink.vision.pictures.stored import Stored, Values

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHUNKS = 100_000
"""At most; the largest picture that is taken has 24,000 of libpng's usual 8 kB."""


def opened(data: bytes) -> Stored:
    """Walk the chunks and check each one's CRC: what passes here is the file that was written.

    What follows the last chunk is not looked at. Raises ImageError, IndexError, struct.error.
    """
    view = memoryview(data)
    size: tuple[int, int] | None = None
    orientation = 1
    offset = len(SIGNATURE)
    for _ in range(_CHUNKS):
        (length,) = struct.unpack_from(">I", data, offset)
        kind = data[offset + 4 : offset + 8]
        (checksum,) = struct.unpack_from(">I", data, offset + 8 + length)
        if zlib.crc32(view[offset + 4 : offset + 8 + length]) != checksum:
            raise corrupt(f"the PNG's {kind!r} chunk does not match its checksum")
        if size is None:
            if kind != b"IHDR" or length != 13:
                raise corrupt("the PNG does not begin with its header")
            width, height = struct.unpack_from(">II", data, offset + 8)
            size = (width, height)
        if kind == b"acTL":
            raise unsupported("the PNG is animated: save the one picture that is meant as a file of its own")
        if kind == b"eXIf":
            orientation = exif_orientation(data[offset + 8 : offset + 8 + length])
        if kind == b"IEND":
            return Stored(*size, orientation, partial(_values, data))
        offset += 12 + length
    raise ImageError("image-too-large", f"the PNG has more than {_CHUNKS} chunks")


def has_16_bits(data: bytes) -> bool:
    """Say whether bytes are a PNG with 16 bits a value."""
    return data.startswith(SIGNATURE) and data[24:25] == b"\x10"


def _values(data: bytes, colour: bool) -> Values:
    # In colour OpenCV would cut 16 bits to eight.
    return by_opencv.decoded(data, colour and not has_16_bits(data))
