"""What a JPEG's markers say: its frame, whether every scan is there, and what it would cost to decode."""

import re
import struct
from collections.abc import Mapping
from typing import NamedTuple

from neverblink.vision.pictures.faults import ImageError, corrupt, unsupported
from neverblink.vision.pictures.orientation import exif_orientation

_SCANS = 100
"""At most; libjpeg writes ten, and the finest useful progression some twenty."""

_SCANNED_PIXELS = 1_600_000_000
"""Pixels times scans: a scan of a progressive 16-megapixel picture takes ten milliseconds, so this takes a second."""

_SEGMENTS = 4096
"""Between two scans at most; ICC profiles and EXIF of the largest pictures take some 300."""

_COEFFICIENTS = 64
_UNSEEN = -1

# Start-of-frame markers of JPEG: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_LOSSLESS = frozenset({0xC3, 0xCB})
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_TABLES, _SOI, _EOI, _SOS, _EXIF = 0xC4, 0xD8, 0xD9, 0xDA, 0xE1
_AC = 0x10

_FILL = re.compile(rb"\xff+")
# Within a scan, FF 00 is the value FF and FF D0 to FF D7 restart the entropy decoder.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


class Component(NamedTuple):
    """A colour channel and how often it is sampled."""

    id: int
    across: int
    down: int


class Frame(NamedTuple):
    """A JPEG's frame header, and what stands before its data: EXIF's orientation, and which symbol a code of zeros
    alone is in each of the Huffman tables for AC coefficients.
    """

    marker: int
    bits: int
    width: int
    height: int
    components: tuple[Component, ...]
    orientation: int
    zeros: Mapping[int, int]

    @property
    def progressive(self) -> bool:
        """Say whether several scans refine one another."""
        return self.marker in _PROGRESSIVE

    @property
    def layout(self) -> str:
        """Return the sampling factors of its components, as `2x2, 1x1, 1x1`."""
        return ", ".join(f"{one.across}x{one.down}" for one in self.components)


def read_frame(data: bytes) -> tuple[Frame, int]:
    """Return the frame header, and where the first scan's header begins, 0 where there is no scan.

    Raises ImageError, IndexError, struct.error.
    """
    frame: Frame | None = None
    orientation = 1
    zeros: dict[int, int] = {}
    offset = 2
    for _ in range(_SEGMENTS):
        marker, offset = _marker(data, offset)
        if marker in (_SOS, _EOI):
            if frame is None:
                raise corrupt("the JPEG has no frame header before its data")
            return frame._replace(orientation=orientation, zeros=zeros), offset if marker == _SOS else 0
        if marker in _STANDALONE:
            continue
        if marker == _SOI:
            raise corrupt("a second JPEG begins within the first one's headers")
        (length,) = struct.unpack_from(">H", data, offset)
        if length < 2:
            raise corrupt(f"the JPEG's segment at byte {offset} says that it has {length} bytes")
        if marker in _FRAMES:
            if frame is not None:
                raise corrupt("the JPEG has two frame headers")
            frame = _frame(data, marker, offset, length)
        elif marker == _EXIF and data[offset + 2 : offset + 8] == b"Exif\0\0":
            orientation = exif_orientation(data[offset + 8 : offset + length])
        elif marker == _TABLES:
            zeros |= _symbols_of_zeros(data, offset + 2, offset + length)
        offset += length
    raise ImageError("image-too-large", f"the JPEG has more than {_SEGMENTS} segments before its data")


def check_scans(data: bytes, frame: Frame, offset: int) -> None:
    """Check that the scans from `offset` on hold every coefficient of every component, once, and end.

    libjpeg takes a progressive picture of which only the first scans are there, and does whatever many scans ask.
    One scan with all components of a sequential picture is left to the decoder, which knows when it is cut.
    Raises ImageError, IndexError, struct.error.
    """
    if not offset:
        raise corrupt("the JPEG ends before its data")
    if not frame.progressive and data[offset + 2] == len(frame.components):
        return
    progress = {one.id: [_UNSEEN] * _COEFFICIENTS for one in frame.components}
    pixels = frame.width * frame.height
    marker = _SOS
    scans = segments = 0
    while marker != _EOI:
        if marker == _SOS:
            scans += 1
            segments = 0
            if scans > _SCANS or scans * pixels > _SCANNED_PIXELS:
                raise ImageError(
                    "image-too-large",
                    f"the JPEG has more than {scans - 1} scans over {frame.width} × {frame.height} pixels: save it"
                    " again with an ordinary program",
                )
            _note_scan(data, frame, offset, progress)
            found = _NEXT_MARKER.search(data, offset + struct.unpack_from(">H", data, offset)[0])
            if found is None:
                raise corrupt(f"the JPEG is cut off after {len(data)} bytes: no end marker")
            marker, offset = _marker(data, found.start())
            continue
        if marker in _FRAMES or marker == _SOI:
            raise corrupt("a second JPEG begins before the first one ends")
        segments += 1
        if segments > _SEGMENTS:
            raise ImageError("image-too-large", f"the JPEG has more than {_SEGMENTS} segments between two scans")
        if marker not in _STANDALONE:
            offset += max(2, struct.unpack_from(">H", data, offset)[0])
        marker, offset = _marker(data, offset)
    missing = sum(one != [0] * _COEFFICIENTS for one in progress.values())
    if missing:
        raise corrupt(
            f"the JPEG ends after {scans} scans, and {missing} of its {len(progress)} components are incomplete"
        )


def _marker(data: bytes, offset: int) -> tuple[int, int]:
    """Return the marker at `offset` and where what follows it begins."""
    fill = _FILL.match(data, offset)
    if fill is None:
        if offset >= len(data):
            raise corrupt(f"the JPEG is cut off after {len(data)} bytes")
        raise corrupt(f"the JPEG has no marker at byte {offset}")
    return data[fill.end()], fill.end() + 1


def _frame(data: bytes, marker: int, offset: int, length: int) -> Frame:
    if marker in _HIERARCHICAL:
        raise unsupported("the JPEG is a hierarchical one, which is not read: save it as an ordinary JPEG or PNG")
    bits, height, width, count = struct.unpack_from(">BHHB", data, offset + 2)
    if length != 8 + 3 * count or not 1 <= count <= 4:
        raise corrupt(f"the JPEG's frame header of {length} bytes names {count} components")
    components = tuple(
        Component(ident, sampling >> 4, sampling & 15)
        for ident, sampling, _table in struct.iter_unpack("BBB", data[offset + 8 : offset + length])
    )
    if len({one.id for one in components}) != count:
        raise corrupt("the JPEG's frame header names a component twice")
    if bits != 8:
        raise unsupported(
            f"the JPEG has {bits} bits a value, and only those with 8 are read: save it as a 16-bit PNG or TIFF and"
            " state its depth"
        )
    return Frame(marker, bits, width, height, components, 1, {})


def _symbols_of_zeros(data: bytes, offset: int, end: int) -> dict[int, int]:
    """Return the first symbol of each AC table of a segment, by the table's number: the one whose code is zeros."""
    found = {}
    while offset + 17 <= end:
        symbols = sum(data[offset + 1 : offset + 17])
        if data[offset] & _AC and symbols:
            found[data[offset] & 15] = data[offset + 17]
        offset += 17 + symbols
    return found


def _note_scan(data: bytes, frame: Frame, offset: int, progress: dict[int, list[int]]) -> None:
    """Add what a scan brings; refuse one that repeats another or comes before what it refines."""
    length, count = struct.unpack_from(">HB", data, offset)
    if length != 6 + 2 * count:
        raise corrupt(f"a scan header of the JPEG has {length} bytes for {count} components")
    idents = [data[offset + 3 + 2 * number] for number in range(count)]
    first, last, accuracy = struct.unpack_from(">BBB", data, offset + 3 + 2 * count)
    before, after = accuracy >> 4, accuracy & 15
    if any(ident not in progress for ident in idents) or not idents:
        raise corrupt("a scan of the JPEG is of a component that its frame header does not name")
    if frame.marker in _LOSSLESS or not frame.progressive:
        first, last, before, after = 0, _COEFFICIENTS - 1, 0, 0
    elif not first <= last < _COEFFICIENTS or (first == 0 and last > 0) or (first > 0 and count > 1):
        raise corrupt(f"a scan of the JPEG is of the coefficients {first} to {last} of {count} components")
    expected = _UNSEEN if before == 0 else before
    for ident in idents:
        own = progress[ident]
        if first > 0 and own[0] == _UNSEEN:
            raise corrupt("the scans of the JPEG are out of order")
        if own[first : last + 1] != [expected] * (last + 1 - first) or (before and after != before - 1):
            raise corrupt("a scan of the JPEG repeats another, or refines one that is missing")
        own[first : last + 1] = [after] * (last + 1 - first)
