"""Decoding by OpenCV, for files that were checked before."""

import cv2
import numpy as np

from neverblink.vision.pictures.faults import corrupt, unsupported
from neverblink.vision.pictures.stored import Values


def decoded(data: bytes, colour: bool) -> Values:
    """Return (H, W, 3) uint8 RGB where `colour` is asked for, else what is stored. Raises ImageError."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if colour else cv2.IMREAD_UNCHANGED
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise corrupt(f"the image cannot be decoded: {error.err}") from error
    if found is None:
        raise corrupt("the image's header is right but its pixels cannot be decoded")
    if found.dtype not in (np.uint8, np.uint16):
        raise unsupported(f"the image has {found.dtype} values, and whole ones from 0 on are read")
    if not colour and found.ndim == 3:
        found = found[..., [2, 1, 0, 3][: found.shape[2]]]
    return np.asarray(found, dtype=found.dtype.type, order="C")
