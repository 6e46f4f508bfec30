"""EXIF's orientation: how a stored picture is turned to stand as people and annotation tools see it."""

import struct

import numpy as np

from neverblink.vision.pictures.stored import Values

_TAG = 0x0112
_MOST_ENTRIES = 4096


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, of EXIF data that begins with its TIFF header; 1 where it says none.

    Damaged metadata is no reason to refuse a whole picture: it says nothing.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, first)
        for entry in range(min(entries, _MOST_ENTRIES)):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", exif, first + 2 + 12 * entry)
            if tag == _TAG:
                return value if kind == 3 and count == 1 and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def upright(values: Values, orientation: int) -> Values:
    """Turn (H, W, …) values as EXIF's orientation says; 5 to 8 exchange width and height."""
    if orientation == 1:
        return values
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)
