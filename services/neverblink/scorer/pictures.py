"""What a person sees of a score: the regions it lies in, the overlay, the thumbnail."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.decisions.judgement import Judgement
from neverblink.events import Frame
from neverblink.events.evidence import EvidenceKind
from neverblink.events.identity import sample_place
from neverblink.vision.artifact import Artifact
from neverblink.vision.inspection import Inspection
from neverblink.vision.overlay import at_most, outlined, overlay, thumbnail

_THUMBNAIL_SIDE = 256
_OVERLAY_SIDE = 1024
_JPEG_QUALITY = 85


def kinds_of_evidence(
    frame: Frame, judgement: Judgement, inspection: Inspection, *, passes_shown: float
) -> tuple[EvidenceKind, ...]:
    """Return which pictures of a scored frame are kept to be looked at.

    Whatever a verdict names must be there, and what a person may ask for: of plain passes alone, the share
    `passes_shown` has any. The frame's id says which, so that a frame that is scored again has the same.
    """
    if judgement.reject or inspection.findings:
        return ("overlay", "thumbnail")
    asked_for = judgement.unsure or frame.holdout or frame.challenge
    return ("thumbnail",) if asked_for or sample_place(frame.id) < passes_shown else ()


def evidence_pictures(
    pixels: NDArray[np.uint8], inspection: Inspection, artifact: Artifact, kinds: Sequence[EvidenceKind]
) -> dict[EvidenceKind, bytes]:
    """Return JPEG bytes per kind: `overlay`, anomaly map and known defects' outlines over the image, `thumbnail`."""
    pictures: dict[EvidenceKind, bytes] = {}
    if "overlay" in kinds:
        drawn = overlay(
            at_most(pixels, _OVERLAY_SIDE),
            inspection.anomaly.anomaly_map,
            artifact.map_threshold,
            normal=artifact.map_normal,
            anomalous=inspection.anomalous,
        )
        if inspection.outlined is not None:
            drawn = outlined(drawn, np.asarray(inspection.outlined.any(axis=0)))
        pictures["overlay"] = _jpeg(drawn)
    if "thumbnail" in kinds:
        pictures["thumbnail"] = _jpeg(thumbnail(pixels, _THUMBNAIL_SIDE))
    return pictures


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, body = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return body.tobytes()
