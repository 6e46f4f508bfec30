"""What a mask's file says about each pixel: marked or not, by rules that are stated, whatever painted it."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import Values, read_values
from neverblink.vision.errors import VisionError

Mask = npt.NDArray[np.bool_]

_CLASSES = 64
"""So many values or colours beside the background are classes; more are the soft edges of something, or no mask."""

_SURELY_CLASSES = 8
"""So few levels are classes, also where most of them are near black and white."""

_BRIGHT = 127
"""Edges are those of two levels only where the upper one is as bright as a mask's white."""

_INSTANCES = 4096
"""Numbers of objects in masks of 16 bits lie below."""

_SOFT = 0.1
"""Values within this share of 0 or of the highest are meant to be those: what edges and JPEG make of two levels."""

_BETWEEN = 0.5
"""Share of the marked pixels that may lie between the two levels: the edges of small regions have many."""

_NAMED = 8
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


class MaskError(VisionError):
    """A picture that fits no rule of masks; the message says what its values are and which ones a mask has."""


def read_mask(path: Path) -> Mask:
    """Read a mask, of 8 or 16 bits: (H, W) bool, true where it marks.

    - Alpha that varies decides: what is more opaque than not is marked, whatever its colour.
    - A palette's first colour is the background, any other one marks; in colour masks black is the background.
    - Grey: 0 is the background. One other value marks, be it 1, 255 or 65535; so does each of several (classes).
    - Many values that nearly all lie near 0 or near the highest are two levels with soft edges: half of it marks.

    Raises MaskError for what fits none of these, ImageError for what cannot be read.
    """
    values = read_values(path)
    with path.open("rb") as file:
        head = file.read(1 << 16)
    try:
        return _marked(values, _palette_background(head), lossy=head.startswith(_JPEG))
    except MaskError as error:
        raise MaskError(f"{path} is no mask: {error}") from error


def _marked(values: Values, background: tuple[int, int, int] | None, *, lossy: bool) -> Mask:
    if values.ndim == 3 and values.shape[2] == 4:
        alpha = values[..., 3]
        if alpha.min() != alpha.max():
            return _by_alpha(values)
        values = values[..., :3]
    if values.ndim == 3 and background is not None:
        return np.asarray((values != np.array(background, dtype=values.dtype)).any(axis=2))
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim == 2:
        return _by_level(values, lossy=lossy)
    return _by_colour(values, lossy=lossy)


def _by_alpha(values: Values) -> Mask:
    opaque = np.asarray(values[..., 3] > np.iinfo(values.dtype).max // 2)
    colours = values[opaque][:, :3]
    if len(colours) and (colours.max(axis=1) == 0).any() and colours.any():
        raise MaskError(
            "some of its pixels are transparent, and of the others some are black and some are not: say what is marked"
            " by transparency or by colour, not by both"
        )
    return opaque


def _by_level(grey: Values, *, lossy: bool) -> Mask:
    levels, counts = np.unique(grey, return_counts=True)
    top = int(levels[-1])
    if len(levels) == 1:
        full = np.iinfo(grey.dtype).max
        if top in (0, 1, 255, full):
            return np.asarray(grey > 0)
        raise MaskError(f"all of its pixels have the value {top}, and nothing says whether that is marked: 0 is not")
    # Numbers of classes and objects are low; edges run up to what is bright.
    two = top > _BRIGHT and _two_levels(levels, counts)
    few = len(levels) - 1 <= _CLASSES or (grey.dtype == np.uint16 and top < _INSTANCES)
    if levels[0] == 0 and few and not lossy and not (two and len(levels) > _SURELY_CLASSES):
        return np.asarray(grey > 0)
    if two:
        return np.asarray(grey > top / 2)
    raise MaskError(_no_rule([str(level) for level in levels.tolist()], lossy=lossy))


def _by_colour(values: Values, *, lossy: bool) -> Mask:
    bits = 8 * values.dtype.itemsize
    wide = values.astype(np.int64)
    packed, counts = np.unique(wide[..., 0] << 2 * bits | wide[..., 1] << bits | wide[..., 2], return_counts=True)
    brightest = values.max(axis=2)
    levels, bright_counts = np.unique(brightest, return_counts=True)
    two = levels[-1] > _BRIGHT and _two_levels(levels, bright_counts)
    few = len(packed) - 1 <= _CLASSES
    if packed[0] == 0 and few and not lossy and not (two and len(levels) > _SURELY_CLASSES):
        return np.asarray(values.any(axis=2))
    if two:
        return np.asarray(brightest > int(brightest.max()) / 2)
    common = packed[np.argsort(-counts, kind="stable")][: _NAMED + 1].tolist()
    full = (1 << bits) - 1
    colours = [f"({one >> 2 * bits}, {one >> bits & full}, {one & full})" for one in common]
    raise MaskError(_no_rule([*colours, *[""] * (len(packed) - len(colours))], lossy=lossy))


def _two_levels(levels: Values, counts: npt.NDArray[np.int64]) -> bool:
    """Say whether nearly all pixels lie near 0 or near the highest level."""
    top = int(levels[-1])
    shares = levels / max(top, 1)
    low, high = counts[shares <= _SOFT].sum(), counts[shares >= 1 - _SOFT].sum()
    return bool(low and high and counts.sum() - low - high <= _BETWEEN * (counts.sum() - low))


def _no_rule(values: list[str], *, lossy: bool) -> str:
    shown = ", ".join(values[:_NAMED])
    more = "" if len(values) <= _NAMED else f" and {len(values) - _NAMED} more"
    kept = "; JPEG keeps no classes apart, PNG does" if lossy else ""
    return (
        f"its values are {shown}{more}, and a mask has 0 or black where nothing is marked and 1, 255 or one value or"
        f" colour a class where something is{kept}"
    )


def _palette_background(head: bytes) -> tuple[int, int, int] | None:
    """Return the first colour of a PNG's palette, None where the file has none."""
    for kind, start in _png_chunks(head):
        if kind == b"PLTE" and len(head) >= start + 3:
            return head[start], head[start + 1], head[start + 2]
        if kind == b"IHDR" and head[start + 9] != 3:
            return None
    return None


def _png_chunks(head: bytes) -> Iterator[tuple[bytes, int]]:
    at = len(_PNG) if head.startswith(_PNG) else len(head)
    while at + 8 <= len(head):
        (length,) = struct.unpack_from(">I", head, at)
        yield head[at + 4 : at + 8], at + 8
        at += 12 + length
