"""Where a product is looked at: polygons or a mask over the image, turned into the patches that count."""

from pathlib import Path
from typing import Annotated, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from neverblink.vision.decode import read_image
from neverblink.vision.errors import VisionError
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tiling import TilePlan, cut

Share = Annotated[float, Field(ge=0, le=1)]
Polygon = Annotated[tuple[tuple[Share, Share], ...], Field(min_length=3, max_length=1000)]
"""Corners (x, y) as shares of the image's width and height, from its top left."""

Mask = npt.NDArray[np.bool_]

_SUBPIXEL_BITS = 8


class RegionOfInterest(BaseModel):
    """Polygons that are inspected, less those that are not; without any, the whole image is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    inside: tuple[Polygon, ...] = Field(default=(), max_length=100, description="Inspected; none: all of the image.")
    outside: tuple[Polygon, ...] = Field(
        default=(), max_length=100, description="Left out, even where inspected: holes, labels, fixtures."
    )

    @model_validator(mode="after")
    def _polygons_have_an_area(self) -> Self:
        for polygon in (*self.inside, *self.outside):
            if cv2.contourArea(np.array(polygon, dtype=np.float32)) == 0:
                raise ValueError(f"the polygon {polygon} has no area")
        return self

    def mask(self, height: int, width: int) -> Mask:
        """Draw the region as an (height, width) mask."""
        drawn = np.full((height, width), not self.inside, dtype=np.uint8)
        for polygons, value in ((self.inside, 1), (self.outside, 0)):
            for polygon in polygons:
                # The middle of the first pixel is OpenCV's (0, 0) and half a pixel from the image's corner.
                corners = np.array(polygon) * (width, height) - 0.5
                fixed = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
                cv2.fillPoly(drawn, [fixed], value, shift=_SUBPIXEL_BITS)
        return drawn.astype(np.bool_)


def read_mask(path: Path) -> Mask:
    """Read a mask image: (H, W), true where it is brighter than half. Raises ImageError."""
    return np.asarray(read_image(path).max(axis=2) >= 128, dtype=np.bool_)


def patch_region(mask: Mask, preprocess: Preprocess, grid: tuple[int, int], *, share: float = 0.5) -> Mask:
    """Return the (h, w) patches of which at least `share` lies in an (H, W) mask over the whole image.

    The mask may have any resolution. What `preprocess` pads is outside. Raises VisionError when no patch is in.
    """
    return _not_empty(_patches(mask, preprocess, grid, share), share)


def tiled_patch_region(
    mask: Mask, plan: TilePlan, preprocess: Preprocess, grid: tuple[int, int], *, share: float = 0.5
) -> Mask:
    """Return `patch_region` of each tile, (T, h, w); the mask has the size of the image that is cut.

    A tile may lie outside altogether and need not be scored. Raises VisionError when all do.
    """
    return _not_empty(np.stack([_patches(part, preprocess, grid, share) for part in cut(mask, plan)]), share)


def _patches(mask: Mask, preprocess: Preprocess, grid: tuple[int, int], share: float) -> Mask:
    pixels = preprocess.apply_to_mask(mask)
    shares = cv2.resize(pixels, (grid[1], grid[0]), interpolation=cv2.INTER_AREA)
    # Areas are sums of single-precision numbers: a patch that is wholly inside may come out at 0.9999999.
    return np.asarray(shares >= share - 1e-4, dtype=np.bool_)


def _not_empty(patches: Mask, share: float) -> Mask:
    if not patches.any():
        raise VisionError(
            f"no patch lies in the region by at least {share:.0%} of its area: enlarge the region or the input"
        )
    return patches
