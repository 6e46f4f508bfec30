"""Large images in overlapping tiles: each is scored like an image of its own, and their maps become one."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from neverblink.vision.errors import VisionError

_Pixel = TypeVar("_Pixel", bound=np.generic)
_Weights = npt.NDArray[np.float64]


class Tile(NamedTuple):
    """A rectangle in pixels of the source image."""

    top: int
    left: int
    height: int
    width: int


class TilePlan(BaseModel):
    """How an image is cut. The score of the image is the highest of its tiles' scores.

    A defect shows at the tile's scale: tiles of 512 px at a network input of 256 px see every second pixel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tile: int = Field(default=512, ge=32, le=8192, description="Side of a tile in pixels of the image.")
    overlap: float = Field(
        default=0.25, ge=0.05, le=0.75, description="Least share of a tile's side that it has in common with the next."
    )
    map_side: int = Field(
        default=1024, ge=32, le=8192, description="Longer side of the merged map; a map is never larger than its image."
    )

    def tiles(self, height: int, width: int) -> list[Tile]:
        """Return the tiles of an image of height × width pixels, row by row.

        The last row and column are shifted inwards to end with the image. Where the image is smaller than a
        tile, the tile is as small as the image; preprocessing brings it to the network's input.
        """
        if height < 1 or width < 1:
            raise VisionError(f"an image of {height} × {width} pixels cannot be cut into tiles")
        return [
            Tile(top, left, min(self.tile, height), min(self.tile, width))
            for top in self._starts(height)
            for left in self._starts(width)
        ]

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the merged map: the image's, divided by max(1, longer side / map_side)."""
        scale = min(1.0, self.map_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _starts(self, length: int) -> list[int]:
        last = length - self.tile
        if last <= 0:
            return [0]
        step = max(1, int(self.tile * (1 - self.overlap)))
        return [*range(0, last, step), last]


def cut(image: npt.NDArray[_Pixel], plan: TilePlan) -> list[npt.NDArray[_Pixel]]:
    """Return views of the tiles of an (H, W, 3) image or an (H, W) mask, in the order of `plan.tiles`."""
    return [
        image[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        for tile in plan.tiles(*image.shape[:2])
    ]


def merge(
    maps: Sequence[npt.NDArray[np.float32]], plan: TilePlan, *, image_size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Merge the tiles' anomaly maps into one over the whole image, (height, width) of `plan.map_size`, float32.

    `maps` are in the order of `plan.tiles`, each (h, w) over its tile; `image_size` is (width, height) of the
    image. Where tiles overlap, each counts by its distance from its own edge, so that it fades in and out and
    leaves no seam. Raises VisionError when there is not one map a tile.
    """
    width, height = image_size
    tiles = plan.tiles(height, width)
    if len(maps) != len(tiles):
        raise VisionError(f"{len(maps)} maps do not fit an image of {width} × {height} pixels in {len(tiles)} tiles")
    rows, columns = plan.map_size(height, width)
    total, weight = np.zeros((rows, columns)), np.zeros((rows, columns))
    for tile, tile_map in zip(tiles, maps, strict=True):
        down = _placement(tile.top, tile.height, height, rows, tile_map.shape[0])
        across = _placement(tile.left, tile.width, width, columns, tile_map.shape[1])
        window = np.s_[down.start : down.stop, across.start : across.stop]
        # Fading and resampling are separable: both are in the two matrices.
        total[window] += (down.fade[:, None] * down.resample) @ tile_map @ (across.fade[:, None] * across.resample).T
        weight[window] += np.outer(down.fade, across.fade)
    return np.asarray(total / weight, dtype=np.float32)


class _Placement(NamedTuple):
    """Along one axis: the merged map's pixels that a tile covers, its weight there, and (covered, samples)."""

    start: int
    stop: int
    fade: _Weights
    resample: _Weights


@lru_cache(maxsize=512)
def _placement(offset: int, length: int, image: int, pixels: int, samples: int) -> _Placement:
    """Place a tile's `samples` over its `length` of `image` source pixels, of which the map keeps `pixels`."""
    centres = (np.arange(pixels) + 0.5) * image / pixels - offset
    covered = np.flatnonzero((centres > 0) & (centres < length))
    if not len(covered):
        return _Placement(0, 0, np.zeros(0), np.zeros((0, samples)))
    centres = centres[covered]
    fade = np.minimum(centres, length - centres) / length
    # A triangle as wide as the coarser of both grids: bilinear when it enlarges, averaging when it shrinks.
    position = centres * samples / length - 0.5
    reach = max(1.0, samples / length * image / pixels)
    distance = np.abs(np.clip(position, 0, samples - 1)[:, None] - np.arange(samples)) / reach
    resample = np.maximum(0, 1 - distance)
    resample /= resample.sum(axis=1, keepdims=True)
    return _Placement(int(covered[0]), int(covered[-1]) + 1, fade, resample)
