"""Masks on the grid that pixel figures are taken on: every region stays one, however small beside the others."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.int64]

_HALF = 0.5 - 1e-4
"""Shares are sums of single-precision products: what is half may come out a hair below."""


@dataclass(frozen=True, slots=True)
class ScaledMask:
    """An (h, w) bool `mask`, and its regions as flat positions in it: regions may share pixels, none is empty."""

    mask: Mask
    regions: tuple[Pixels, ...]


def scaled_mask(mask: Mask, size: tuple[int, int]) -> ScaledMask:
    """Bring the 8-connected regions of an (H, W) mask to `size` (height, width), each by itself.

    A pixel belongs to a region that covers half of it. A region that covers half of no pixel keeps all that it
    touches: otherwise a hair-fine defect would be none as soon as a large one lies beside it.
    """
    count, labels, table, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    drawn = np.zeros(size, dtype=np.bool_)
    regions: list[Pixels] = []
    for label in range(1, count):
        left, top, width, height = (int(value) for value in table[label][:4])
        own = labels[top : top + height, left : left + width] == label
        first_row, rows = _shares(top, height, mask.shape[0], size[0])
        first_column, columns = _shares(left, width, mask.shape[1], size[1])
        covered = rows @ own.astype(np.float32) @ columns.T
        inside = covered >= _HALF
        if not inside.any():
            inside = covered > 0
        high, wide = np.nonzero(inside)
        high, wide = high + first_row, wide + first_column
        drawn[high, wide] = True
        regions.append(np.asarray(high * size[1] + wide, dtype=np.int64))
    return ScaledMask(drawn, tuple(regions))


def _shares(start: int, count: int, length: int, cells: int) -> tuple[int, npt.NDArray[np.float32]]:
    """Return the first of the `cells` that pixels `start` to `start + count` of `length` touch, and (touched, count)
    shares of each cell that each pixel covers.
    """
    first, last = start * cells // length, -(-(start + count) * cells // length)
    edges = np.arange(start, start + count + 1) * (cells / length)
    cell = np.arange(first, last)[:, None]
    shares = np.minimum(edges[1:], cell + 1) - np.maximum(edges[:-1], cell)
    return first, np.clip(shares, 0, None).astype(np.float32)
