"""Labelled parts with what models might have said about them, without any model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neverblink.trainer.datasets.defect_images import Box, DefectImage
from neverblink.trainer.evaluation.defect_evaluation import InspectedImage
from neverblink.vision.findings import Finding
from neverblink.vision.inspection import Anomaly, Inspection

SIDE = 16

Corners = tuple[int, int, int, int]


def labelled(path: Path | str = "part.png", **boxes: Sequence[Corners]) -> DefectImage:
    """Return an image whose defects fill the boxes (left, top, right, bottom) of each type; without any, it is good."""
    found = [Box(*corners, type=name) for name, own in boxes.items() for corners in own]
    return DefectImage(Path(path), tuple(sorted(boxes)), boxes=tuple(found))


def finding(type_: str, corners: Corners, confidence: float | None = 0.9, area_px: int | None = None) -> Finding:
    """Return a finding that fills its box (left, top, right, bottom), unless its area says otherwise."""
    left, top, right, bottom = corners
    width, height = right - left, bottom - top
    return Finding(type_, "classifier", left, top, width, height, area_px or width * height, confidence)


def plane(*boxes: Corners, value: float = 0.9, side: int = SIDE) -> np.ndarray:
    """Return a (side, side) float32 map with a value in the boxes and 0 elsewhere."""
    drawn = np.zeros((side, side), np.float32)
    for left, top, right, bottom in boxes:
        drawn[top:bottom, left:right] = value
    return drawn


def inspected(
    image: DefectImage,
    *findings: Finding,
    probabilities: Sequence[np.ndarray] | None = None,
    thresholds: Sequence[float] | None = None,
    anomaly_map: np.ndarray | None = None,
    rejected: bool = False,
    unsure: bool = False,
    score_ratio: float = 0.5,
    side: int = SIDE,
) -> InspectedImage:
    """Return a part of `side` × `side` pixels as a hybrid might have judged it."""
    drawn = plane(side=side) if anomaly_map is None else anomaly_map
    planes = None if probabilities is None else np.stack(probabilities)
    outlined = None
    if planes is not None:
        outlined = planes > np.array(thresholds or [0.5] * len(planes))[:, None, None]
    inspection = Inspection(Anomaly(score_ratio, drawn), findings, planes, outlined)
    return InspectedImage(image, side, side, inspection, rejected, unsure, score_ratio)
