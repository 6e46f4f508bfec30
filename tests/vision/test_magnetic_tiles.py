"""On real magnetic tiles the model ranks as well as the method is known to."""

import os
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score

from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.vision.backbones import load_backbone
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.decode import read_image
from neverblink.vision.patchcore import FeatureExtractor, PatchCore

pytestmark = [
    pytest.mark.plant,
    pytest.mark.timeout(600),
    pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA names no folder of real images"),
]


def features_of(extractor: FeatureExtractor, paths: list[Path]) -> torch.Tensor:
    batches = (paths[start : start + 8] for start in range(0, len(paths), 8))
    return torch.cat([extractor.extract([read_image(path) for path in batch]) for batch in batches])


def test_resnet18_ranks_magnetic_tiles_as_an_independent_implementation_does() -> None:
    data = Path(os.environ["NEVERBLINK_DATA"])
    backbone = load_backbone("resnet18", weights=data / "weights/resnet18-conv1-to-layer3.safetensors")
    extractor = FeatureExtractor(backbone)
    patches = features_of(extractor, good_images(data / "magnetic-tile")).flatten(0, 2)
    model = PatchCore(patches[greedy_k_center(project(patches, 64, seed=0), len(patches) // 100)])
    tested = labelled_images(data / "magnetic-tile")[::3]
    scores = [anomaly.score for image in tested for anomaly in model.score(features_of(extractor, [image.path]))]
    # 0.937 is the figure of an independent plain implementation (224 px, 0.5 % coreset, all test images).
    assert roc_auc_score([image.defect is not None for image in tested], scores) >= 0.93
