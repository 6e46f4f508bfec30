"""A part that passes costs no anomaly map; whoever looks at one, draws or outlines by it, has the whole one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from textures import write_texture

from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.scorer.pictures import evidence_pictures
from neverblink.vision.artifact import Artifact
from neverblink.vision.backbones import load_backbone
from neverblink.vision.calibration import Calibration
from neverblink.vision.inspection import MapField
from neverblink.vision.inspector import Inspector, inspect_defects
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan

SIDE = 64
LINE = [TilePlan(tile=64, overlap=0.25, map_side=200), None]


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor(load_backbone(preprocess=Preprocess(resize=SIDE)))


def textured(seed: int, width: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).normal(120, 8, (SIDE, width, 3)).clip(0, 255).astype(np.uint8)


def blotted(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[20:36, 24:40] = (250, 20, 20)
    return image


def artifact(folder: Path, extractor: FeatureExtractor, plan: TilePlan | None) -> Artifact:
    """A bank of more than a thousand patches, under a threshold between plain texture and a blot."""
    bank = extractor.extract([textured(seed) for seed in range(20)]).flatten(0, 2)
    scorer = PatchCore(bank, preprocess=extractor.spec.preprocess)
    good, bad = (
        one.score for one in scorer.score(extractor.extract([textured(100), blotted(textured(100))]), complete=True)
    )
    threshold = (good + bad) / 2
    calibration = Calibration(
        threshold=threshold, map_threshold=threshold / 2, false_reject=0.1, confidence=0.95, normals=2, rank=2
    )
    return write_texture(folder / "texture", extractor, bank, calibration, (good, threshold), plan=plan)


@pytest.mark.parametrize("plan", LINE, ids=["tiles", "whole"])
def test_a_pass_needs_no_map_and_a_reject_has_the_whole_one(
    tmp_path: Path, extractor: FeatureExtractor, plan: TilePlan | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = artifact(tmp_path, extractor, plan)
    inspector = Inspector(model, extractor)
    width = SIDE if plan is None else 2 * SIDE
    good, bad = textured(200, width), blotted(textured(201, width))
    (wanted,) = inspect_defects([(inspector, bad)], complete=True)
    passed, rejected = inspect_defects([(inspector, good), (inspector, bad)])
    calibration = model.manifest.calibration
    assert [judged(one, calibration, DEFAULT_RULES, mm_per_px=None).reject for one in (passed, rejected)] == [
        False,
        True,
    ]
    assert rejected.anomaly.score == pytest.approx(wanted.anomaly.score, rel=1e-5)
    np.testing.assert_allclose(rejected.anomaly.anomaly_map, wanted.anomaly.anomaly_map, rtol=1e-4, atol=1e-5)
    assert [(one.x, one.y, one.area_px) for one in rejected.findings] == [
        (one.x, one.y, one.area_px) for one in wanted.findings
    ]
    assert rejected.findings

    # On a line that has no time for maps a pass is judged all the same, and shown small.
    def no_time(self: PatchCore, *what: object) -> torch.Tensor:
        raise TimeoutError("a map was made")

    with monkeypatch.context() as patched:
        patched.setattr(PatchCore, "_distances", no_time)
        (passed,) = inspect_defects([(inspector, good)])
        assert not judged(passed, calibration, DEFAULT_RULES, mm_per_px=None).reject
        assert evidence_pictures(good, passed, model, ("thumbnail",)).keys() == {"thumbnail"}
        assert MapField.made(passed.anomaly) is None
        with pytest.raises(TimeoutError, match="a map was made"):
            inspect_defects([(inspector, bad)])
    # Whoever asks for the map of a pass later has it.
    assert evidence_pictures(good, passed, model, ("overlay",)).keys() == {"overlay"}
    (again,) = inspect_defects([(inspector, good)], complete=True)
    np.testing.assert_allclose(passed.anomaly.anomaly_map, again.anomaly.anomaly_map, rtol=1e-4, atol=1e-5)
