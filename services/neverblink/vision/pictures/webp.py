"""WebP: its chunks and their lengths, one picture, then libwebp by way of OpenCV.

It has no checksum, and libwebp reads on in zeros as in data: a file that was cut and filled up is told by them.
"""

import re
import struct
from functools import partial
from typing import NamedTuple

import numpy as np

from neverblink.vision.pictures import by_opencv
from neverblink.vision.pictures.faults import ImageError, corrupt, unsupported
from neverblink.vision.pictures.orientation import exif_orientation
from neverblink.vision.pictures.stored import Stored, Values

_CHUNKS = 1000
_LOSSY, _LOSSLESS, _EXTENDED = b"VP8 ", b"VP8L", b"VP8X"
_ANIMATED = 0x02
_KEY_FRAME = b"\x9d\x01\x2a"

_RUN = 32
"""Zeros in a row. In lossless data of libwebp 10 are the most that were seen."""

_MACROBLOCKS_A_ZERO = 32
"""In lossy data a zero stands for macroblocks that are like their neighbours: for 80 in an all but black picture of
47,000, where the run has 583 zeros, and for no fewer than 37 elsewhere."""

_TAIL = 16
_ZEROS = re.compile(rb"\0{%d,}" % _RUN)
_START = b"WEBPVP8"


class _Bitstream(NamedTuple):
    kind: bytes
    start: int
    stop: int
    width: int
    height: int


def is_webp(data: bytes) -> bool:
    """Say whether bytes begin as a WebP does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def opened(data: bytes) -> Stored:
    """Walk the chunks, and return the one picture. Raises ImageError, IndexError, struct.error."""
    stream, orientation = _walk(data)
    return Stored(stream.width, stream.height, orientation, partial(_values, data, stream))


def _values(data: bytes, stream: _Bitstream, colour: bool) -> Values:
    _check_bitstream(data, stream)
    values = by_opencv.decoded(data, colour)
    other = _with_another_end(data, stream)
    if other is None:
        return values
    try:
        unread = np.array_equal(values, by_opencv.decoded(other, colour))
    except ImageError:
        return values
    if unread:
        raise corrupt("the WebP was cut off and filled up with zeros: its picture ends before its data does")
    return values


def _check_bitstream(data: bytes, stream: _Bitstream) -> None:
    """Refuse a picture whose data hold more zeros in a row than a picture of its size can, or another picture's start.

    Raises ImageError.
    """
    # Only a file that goes on can be a cut one with a whole one behind it.
    if len(data) > stream.stop + 1 and data.find(_START, stream.start, stream.stop) >= 0:
        raise corrupt("the WebP is cut off, and the next one begins within its data")
    first = data.find(bytes(_RUN), stream.start, stream.stop)
    if first < 0:
        return
    blocks = ((stream.width + 15) // 16) * ((stream.height + 15) // 16)
    most = _RUN + (blocks // _MACROBLOCKS_A_ZERO if stream.kind == _LOSSY else 0)
    for run in _ZEROS.finditer(data, first, stream.stop):
        if run.end() - run.start() > most:
            raise corrupt(f"the WebP has a hole: {run.end() - run.start()} zeros from byte {run.start()} on")


def _with_another_end(data: bytes, stream: _Bitstream) -> bytes | None:
    """Return a WebP whose data end in zeros with other bytes in their place, None where they do not.

    Where both decode to the same pixels, the picture's data end before its file does.
    """
    body = data[stream.start : stream.stop]
    zeros = len(body) - len(body.rstrip(b"\0"))
    if zeros < _TAIL:
        return None
    return data[: stream.stop - zeros // 2] + b"\xff" * (zeros // 2) + data[stream.stop :]


def _walk(data: bytes) -> tuple[_Bitstream, int]:
    """Return the one picture's data and EXIF's orientation."""
    (size,) = struct.unpack_from("<I", data, 4)
    end = 8 + size
    if end > len(data):
        raise corrupt(f"the WebP is cut off after {len(data)} bytes of {end}")
    canvas: tuple[int, int] | None = None
    stream: _Bitstream | None = None
    orientation = 1
    offset = 12
    for _ in range(_CHUNKS):
        if offset >= end:
            break
        kind = data[offset : offset + 4]
        (length,) = struct.unpack_from("<I", data, offset + 4)
        start = offset + 8
        if start + length > end:
            raise corrupt(f"the WebP's {kind!r} chunk is cut off")
        if kind == _EXTENDED:
            if data[start] & _ANIMATED:
                raise unsupported("the WebP is animated: save the one picture that is meant as a file of its own")
            canvas = _uint24(data, start + 4) + 1, _uint24(data, start + 7) + 1
        elif kind in (_LOSSY, _LOSSLESS):
            if stream is not None:
                raise corrupt("the WebP has two pictures")
            width, height = _lossy_size(data, start, length) if kind == _LOSSY else _lossless_size(data, start)
            stream = _Bitstream(kind, start, start + length, width, height)
        elif kind == b"EXIF":
            orientation = exif_orientation(data[start : start + length].removeprefix(b"Exif\0\0"))
        offset = start + length + length % 2
    else:
        raise ImageError("image-too-large", f"the WebP has more than {_CHUNKS} chunks")
    if stream is None:
        raise corrupt("the WebP has no picture")
    if canvas is not None and canvas != (stream.width, stream.height):
        raise corrupt(
            f"the WebP's header says {canvas[0]} × {canvas[1]} pixels, its picture {stream.width} × {stream.height}"
        )
    return stream, orientation


def _lossy_size(data: bytes, start: int, length: int) -> tuple[int, int]:
    tag = _uint24(data, start)
    if tag & 1 or data[start + 3 : start + 6] != _KEY_FRAME or 10 + (tag >> 5) > length:
        raise corrupt("the WebP's picture does not begin as one")
    width, height = struct.unpack_from("<HH", data, start + 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(data: bytes, start: int) -> tuple[int, int]:
    mark, bits = struct.unpack_from("<BI", data, start)
    if mark != 0x2F or bits >> 29:
        raise corrupt("the WebP's picture does not begin as one")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _uint24(data: bytes, offset: int) -> int:
    return data[offset] | data[offset + 1] << 8 | data[offset + 2] << 16
