"""Area averages of large pictures: what OpenCV's INTER_AREA gives, rows first, in a third to a half of its time.

OpenCV multiplies every value of every row by its weight. Nearly all weights are alike, so here the rows that lie wholly
in a row of the result are added up as whole numbers, and only what is left, a dozenth of the picture, is averaged
across by OpenCV. A value that lies within a rounding error of two levels may become the other one.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

_LARGE = 6_000_000
"""Values from which on it is faster; a row of the result costs some 10 µs besides (bench/line/frame_cpu.py)."""

_MOST_ROWS = 256
"""In one row of the result: so many bytes add up within 16 bits."""

_NO_SHARE = 1e-3
"""OpenCV leaves out a smaller share of a row."""


def area_average(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Shrink an (H, W, 3) uint8 image to (height, width, 3), neither side larger than it was."""
    rows, columns = image.shape[:2]
    whole = rows % height == 0 and columns % width == 0  # halves lie between two levels often, and OpenCV has its way
    if image.size < _LARGE or not 2 * height <= rows <= _MOST_ROWS * height or whole:
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return rows_first(image, height, width)


def rows_first(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Do so whatever the size, at least twice and at most 256 times `height` rows."""
    source = np.ascontiguousarray(image).reshape(len(image), -1)
    scale = len(source) / height
    averaged = np.empty((height, source.shape[1]), np.float32)
    sums, edges = np.empty((1, source.shape[1]), np.uint16), np.empty((1, source.shape[1]), np.float32)
    for row in range(height):
        top, bottom = row * scale, (row + 1) * scale
        cell = min(scale, len(source) - top)
        last = min(math.floor(bottom), len(source) - 1)
        first = min(math.ceil(top), last)
        before, after = _share(first - top), _share(min(bottom - last, 1.0))
        above = source[first - 1 : first] if before else source[first : first + 1]
        np.add.reduce(source[first:last], axis=0, dtype=np.uint16, out=sums[0])
        cv2.addWeighted(above, before / cell, source[last : last + 1], after / cell, 0, edges, cv2.CV_32F)
        cv2.scaleAdd(sums.astype(np.float32), 1 / cell, edges, averaged[row : row + 1])
    across = cv2.resize(averaged.reshape(height, *image.shape[1:]), (width, height), interpolation=cv2.INTER_AREA)
    return np.rint(across).astype(np.uint8)


def _share(share: float) -> float:
    return share if share > _NO_SHARE else 0.0
