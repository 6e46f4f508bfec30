"""PNG: every chunk's checksum, then libpng by way of OpenCV."""

import struct
import zlib
from functools import partial
from typing import NamedTuple

from neverblink.vision.pictures import by_opencv
from neverblink.vision.pictures.faults import ImageError, check_size, corrupt, unsupported
from neverblink.vision.pictures.orientation import exif_orientation
from neverblink.vision.pictures.png_amount import check_amount
from neverblink.vision.pictures.stored import Stored, Values

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHUNKS = 100_000
"""At most; the largest picture that is taken has 24,000 of libpng's usual 8 kB."""

_PACKED_NOTES = frozenset({b"zTXt", b"iTXt", b"iCCP"})
"""libpng unpacks these, each up to 8 MB: 20,000 of them in 60 MB took 15 s. No pixel depends on them."""


class _Chunk(NamedTuple):
    """Its first byte is at `start`, its length before that; `stop` is behind its checksum."""

    kind: bytes
    start: int
    stop: int


def opened(data: bytes, max_pixels: int) -> Stored:
    """Walk the chunks and check each one's CRC: what passes here is the file that was written.

    What follows the last chunk is not looked at. Raises ImageError, IndexError, struct.error.
    """
    chunks = _chunks(data)
    first = chunks[0]
    if first.kind != b"IHDR" or first.stop - first.start != 25:
        raise corrupt("the PNG does not begin with its header")
    kinds = {chunk.kind for chunk in chunks}
    if b"acTL" in kinds:
        raise unsupported("the PNG is animated: save the one picture that is meant as a file of its own")
    width, height = struct.unpack_from(">II", data, first.start + 8)
    check_size(width, height, max_pixels)
    view = memoryview(data)
    pixels = [view[chunk.start + 8 : chunk.stop - 4] for chunk in chunks if chunk.kind == b"IDAT"]
    check_amount(pixels, data[first.start + 8 : first.stop - 4])
    orientation = 1
    if b"eXIf" in kinds:
        exif = next(chunk for chunk in chunks if chunk.kind == b"eXIf")
        orientation = exif_orientation(data[exif.start + 8 : exif.stop - 4])
    if kinds & _PACKED_NOTES:
        kept = (data[chunk.start : chunk.stop] for chunk in chunks if chunk.kind not in _PACKED_NOTES)
        data = SIGNATURE + b"".join(kept)
    return Stored(width, height, orientation, partial(_values, data))


def has_16_bits(data: bytes) -> bool:
    """Say whether bytes are a PNG with 16 bits a value."""
    return data.startswith(SIGNATURE) and data[24:25] == b"\x10"


def _chunks(data: bytes) -> list[_Chunk]:
    view = memoryview(data)
    found: list[_Chunk] = []
    offset = len(SIGNATURE)
    while len(found) < _CHUNKS:
        (length,) = struct.unpack_from(">I", data, offset)
        stop = offset + 12 + length
        (checksum,) = struct.unpack_from(">I", data, stop - 4)
        kind = data[offset + 4 : offset + 8]
        if zlib.crc32(view[offset + 4 : stop - 4]) != checksum:
            raise corrupt(f"the PNG's {kind!r} chunk does not match its checksum")
        found.append(_Chunk(kind, offset, stop))
        if kind == b"IEND":
            return found
        offset = stop
    raise ImageError("image-too-large", f"the PNG has more than {_CHUNKS} chunks")


def _values(data: bytes, colour: bool) -> Values:
    # In colour OpenCV would cut 16 bits to eight.
    return by_opencv.decoded(data, colour and not has_16_bits(data))
