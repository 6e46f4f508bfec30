"""TIFF files in every layout that is read, and in some that are not."""

import struct
import zlib

import numpy as np


def tiff(
    values: np.ndarray,
    *,
    order: str = "<",
    compression: int = 1,
    photometric: int | None = None,
    tile: int | None = None,
    planar: bool = False,
    rows: int = 7,
    extra: dict[int, tuple[int, list[int]]] | None = None,
) -> bytes:
    """Write a TIFF of (H, W) or (H, W, S) uint8 or uint16 values, its directory behind the pixels."""
    shaped = values[..., None] if values.ndim == 2 else values
    height, width, samples = shaped.shape
    planes = [shaped[..., [one]] for one in range(samples)] if planar else [shaped]
    blocks = []
    for plane in planes:
        if tile is None:
            parts = [plane[top : top + rows] for top in range(0, height, rows)]
        else:
            padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
            parts = [
                padded[top : top + tile, left : left + tile]
                for top in range(0, height, tile)
                for left in range(0, width, tile)
            ]
        blocks += [np.ascontiguousarray(part).astype(part.dtype.newbyteorder(order)).tobytes() for part in parts]
    if compression == 8:
        blocks = [zlib.compress(block) for block in blocks]
    offsets, out = [], bytearray(8)
    for block in blocks:
        offsets.append(len(out))
        out += block
    meaning = photometric if photometric is not None else 2 if samples >= 3 else 1
    fields: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * values.dtype.itemsize] * samples),
        259: (3, [compression]),
        262: (3, [meaning]),
        277: (3, [samples]),
        284: (3, [2 if planar else 1]),
    }
    lengths = [len(block) for block in blocks]
    if tile is None:
        fields |= {273: (4, offsets), 278: (4, [rows]), 279: (4, lengths)}
    else:
        fields |= {322: (4, [tile]), 323: (4, [tile]), 324: (4, offsets), 325: (4, lengths)}
    return _with_directory(out, fields | (extra or {}), order)


def _with_directory(out: bytearray, fields: dict[int, tuple[int, list[int]]], order: str) -> bytes:
    entries = b""
    for tag, (kind, numbers) in sorted(fields.items()):
        body = b"".join(struct.pack(order + {3: "H", 4: "I"}[kind], number) for number in numbers)
        if len(body) <= 4:
            entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + body.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "HHII", tag, kind, len(numbers), len(out))
            out += body
    start = len(out)
    out += struct.pack(order + "H", len(fields)) + entries + bytes(4)
    out[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return bytes(out)
