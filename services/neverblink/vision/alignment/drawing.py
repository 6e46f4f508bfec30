"""Where a part lies, drawn for a person: its outline, the frame of the upright picture, and which side is its top."""

from typing import Final

import cv2
import numpy as np

from neverblink.vision.alignment.aligner import Aligner, Image, NotFoundError
from neverblink.vision.alignment.view import Pose
from neverblink.vision.overlay import OUTLINE, at_most, outlined

_SHOWN: Final = 480
_FRAME: Final = (255, 196, 0)


def drawn(image: Image, pose: Pose, aligner: Aligner) -> Image:
    """Return an (H, W, 3) uint8 RGB picture, smaller, with the outline that was found, the frame of the upright picture
    and a mark at the side that is its top.
    """
    small = at_most(image, _SHOWN)
    thick = max(1, round(max(small.shape[:2]) / 240))
    try:
        small = outlined(small, aligner.covered(image), OUTLINE, thick=thick)
    except NotFoundError:
        small = small.copy()  # its pose is known otherwise than by an outline
    height, width = aligner.size
    matrix = pose.matrix(height, width) * (small.shape[1] / image.shape[1])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T + matrix[:, 2]
    points = np.rint(corners * 16).astype(np.int32)
    cv2.polylines(small, [points], True, _FRAME, thick, cv2.LINE_AA, shift=4)
    cv2.line(small, points[0].tolist(), points[1].tolist(), _FRAME, 3 * thick, cv2.LINE_AA, shift=4)
    return small


def upright(image: Image, pose: Pose, aligner: Aligner, side: int) -> Image:
    """Return the part of an (H, W, 3) uint8 RGB picture upright, of at most `side` pixels a side."""
    height, width = aligner.size
    scale = min(1.0, side / max(height, width))
    return aligner.placed(image, pose).sampled(max(1, round(height * scale)), max(1, round(width * scale)))
