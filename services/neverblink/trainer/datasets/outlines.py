"""Outlines of defects as labelling tools keep them, and the masks that they draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Point = tuple[float, float]

_SUBPIXEL_BITS = 8
_FURTHEST = 1 << 20
"""Pixels from the image's corner at which a coordinate ends: beyond, fixed-point drawing would overflow."""

_CIRCLE_CORNERS = 128


@dataclass(frozen=True, slots=True)
class Runs:
    """A bitmap as counts of pixels that are off, on, off, …; row by row, or column by column as COCO has it."""

    left: int
    top: int
    width: int
    height: int
    counts: tuple[int, ...]
    by_column: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """A defect's `type` and its shape in pixels from the image's top left corner: polygons, or a bitmap."""

    type: str
    polygons: tuple[tuple[Point, ...], ...] = ()
    runs: Runs | None = None

    def draw(self, mask: Mask) -> None:
        """Mark what it holds in an (H, W) mask."""
        canvas = np.zeros(mask.shape, dtype=np.uint8)
        for polygon in self.polygons:
            # The middle of the first pixel is OpenCV's (0, 0) and half a pixel from the image's corner.
            corners = np.clip(np.array(polygon) - 0.5, -_FURTHEST, _FURTHEST)
            cv2.fillPoly(canvas, [np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)], 1, shift=_SUBPIXEL_BITS)
        mask |= canvas.astype(np.bool_)
        if self.runs is not None:
            _draw_runs(self.runs, mask)

    @property
    def area(self) -> float:
        """Return about how many pixels it covers."""
        if self.runs is not None:
            return float(sum(self.runs.counts[1::2]))
        return float(sum(cv2.contourArea(np.array(polygon, dtype=np.float32)) for polygon in self.polygons))


def rectangle(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    """Return the corners of a box whose pixels lie from `left`, `top` up to `right`, `bottom` (not included)."""
    # A polygon holds the pixels that its edge touches; the last ones lie half a pixel further in.
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    return ((left + 0.5, top + 0.5), (right + 0.5, top + 0.5), (right + 0.5, bottom + 0.5), (left + 0.5, bottom + 0.5))


def ellipse(across: float, down: float, wide: float, high: float) -> tuple[Point, ...]:
    """Return the corners of an ellipse about (`across`, `down`) with half axes `wide` and `high`."""
    turns = np.linspace(0, 2 * np.pi, _CIRCLE_CORNERS, endpoint=False)
    return tuple(zip((across + wide * np.cos(turns)).tolist(), (down + high * np.sin(turns)).tolist(), strict=True))


def drawn(outlines: Sequence[Outline], size: tuple[int, int]) -> Mask:
    """Return what outlines mark in an image of `size` (height, width), (height, width) bool."""
    mask = np.zeros(size, dtype=np.bool_)
    for outline in outlines:
        outline.draw(mask)
    return mask


def by_type(outlines: Sequence[Outline], size: tuple[int, int]) -> dict[str, Mask]:
    """Return a (height, width) mask a type."""
    return {
        name: drawn([one for one in outlines if one.type == name], size)
        for name in sorted({one.type for one in outlines})
    }


def main_type(outlines: Sequence[Outline]) -> str:
    """Return the type that covers most."""
    areas: dict[str, float] = {}
    for one in outlines:
        areas[one.type] = areas.get(one.type, 0.0) + one.area
    return max(sorted(areas), key=lambda name: areas[name])


def _draw_runs(runs: Runs, mask: Mask) -> None:
    counts = np.array(runs.counts, dtype=np.int64)
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)[: runs.width * runs.height]
    bitmap = np.zeros(runs.width * runs.height, dtype=np.bool_)
    bitmap[: len(values)] = values
    shape = (runs.width, runs.height) if runs.by_column else (runs.height, runs.width)
    pixels = bitmap.reshape(shape).T if runs.by_column else bitmap.reshape(shape)
    height, width = mask.shape
    top, left = max(runs.top, 0), max(runs.left, 0)
    inside = pixels[top - runs.top : height - runs.top, left - runs.left : width - runs.left]
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
