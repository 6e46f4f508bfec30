"""Artifacts of a few vectors, made without a network: for what only moves them about."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from neverblink.vision.artifact import Artifact, save_artifact
from neverblink.vision.artifact_manifest import Description, Provenance
from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.calibration import Calibration

NOBODYS = "sha256:" + "0" * 64


def write_artifact(
    folder: Path,
    name: str = "pcb",
    *,
    product: str = "pcb",
    version: str = "1",
    seed: int = 0,
    vectors: int = 64,
    backbone: str = "resnet18",
) -> Artifact:
    """Write `folder/name`; another seed is another model."""
    random = np.random.default_rng(seed)
    scores = np.array([1, 2, 2.25, 2.5], np.float32)
    description = Description(
        name=name,
        version=version,
        product=product,
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        backbone=BackboneSpec(
            model=backbone,
            levels=(2, 3),
            source="file",
            weights=NOBODYS,
            mean=(123.675, 116.28, 103.53),
            deviation=(58.395, 57.12, 57.375),
        ),
        grid=(4, 4),
        dimension=8,
        vectors=vectors,
        calibration=Calibration(
            threshold=2.5, map_threshold=1.5, false_reject=0.05, confidence=0.95, normals=4, rank=4
        ),
        provenance=Provenance(images=(NOBODYS,), coreset_ratio=0.01, projection=128, seed=0, folds=5),
    )
    bank = random.random((vectors, 8)).astype(np.float32)
    return save_artifact(folder / name, description, bank=bank, scores=scores, peaks=scores)
