"""What a TIFF's directory says: one picture, its values' kind, and where its strips or tiles lie."""

import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neverblink.vision.pictures.faults import ImageError, corrupt, unsupported

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_INTEGERS = {1: "u1", 3: "u2", 4: "u4"}
_ENTRIES = 4096
_BLOCKS = 65536
"""Strips or tiles at most; one takes up to 30 µs."""
_MOST_SAMPLES = 4


class Tag(IntEnum):
    """The fields that are read."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS = 278
    STRIP_BYTES = 279
    PLANES = 284
    PREDICTOR = 317
    COLOURS = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SAMPLE_FORMAT = 339


class Compression(IntEnum):
    """The ways to compress strips that are read."""

    NONE = 1
    LZW = 5
    DEFLATE = 8
    OLD_DEFLATE = 32946
    PACKBITS = 32773


class Photometric(IntEnum):
    """What values mean."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3


_COMPRESSIONS = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34925: "LZMA"}
_COMPRESSIONS |= {50000: "Zstandard", 50001: "WebP", 34887: "LERC"}
_MEANINGS = {5: "inks (CMYK)", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 32803: "a colour filter's mosaic"}
_NUMBERS = {2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}


class Layout(NamedTuple):
    """One picture: blocks of `block` (height, width) pixels, row by row, one plane after another where `planar`.

    `order` is numpy's sign of the byte order; `colours` (3, 256) uint16 where values are of a palette.
    """

    width: int
    height: int
    bits: int
    samples: int
    planar: bool
    order: str
    compression: Compression
    photometric: Photometric
    predicted: bool
    orientation: int
    block: tuple[int, int]
    tiled: bool
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    colours: npt.NDArray[np.uint16] | None


class _Directory:
    """The entries of the first directory."""

    def __init__(self, data: bytes, order: str) -> None:
        self._data, self._order = data, order
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        if not 1 <= count <= _ENTRIES:
            raise corrupt(f"the TIFF's directory has {count} entries")
        entries = [struct.unpack_from(order + "HHI", data, start + 2 + 12 * number) for number in range(count)]
        self._places = {
            tag: (kind, length, start + 10 + 12 * number) for number, (tag, kind, length) in enumerate(entries)
        }
        (self.next,) = struct.unpack_from(order + "I", data, start + 2 + 12 * count)

    def all(self, tag: Tag) -> npt.NDArray[np.int64] | None:
        """Return a field's numbers, None where there is none. Raises ImageError."""
        if tag not in self._places:
            return None
        kind, count, place = self._places[tag]
        if kind not in _INTEGERS or count < 1:
            raise corrupt(f"the TIFF's field {tag.value} holds no whole numbers")
        if count * _SIZES[kind] > 4:
            (place,) = struct.unpack_from(self._order + "I", self._data, place)
        if place + count * _SIZES[kind] > len(self._data):
            raise corrupt(f"the TIFF is cut off after {len(self._data)} bytes: its field {tag.value} lies behind")
        return np.frombuffer(self._data, self._order + _INTEGERS[kind], count, place).astype(np.int64)

    def one(self, tag: Tag, default: int) -> int:
        """Return a field's one number."""
        found = self.all(tag)
        return default if found is None else int(found[0])


def is_tiff(data: bytes) -> bool:
    """Say whether bytes begin as a TIFF or a BigTIFF does."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_layout(data: bytes) -> Layout:
    """Read the directory, and check that every block lies within the file. Raises ImageError, struct.error."""
    order = "<" if data[:2] == b"II" else ">"
    if struct.unpack_from(order + "H", data, 2) != (42,):
        raise unsupported("the file is a BigTIFF, which is not read: save the picture as an ordinary TIFF or PNG")
    fields = _Directory(data, order)
    if fields.next:
        raise unsupported("the TIFF has several pages: save the one picture that is meant as a file of its own")
    width, height = fields.one(Tag.WIDTH, 0), fields.one(Tag.HEIGHT, 0)
    samples = fields.one(Tag.SAMPLES, 1)
    photometric = _photometric(fields, samples)
    bits = _bits(fields, samples, photometric)
    compression = _compression(fields)
    predictor = fields.one(Tag.PREDICTOR, 1)
    if predictor not in (1, 2) or (predictor == 2 and bits == 1):
        raise unsupported(f"the TIFF uses the predictor {predictor}, which is not read: save it uncompressed")
    orientation = fields.one(Tag.ORIENTATION, 1)
    tiled = fields.all(Tag.TILE_OFFSETS) is not None
    block = (
        (fields.one(Tag.TILE_HEIGHT, 0), fields.one(Tag.TILE_WIDTH, 0))
        if tiled
        else (min(fields.one(Tag.ROWS, height), height), width)
    )
    offsets = fields.all(Tag.TILE_OFFSETS if tiled else Tag.STRIP_OFFSETS)
    lengths = fields.all(Tag.TILE_BYTES if tiled else Tag.STRIP_BYTES)
    if offsets is None or lengths is None or len(offsets) != len(lengths):
        raise corrupt("the TIFF does not say where its pixels lie")
    return Layout(
        width,
        height,
        bits,
        samples,
        fields.one(Tag.PLANES, 1) == 2 and samples > 1,
        order,
        compression,
        photometric,
        predictor == 2 and compression not in (Compression.NONE, Compression.PACKBITS),
        orientation if 1 <= orientation <= 8 else 1,
        block,
        tiled,
        offsets,
        lengths,
        _colours(fields, photometric, bits),
    )


def check_blocks(data: bytes, layout: Layout) -> None:
    """Check that there are as many blocks as the size takes, and that each lies within the file. Raises ImageError."""
    down, across = layout.block
    if down < 1 or across < 1 or (layout.tiled and max(down, across) > 65536):
        raise corrupt(f"the TIFF's {'tiles' if layout.tiled else 'strips'} have {across} × {down} pixels")
    planes = layout.samples if layout.planar else 1
    wanted = -(-layout.height // down) * -(-layout.width // across) * planes
    if wanted > _BLOCKS:
        raise ImageError("image-too-large", f"the TIFF's pixels lie in {wanted} blocks, more than {_BLOCKS}")
    if len(layout.offsets) != wanted:
        raise corrupt(f"the TIFF has {len(layout.offsets)} blocks of pixels and its size takes {wanted}")
    if int((layout.offsets + layout.lengths).max()) > len(data):
        raise corrupt(f"the TIFF is cut off after {len(data)} bytes: pixels lie behind its end")
    if int(layout.lengths.sum()) > len(data) or int(layout.offsets.min()) < 8:
        raise corrupt("the TIFF's blocks of pixels lie over one another")


def _photometric(fields: _Directory, samples: int) -> Photometric:
    meaning = fields.one(Tag.PHOTOMETRIC, 1)
    if meaning not in list(Photometric):
        named = _MEANINGS.get(meaning, f"of the kind {meaning}")
        raise unsupported(f"the TIFF's values are {named}, which are not read: save it as grey or RGB")
    found = Photometric(meaning)
    least = 3 if found is Photometric.RGB else 1
    most = 1 if found is Photometric.PALETTE else _MOST_SAMPLES if found is Photometric.RGB else 2
    if not least <= samples <= most:
        raise unsupported(f"the TIFF has {samples} values a pixel, and {found.name.lower()} takes {least} to {most}")
    return found


def _bits(fields: _Directory, samples: int, photometric: Photometric) -> int:
    found = fields.all(Tag.BITS)
    bits = {1} if found is None else set(found.tolist())
    formats = fields.all(Tag.SAMPLE_FORMAT)
    kinds = {1} if formats is None else set(formats.tolist())
    if kinds != {1}:
        named = _NUMBERS.get(max(kinds), "unknown")
        raise unsupported(f"the TIFF has {named} values, and whole ones from 0 on are read: save it with 8 or 16 bits")
    allowed = {8} if photometric is Photometric.PALETTE else {1, 8, 16} if samples == 1 else {8, 16}
    if len(bits) != 1 or not bits <= allowed:
        listed = " and ".join(str(one) for one in sorted(bits))
        raise unsupported(f"the TIFF has {listed} bits a value, and 8 or 16 are read")
    return bits.pop()


def _compression(fields: _Directory) -> Compression:
    found = fields.one(Tag.COMPRESSION, 1)
    if found not in list(Compression) or fields.one(Tag.FILL_ORDER, 1) != 1:
        named = _COMPRESSIONS.get(found, f"the method {found}")
        raise unsupported(
            f"the TIFF is compressed by {named}, which is not read: save it uncompressed, with LZW or Deflate"
        )
    return Compression(found)


def _colours(fields: _Directory, photometric: Photometric, bits: int) -> npt.NDArray[np.uint16] | None:
    if photometric is not Photometric.PALETTE:
        return None
    found = fields.all(Tag.COLOURS)
    if found is None or len(found) != 3 << bits:
        raise corrupt("the TIFF's palette does not have a colour for every value")
    return found.reshape(3, -1).astype(np.uint16)
