"""Which patches of the backbone's grid a named region is: for judging, and for looking at what must be there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.named_regions.spec import Kind, RegionsError
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_HALF = 0.5 - 1e-4
_MOST_CELLS = 4
"""Cells of a presence check along a side: on simulated boards 2, 3, 4 and 6 find the same."""

_SUBPIXEL_BITS = 8


class Drawn(Protocol):
    """A region with its polygon, as a person wrote it or a model states it."""

    @property
    def name(self) -> str:
        """Return what it is called."""

    @property
    def kind(self) -> Kind:
        """Return whether it is judged, ignored, or looked at."""

    @property
    def polygon(self) -> Sequence[tuple[float, float]]:
        """Return its corners (x, y)."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Where a presence check looks: the `tile` of an image, (m,) patches of its grid, (cells, m) shares of them."""

    tile: int
    patches: Labels
    shares: Floats

    def vectors(self, features: Floats) -> Floats:
        """Return the (n, cells · C) means of a check's cells in (n, h · w, C) features of its tile."""
        return self.means(features[:, self.patches])

    def means(self, patches: Floats) -> Floats:
        """Return the same of (n, m, C) features of its own patches."""
        cells = np.einsum("cm,nmd->ncd", self.shares, patches, optimize=True)
        return np.ascontiguousarray(cells.reshape(len(patches), -1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Places:
    """`labels` (T, h · w): the region of each patch, by its place in the list, -1 where it is not judged; `looked`:
    where presence checks look, by the same place.
    """

    labels: Labels
    looked: dict[int, Looked]


@dataclass(frozen=True, slots=True)
class Grid:
    """How an image of `size` (height, width) becomes `patches` (high, wide) of each input, `plan` its tiles."""

    size: tuple[int, int]
    preprocess: Preprocess
    patches: tuple[int, int]
    plan: TilePlan | None = None

    def shares(self, mask: Mask) -> Floats:
        """Return the (T, h, w) share of each patch that lies in an (H, W) mask over the image."""
        if self.plan is None:
            parts = [mask]
        else:
            parts = [
                mask[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
                for tile in self.plan.tiles(*mask.shape)
            ]
        high, wide = self.patches
        masked = [self.preprocess.apply_to_mask(part) for part in parts]
        shares = [cv2.resize(one, (wide, high), interpolation=cv2.INTER_AREA) for one in masked]
        return np.stack(shares).astype(np.float32)


def places_of(regions: Sequence[Drawn], drawn: tuple[int, int], grid: Grid, judged: Mask | None = None) -> Places:
    """Return the patches of named regions that were drawn on a picture of `drawn` (width, height).

    A patch belongs to the first region that covers half of it, else to the one without a polygon. `judged` (T, h, w)
    are the patches that are judged at all; None: all. Raises RegionsError where a region has none.
    """
    covered = [None if not region.polygon else grid.shares(_mask(region, drawn, grid.size)) for region in regions]
    tiles = next(len(one) for one in covered if one is not None) if any(one is not None for one in covered) else 1
    labels = np.full((tiles, *grid.patches), -1, dtype=np.int64)
    free = np.ones(labels.shape, dtype=np.bool_)
    for place, (region, shares) in enumerate(zip(regions, covered, strict=True)):
        if shares is not None:
            own = (shares >= _HALF) & free
            free &= ~own
            labels[own] = -1 if region.kind == "ignored" else place
    for place, region in enumerate(regions):
        if not region.polygon:
            labels[free] = -1 if region.kind == "ignored" else place
    if judged is not None:
        labels[~judged] = -1
        _check_judged(regions, covered, judged)
    for place, region in enumerate(regions):
        if region.kind == "judged" and not (labels == place).any():
            raise RegionsError(f"no patch lies in the region {region.name} by half: enlarge it or the network's input")
    looked = {
        place: _looked(region, shares, grid, drawn)
        for place, (region, shares) in enumerate(zip(regions, covered, strict=True))
        if region.kind == "presence" and shares is not None
    }
    return Places(labels.reshape(tiles, -1), looked)


def _check_judged(regions: Sequence[Drawn], covered: Sequence[Floats | None], judged: Mask) -> None:
    """Raise RegionsError for a region that can say nothing: the ground beside a part is another one with every part."""
    for region, shares in zip(regions, covered, strict=True):
        if region.kind != "ignored" and shares is not None and shares.any() and not shares[judged].any():
            raise RegionsError(
                f"nothing is judged where the region {region.name} lies: it is beside the part, or outside of --region"
            )


def _looked(region: Drawn, shares: Floats, grid: Grid, drawn: tuple[int, int]) -> Looked:
    tile = int(shares.sum(axis=(1, 2)).argmax())
    seen = shares[tile]
    if not seen.any():
        raise RegionsError(f"the network sees nothing of the region {region.name}: it lies outside of the crop")
    whole = _mask(region, drawn, grid.size)
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    high, wide = (np.ptp(np.flatnonzero(seen.any(axis=axis))) for axis in (1, 0))
    down, across = (int(np.clip(round(float(length)), 1, _MOST_CELLS)) for length in (high, wide))
    cells = []
    for top, bottom in _steps(rows, down):
        for left, right in _steps(columns, across):
            part = np.zeros_like(whole)
            part[top:bottom, left:right] = whole[top:bottom, left:right]
            share = grid.shares(part)[tile].ravel()
            if share.sum() > 0:
                cells.append(share / share.sum())
    weights = np.stack(cells)
    patches = np.flatnonzero(weights.any(axis=0))
    return Looked(tile, patches, np.ascontiguousarray(weights[:, patches], dtype=np.float32))


def _steps(covered: npt.NDArray[np.int64], count: int) -> list[tuple[int, int]]:
    edges = np.linspace(int(covered[0]), int(covered[-1]) + 1, count + 1).round().astype(int)
    return list(pairwise(edges.tolist()))


def _mask(region: Drawn, drawn: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Return the (H, W) pixels of an image of `size` that a region covers; one that covers none keeps its middle."""
    height, width = size
    mask = np.zeros((height, width), dtype=np.uint8)
    # The middle of the first pixel is OpenCV's (0, 0) and half a pixel from the image's corner.
    corners = np.array(region.polygon, dtype=np.float64) * (width / drawn[0], height / drawn[1]) - 0.5
    fixed = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, shift=_SUBPIXEL_BITS)
    return mask > 0
