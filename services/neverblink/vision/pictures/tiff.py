"""TIFF: each strip or tile must give the bytes that its rows take; libtiff fills what is missing with zeros.

Own code for what cameras and tools write: 8 and 16 bits, grey, palette and RGB with or without alpha, uncompressed,
Deflate, LZW, PackBits. Deflate's checksum finds flipped bits; the others know lengths only.
"""

import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np

from neverblink.vision.pictures.faults import corrupt
from neverblink.vision.pictures.stored import Stored, Values
from neverblink.vision.pictures.tiff_layout import Compression, Layout, Photometric, check_blocks, read_layout


def opened(data: bytes) -> Stored:
    """Read the directory. Raises ImageError, struct.error."""
    layout = read_layout(data)
    return Stored(layout.width, layout.height, layout.orientation, partial(_picture, data, layout))


def _picture(data: bytes, layout: Layout, colour: bool) -> Values:
    """Return (H, W), (H, W, 3) or, where it need not be in `colour`, (H, W, 4) values."""
    check_blocks(data, layout)
    if layout.planar:
        count = len(layout.offsets) // layout.samples
        planes = [_plane(data, layout, range(start * count, (start + 1) * count), 1) for start in range(layout.samples)]
        values = np.concatenate(planes, axis=2)
    else:
        values = _plane(data, layout, range(len(layout.offsets)), layout.samples)
    if layout.photometric is Photometric.WHITE_IS_ZERO:
        values[..., 0] = ~values[..., 0]
    if layout.colours is not None:
        return np.asarray((layout.colours >> 8).astype(np.uint8).T[values[..., 0]])
    if layout.samples == 1:
        return values[..., 0]
    if layout.samples == 2:  # grey and alpha
        return values[..., 0] if colour else values[..., [0, 0, 0, 1]]
    return values[..., :3] if colour else values


def _plane(data: bytes, layout: Layout, blocks: range, samples: int) -> Values:
    """Return (H, W, samples) values of the picture or of one of its planes."""
    down, across = layout.block
    if not layout.tiled:
        rows = [min(down, layout.height - start) for start in range(0, layout.height, down)]
        parts = (_block(data, layout, block, (high, across), samples) for block, high in zip(blocks, rows, strict=True))
        return _values(b"".join(parts), layout, (layout.height, across), samples)
    whole = np.empty((layout.height, layout.width, samples), np.uint16 if layout.bits == 16 else np.uint8)
    for block, (top, left) in zip(blocks, _corners(layout), strict=True):
        tile = _values(_block(data, layout, block, layout.block, samples), layout, layout.block, samples)
        part = whole[top : top + down, left : left + across]
        part[...] = tile[: part.shape[0], : part.shape[1]]
    return whole


def _corners(layout: Layout) -> Iterator[tuple[int, int]]:
    down, across = layout.block
    return ((top, left) for top in range(0, layout.height, down) for left in range(0, layout.width, across))


def _block(data: bytes, layout: Layout, number: int, size: tuple[int, int], samples: int) -> bytes:
    """Return the bytes of a strip or tile of `size` (height, width), uncompressed: exactly as many as it takes."""
    start, length = int(layout.offsets[number]), int(layout.lengths[number])
    wanted = size[0] * ((size[1] * samples * layout.bits + 7) // 8)
    packed = data[start : start + length]
    if layout.compression is Compression.NONE:
        found = packed[:wanted]
    elif layout.compression in (Compression.DEFLATE, Compression.OLD_DEFLATE):
        found = _inflated(packed, wanted, number)
    else:
        found = _unpacked(packed, wanted, layout.compression, number)
    if len(found) != wanted:
        raise corrupt(f"the TIFF's block {number} gives {len(found)} bytes of pixels, and its rows take {wanted}")
    return found


def _inflated(packed: bytes, wanted: int, number: int) -> bytes:
    inflating = zlib.decompressobj()
    try:
        # One byte more than wanted: a block that goes on is as wrong as one that is short.
        found = inflating.decompress(packed, wanted + 1)
        if len(found) == wanted and not inflating.eof:
            found += inflating.decompress(inflating.unconsumed_tail, 1)  # the checksum may be all that is left
    except zlib.error as error:
        raise corrupt(f"the TIFF's block {number} is damaged: {error}") from error
    if not inflating.eof:
        raise corrupt(f"the TIFF's block {number} is cut off, or longer than its {wanted} bytes of pixels")
    return found


def _unpacked(packed: bytes, wanted: int, compression: Compression, number: int) -> bytes:
    # 0.1 s and 4 MB for a compression that few pictures have.
    import imagecodecs

    unpack = imagecodecs.lzw_decode if compression is Compression.LZW else imagecodecs.packbits_decode
    try:
        return bytes(unpack(packed, out=wanted + 1))
    except (RuntimeError, ValueError) as error:
        raise corrupt(f"the TIFF's block {number} is damaged: {error}") from error


def _values(raw: bytes, layout: Layout, size: tuple[int, int], samples: int) -> Values:
    height, width = size
    if layout.bits == 1:
        bits = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(height, -1), axis=1)[:, :width]
        return (bits * np.uint8(255))[..., None]
    if layout.bits == 8:
        values: Values = np.frombuffer(raw, np.uint8).reshape(height, width, samples)
    else:
        values = np.frombuffer(raw, layout.order + "u2").reshape(height, width, samples).astype(np.uint16)
    return _summed(values) if layout.predicted else values.copy()


def _summed(differences: Values) -> Values:
    """Undo the predictor: a value is stored as its difference to the one on its left, and sums wrap as they did."""
    import imagecodecs  # np.add.accumulate takes three times as long

    return np.asarray(imagecodecs.delta_decode(differences, axis=1, out=np.empty_like(differences)))
