"""Where a product is looked at: polygons or a mask over the image, turned into the patches that count."""

import cv2
import numpy as np

from neverblink.vision.errors import VisionError
from neverblink.vision.mask_file import Mask, read_mask
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan
from neverblink.vision.tiling import cut

__all__ = ["Mask", "patch_region", "read_mask", "tiled_patch_region"]


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
