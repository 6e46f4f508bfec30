"""The part in a picture of which nothing was learnt: where defects that are drawn belong."""

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.alignment.aligner import SEARCHED, enlarged, searched_picture
from neverblink.vision.alignment.silhouette import silhouettes
from neverblink.vision.alignment.view import MAX_SIDE

_CLEAR = 8.0
"""Of the ground's own deviations a part must be away from it, in the median: less is a shade of the ground."""

_SHARE = (0.02, 0.8)
"""Of the picture, that parts cover: less is dirt, and of what fills the picture nothing is ground."""

_ANOTHER = 0.2
"""An outline of this share of the largest one's area is another part, or another piece of it."""


_SEAM = 5


def foreground(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_] | None:
    """Return the (H, W) bool pixels of the parts in an (H, W, 3) uint8 RGB image, None where none stands out clearly.

    A seam of two searched pixels is left out, by which outlines reach onto the ground.
    """
    if max(image.shape[:2]) > MAX_SIDE:
        return None
    searched = searched_picture(image, min(1.0, SEARCHED / max(image.shape[:2])))
    found = [one for one in silhouettes(searched) if one.clearness >= _CLEAR]
    if not found:
        return None
    mask = np.zeros(searched.shape[:2], dtype=np.bool_)
    for one in found:
        if one.area >= _ANOTHER * found[0].area:
            mask |= one.mask
    mask = cv2.erode(mask.astype(np.uint8), np.ones((_SEAM, _SEAM), np.uint8)) > 0
    if not _SHARE[0] <= float(mask.mean()) <= _SHARE[1]:
        return None
    return enlarged(np.asarray(mask), image.shape[:2])
