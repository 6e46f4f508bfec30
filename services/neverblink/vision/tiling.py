"""Large images in overlapping tiles: each is scored like an image of its own, and their maps become one."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt

from neverblink.vision.alignment.view import View
from neverblink.vision.errors import VisionError
from neverblink.vision.tile_plan import TilePlan

_Pixel = TypeVar("_Pixel", bound=np.generic)
_Seen = TypeVar("_Seen", np.uint8, np.float32, np.bool_)
_Weights = npt.NDArray[np.float64]


@overload
def cut(image: npt.NDArray[_Pixel], plan: TilePlan) -> list[npt.NDArray[_Pixel]]: ...
@overload
def cut(image: View[_Seen], plan: TilePlan) -> list[View[_Seen]]: ...
def cut(image: npt.NDArray[_Pixel] | View[_Seen], plan: TilePlan) -> list[npt.NDArray[_Pixel]] | list[View[_Seen]]:
    """Return views of the tiles of an (H, W, 3) image, an (H, W) mask or a view, in the order of `plan.tiles`."""
    if isinstance(image, View):
        return [image.window(*tile) for tile in plan.tiles(*image.size)]
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
