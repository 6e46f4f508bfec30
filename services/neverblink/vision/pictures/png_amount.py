"""How much a PNG's data unpack to: no more than its pixels take. libpng unpacks the rest too, and throws it away."""

import struct
import zlib
from collections.abc import Sequence

from neverblink.vision.pictures.faults import ImageError, corrupt

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Column, row, and steps across and down of the seven passes of an interlaced picture."""

_HARMLESS = 64 * 1024
"""Packed bytes that unpack to 67 MB at most, in an eighth of a second."""

_LOOK_EVERY = 64 * 1024
_LOOK = 256
_FEW_VALUES = 64
"""Different values in 256 bytes of packed data; there are 160 in what cannot be packed further, and few in a bomb."""

_STEP = 1 << 20


def check_amount(parts: Sequence[memoryview], header: bytes) -> None:
    """Refuse packed pixels (the IDAT chunks' bytes) that unpack to more than the 13-byte `header` has room for.

    To unpack everything twice would cost half of decoding: it is done where the packed data look as if they could be
    packed again, as those do that unpack to hundreds of times their size. Raises ImageError.
    """
    packed = sum(map(len, parts))
    if packed <= _HARMLESS:
        return
    room = _room(header)
    if packed > 2 * room + _HARMLESS:
        raise _too_much(room)
    if not any(_could_be_packed(part) for part in _looked_at(parts)):
        return
    unpacking = zlib.decompressobj()
    unpacked = 0
    try:
        for part in parts:
            left: bytes | memoryview = part
            while left and not unpacking.eof:
                unpacked += len(unpacking.decompress(left, _STEP))
                left = unpacking.unconsumed_tail
                if unpacked > room:
                    raise _too_much(room)
    except zlib.error as error:
        raise corrupt(f"the PNG's pixels are damaged: {error}") from error


def _room(header: bytes) -> int:
    """Return the bytes that the pixels take, a filter's byte for each row included."""
    width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    a_pixel = bits * _CHANNELS.get(colours, 4)
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * a_pixel + 7) // 8)
    return total


def _looked_at(parts: Sequence[memoryview]) -> list[memoryview]:
    """Return short pieces from all over the data."""
    found: list[memoryview] = []
    due = 0
    for part in parts:
        while due < len(part):
            found.append(part[due : due + _LOOK])
            due += _LOOK_EVERY
        due -= len(part)
    return found


def _could_be_packed(piece: memoryview) -> bool:
    return len(piece) == _LOOK and len(set(piece)) < _FEW_VALUES


def _too_much(room: int) -> ImageError:
    return ImageError("image-too-large", f"the PNG's data unpack to more than the {room} bytes that its pixels take")
