"""A product of noise: its artifact, of features that a test has extracted itself."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from torch import Tensor

from neverblink.vision.artifact import Artifact, save_artifact
from neverblink.vision.artifact_manifest import Description, Provenance
from neverblink.vision.calibration import Calibration
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.tile_plan import TilePlan

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def write_texture(
    folder: Path,
    extractor: FeatureExtractor,
    bank: Tensor,
    calibration: Calibration,
    scores: tuple[float, float] = (1, 2),
    *,
    plan: TilePlan | None = None,
    region: np.ndarray | None = None,
) -> Artifact:
    """Write an artifact of a (M, C) bank; two held-out good images have the scores, and map peaks as high."""
    held_out = np.array(scores, np.float32)
    made = Description(
        name="texture",
        version="1",
        product="texture",
        created=CREATED,
        backbone=extractor.spec,
        grid=extractor.grid,
        dimension=extractor.dimension,
        vectors=len(bank),
        tiling=plan,
        regions=0 if region is None else len(region),
        calibration=calibration,
        provenance=Provenance(images=(), coreset_ratio=1, projection=64, seed=0, folds=2),
    )
    return save_artifact(folder, made, bank=bank.numpy(), scores=held_out, peaks=held_out, region=region)
