"""An image in, an anomaly out: products share a backbone, large images are cut, and company changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from textures import write_texture

from neverblink.vision.artifact import Artifact
from neverblink.vision.backbones import load_backbone
from neverblink.vision.calibration import Calibration
from neverblink.vision.errors import VisionError
from neverblink.vision.inspector import Inspector, extractor_of, features_key, inspect
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan

SIDE = 64
PLAN = TilePlan(tile=64, overlap=0.25, map_side=200)


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor(load_backbone(preprocess=Preprocess(resize=SIDE)))


def textured(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(120, 8, (height, width, 3)).clip(0, 255).astype(np.uint8)


def blotted(image: np.ndarray, top: int, left: int) -> np.ndarray:
    image = image.copy()
    image[top : top + 14, left : left + 14] = (250, 20, 20)
    return image


def artifact(
    folder: Path,
    extractor: FeatureExtractor,
    seed: int,
    plan: TilePlan | None = None,
    region: np.ndarray | None = None,
) -> Artifact:
    """A bank of texture patches, not calibrated."""
    bank = extractor.extract([textured(SIDE, SIDE, seed + n) for n in range(4)]).flatten(0, 2)
    calibration = Calibration(threshold=2, map_threshold=1, false_reject=0.1, confidence=0.95, normals=2, rank=2)
    return write_texture(folder / f"texture-{seed}", extractor, bank, calibration, plan=plan, region=region)


def test_products_with_one_backbone_are_judged_together_as_they_are_alone(
    tmp_path: Path, extractor: FeatureExtractor
) -> None:
    one = Inspector(artifact(tmp_path, extractor, 0), extractor)
    large = Inspector(artifact(tmp_path, extractor, 10, PLAN), extractor)
    assert features_key(one.artifact) == features_key(large.artifact)
    work = [
        (large, textured(150, 90, 5)),
        (one, textured(SIDE, SIDE, 6)),
        (large, blotted(textured(64, 200, 7), 20, 150)),
        (one, blotted(textured(80, 70, 8), 30, 30)),
    ]
    for together, alone in zip(inspect(work), (inspect([each])[0] for each in work), strict=True):
        assert together.score == pytest.approx(alone.score, rel=1e-5)
        np.testing.assert_allclose(together.anomaly_map, alone.anomaly_map, rtol=1e-4, atol=1e-5)


def test_a_defect_of_a_large_image_is_found_where_it_lies(tmp_path: Path, extractor: FeatureExtractor) -> None:
    inspector = Inspector(artifact(tmp_path, extractor, 0, PLAN), extractor)
    good, bad = textured(160, 400, 50), blotted(textured(160, 400, 50), 100, 300)
    calm, loud = inspect([(inspector, good), (inspector, bad)])
    assert loud.score > 1.5 * calm.score
    assert loud.anomaly_map.shape == calm.anomaly_map.shape == (80, 200)
    row, column = np.unravel_index(loud.anomaly_map.argmax(), loud.anomaly_map.shape)
    assert (row * 2, column * 2) == (pytest.approx(107, abs=12), pytest.approx(307, abs=12))


def test_a_region_belongs_to_images_of_the_size_it_was_drawn_for(tmp_path: Path, extractor: FeatureExtractor) -> None:
    region = np.zeros((len(PLAN.tiles(64, 160)), *extractor.grid), np.bool_)
    region[0] = True
    inspector = Inspector(artifact(tmp_path, extractor, 0, PLAN, region), extractor)
    inspector.warm_up(2)
    inside, outside = inspect(
        [(inspector, blotted(textured(64, 160, 1), 20, place)) for place in (10, 130)],
    )
    assert inside.score > outside.score
    with pytest.raises(VisionError, match="images of another size"):
        inspect([(inspector, textured(64, 64 * len(region) * 2, 1))])


def test_an_extractor_of_an_artifact_computes_the_features_that_made_it(
    tmp_path: Path, extractor: FeatureExtractor
) -> None:
    found = extractor_of(artifact(tmp_path, extractor, 0))
    image = textured(SIDE, SIDE, 3)
    np.testing.assert_array_equal(found.extract([image]).numpy(), extractor.extract([image]).numpy())


def test_an_approximate_search_says_its_recall_and_makes_nothing_look_more_normal(
    tmp_path: Path, extractor: FeatureExtractor
) -> None:
    made = artifact(tmp_path / "model", extractor, seed=0)
    exact, near = Inspector(made, extractor), Inspector(made, extractor, search="approximate")
    assert exact.recall == 1
    assert 0.99 <= near.recall <= 1
    image = blotted(textured(SIDE, SIDE, 50), 20, 30)
    assert inspect([(near, image)])[0].score >= inspect([(exact, image)])[0].score * (1 - 1e-5)
