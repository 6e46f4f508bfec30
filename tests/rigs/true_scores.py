"""What an artifact gives for an image when nothing disturbs it: what verdicts are compared with."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neverblink.vision.artifact import load_artifact
from neverblink.vision.inspector import Inspector, extractor_of, inspect

AGREES = 1e-4
"""Relative difference of two searches' distances at most, which is far less than that of two banks."""

TrueScores = dict[tuple[str, int], float]
"""Scores by the artifact's digest and the image's number."""


def true_scores(artifacts: Path, names: Iterable[str], images: Sequence[NDArray[np.uint8]]) -> TrueScores:
    """Return what each artifact gives for each image, (H, W, 3) uint8 RGB, one at a time."""
    found = {}
    for name in names:
        artifact = load_artifact(artifacts / name)
        inspector = Inspector(artifact, extractor_of(artifact))
        for number, image in enumerate(images):
            (anomaly,) = inspect([(inspector, image)])
            found[artifact.digest, number] = anomaly.score
    return found
