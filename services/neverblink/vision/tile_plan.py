"""How a large image is cut into overlapping tiles, as settings state it; `tiling` cuts and joins, and knows numpy."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from neverblink.vision.errors import VisionError

NEAR = 0.03
"""Sizes of one product's images may differ by so much a side: a crop by hand, a scanner's feed."""


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

    def layout(self, height: int, width: int) -> tuple[int, int]:
        """Return the (rows, columns) of an image's tiles."""
        return len(self._starts(height)), len(self._starts(width))

    def alike(self, size: tuple[int, int], other: tuple[int, int]) -> bool:
        """Say whether images of two sizes (height, width) are cut alike: into as many rows and columns, and so nearly
        of one size that a tile shows the same of the part. Each is cut at its own size; nothing is scaled or padded.
        """
        near = all(abs(one - two) <= NEAR * two for one, two in zip(size, other, strict=True))
        return near and self.layout(*size) == self.layout(*other)

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
