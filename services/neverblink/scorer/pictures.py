"""What a person sees of a score: the regions it lies in, the overlay, the thumbnail."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.events import BoundingBox, Defect
from neverblink.events.evidence import EvidenceKind
from neverblink.vision.artifact import Artifact
from neverblink.vision.overlay import overlay, regions
from neverblink.vision.patchcore import Anomaly

_MAX_DEFECTS = 32
_THUMBNAIL_SIDE = 256
_OVERLAY_SIDE = 1024
_JPEG_QUALITY = 85


def defects_of(pixels: NDArray[np.uint8], anomaly: Anomaly, artifact: Artifact, min_area_px: int) -> tuple[Defect, ...]:
    """Return where a rejected image is not normal, highest peak first, in image pixels; at least one place."""
    if anomaly.score <= artifact.threshold:
        return ()
    height, width = pixels.shape[:2]
    found = regions(
        anomaly.anomaly_map,
        artifact.map_threshold,
        image_size=(width, height),
        min_area_px=min_area_px,
        at_least_one=True,
        limit=_MAX_DEFECTS,
    )
    return tuple(
        Defect(
            type="anomaly",
            bbox=BoundingBox(x=region.x, y=region.y, width=region.width, height=region.height),
            area_px=region.area_px,
            peak=region.peak,
        )
        for region in found
    )


def evidence_pictures(
    pixels: NDArray[np.uint8], anomaly: Anomaly, artifact: Artifact, kinds: Sequence[EvidenceKind]
) -> dict[EvidenceKind, bytes]:
    """Return JPEG bytes per kind: `overlay`, the anomaly map over the image, and `thumbnail`."""
    pictures: dict[EvidenceKind, bytes] = {}
    if "overlay" in kinds:
        drawn = overlay(_at_most(pixels, _OVERLAY_SIDE), anomaly.anomaly_map, artifact.map_threshold)
        pictures["overlay"] = _jpeg(drawn)
    if "thumbnail" in kinds:
        pictures["thumbnail"] = _jpeg(_at_most(pixels, _THUMBNAIL_SIDE))
    return pictures


def _at_most(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, body = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return body.tobytes()
