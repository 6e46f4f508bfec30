"""A number that is none, wherever it arises between pixels and verdict, leaves the part unscored: nothing passes it."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from textures import CREATED, write_texture

from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.events import Decision
from neverblink.trainer.offline_inspection.judge import Judge, Place
from neverblink.trainer.offline_inspection.rows import Opinion, Unscored
from neverblink.trainer.offline_inspection.terms import InspectSettings
from neverblink.vision.artifact import Artifact, joined
from neverblink.vision.artifact_manifest import UnetPart
from neverblink.vision.backbones import load_backbone
from neverblink.vision.calibration import (
    Calibration,
    CalibrationError,
    calibrate,
    calibrate_at,
    threshold_by_cost,
)
from neverblink.vision.defect_finder import DefectFinder
from neverblink.vision.errors import NoNumberError
from neverblink.vision.findings import Finding
from neverblink.vision.hybrid import Policy, decide
from neverblink.vision.inspection import Anomaly, Inspection
from neverblink.vision.inspector import Inspector, inspect_defects
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.quality import ImageQuality, judge
from neverblink.vision.segmenter import Segmenter
from neverblink.vision.tile_plan import TilePlan
from neverblink.vision.unet import new_unet, spec_for, unet_tensors

SIDE = 64
GRID = (4, 5)
PLAN = TilePlan(tile=64, overlap=0.25, map_side=128)

no_numbers = st.sampled_from([math.nan, math.inf, -math.inf])


def textured(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(120, 8, (height, width, 3)).clip(0, 255).astype(np.uint8)


@settings(max_examples=80, deadline=None)
@given(
    value=no_numbers,
    place=st.tuples(st.integers(0, 2), st.integers(0, GRID[0] - 1), st.integers(0, GRID[1] - 1), st.integers(0, 7)),
    top=st.integers(1, 5),
    neighbours=st.booleans(),
    region=st.booleans(),
    search=st.sampled_from(["auto", "gemm", "faiss", "pruned"]),
)
def test_one_feature_that_is_no_number_leaves_its_image_without_a_score_and_no_other(
    value: float, place: tuple[int, int, int, int], top: int, neighbours: bool, region: bool, search: str
) -> None:
    random = np.random.default_rng(0)
    bank = torch.from_numpy(random.random((60, 8)).astype(np.float32))
    inside = np.zeros((1, *GRID), np.bool_)
    inside[:, 1:3, 1:4] = True
    model = PatchCore(
        bank,
        neighbours=torch.arange(180).view(60, 3) % 60 if neighbours else None,
        region=inside if region else None,
        preprocess=Preprocess(resize=SIDE),
        top=top,
        search=search,  # type: ignore[arg-type]
    )
    features = torch.from_numpy(random.random((3, *GRID, 8)).astype(np.float32))
    before = [one.score for one in model.score(features)]
    features[place] = value
    after = model.score(features)
    assert after[place[0]].fault is not None
    assert math.isnan(after[place[0]].score)
    for index in {0, 1, 2} - {place[0]}:
        assert after[index].score == pytest.approx(before[index], rel=1e-5)
        assert after[index].fault is None


# The whole path, with real networks


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor(load_backbone(preprocess=Preprocess(resize=SIDE)), engine="torch")


def artifact(folder: Path, extractor: FeatureExtractor, plan: TilePlan | None) -> Artifact:
    """A bank of texture patches under a threshold that no image reaches, and a U-Net that marks little."""
    bank = extractor.extract([textured(SIDE, SIDE, seed) for seed in range(3)]).flatten(0, 2)
    calibration = Calibration(
        threshold=1e6, map_threshold=1e6, false_reject=0.1, confidence=0.95, normals=2, rank=2, unsure_from=9e5
    )
    plain = write_texture(folder / "plain", extractor, bank, calibration, plan=plan)
    spec = spec_for("plain", ("scratch",), preprocess=Preprocess(resize=SIDE), width=8, depth=2)
    part = UnetPart(spec=spec, created=CREATED, images=(), epochs=1, held_out=0)
    tensors = unet_tensors(new_unet(spec, seed=0))
    return joined(plain, folder / "joined", unet=(part, tensors), version="2", created=CREATED)


@pytest.fixture(scope="module", params=[None, PLAN], ids=["whole", "tiles"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, extractor: FeatureExtractor
) -> Artifact:
    return artifact(tmp_path_factory.mktemp("model"), extractor, request.param)


def in_features(patched: pytest.MonkeyPatch, value: float, at: int) -> None:
    real = FeatureExtractor.embed

    def embed(self: FeatureExtractor, inputs: list[np.ndarray]) -> torch.Tensor:
        features = real(self, inputs).clone()
        # The first image alone is spoilt.
        features[0].view(-1)[at % features[0].numel()] = value
        return features

    patched.setattr(FeatureExtractor, "embed", embed)


def in_scores(patched: pytest.MonkeyPatch, value: float, at: int) -> None:
    real = PatchCore.score

    def score(self: PatchCore, features: torch.Tensor, **how: Any) -> list[Anomaly]:
        first, *others = real(self, features, **how)
        return [replace(first, score=value), *others]

    patched.setattr(PatchCore, "score", score)


def in_maps(patched: pytest.MonkeyPatch, value: float, at: int) -> None:
    real = PatchCore.score

    def score(self: PatchCore, features: torch.Tensor, **how: Any) -> list[Anomaly]:
        first, *others = real(self, features, **how)
        spoilt = first.anomaly_map.copy()
        spoilt.ravel()[at % spoilt.size] = value
        return [replace(first, anomaly_map=spoilt), *others]

    patched.setattr(PatchCore, "score", score)


def in_probabilities(patched: pytest.MonkeyPatch, value: float, at: int) -> None:
    real = Segmenter.segment

    def segment(self: Segmenter, inputs: list[np.ndarray]) -> np.ndarray:
        planes = np.array(real(self, inputs))
        planes[0].ravel()[at % planes[0].size] = value
        return planes

    patched.setattr(Segmenter, "segment", segment)


def in_the_classifiers_confidence(patched: pytest.MonkeyPatch, value: float, at: int) -> None:
    real = DefectFinder._inspection
    spoilt: list[bool] = []

    def inspection(self: DefectFinder, *what: object) -> Inspection:
        found = real(self, *what)  # type: ignore[arg-type]
        if spoilt:
            return found
        spoilt.append(True)
        named = Finding("scratch", "classifier", 0, 0, 4, 4, 16, confidence=value)
        return replace(found, findings=(named, *found.findings))

    patched.setattr(DefectFinder, "_inspection", inspection)


Spoiling = Callable[[pytest.MonkeyPatch, float, int], None]
STAGES: list[Spoiling] = [in_features, in_scores, in_maps, in_probabilities, in_the_classifiers_confidence]


@pytest.fixture
def offline(model: Artifact, extractor: FeatureExtractor) -> Judge:
    return Judge(model, extractor, InspectSettings(Path("model")))


@settings(
    max_examples=20,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(stage=st.sampled_from(STAGES), value=no_numbers, at=st.integers(0, 10**6))
def test_what_is_no_number_at_any_stage_leaves_its_part_unscored_on_the_line_and_off_it(
    model: Artifact, extractor: FeatureExtractor, offline: Judge, stage: Spoiling, value: float, at: int
) -> None:
    images = [textured(SIDE, SIDE, 1), textured(SIDE, 96, 2)]
    with pytest.MonkeyPatch.context() as patched:
        stage(patched, value, at)
        # The scorer's way: whatever `judged` raises becomes an unscored verdict of the part.
        inspector = Inspector(model, extractor)
        first, second = inspect_defects([(inspector, image) for image in images])
        with pytest.raises(NoNumberError):
            judged(first, model.manifest.calibration, DEFAULT_RULES, mm_per_px=None)
        assert judged(second, model.manifest.calibration, DEFAULT_RULES, mm_per_px=None).decision is not None
    with pytest.MonkeyPatch.context() as patched:
        stage(patched, value, at)
        row, other = offline.judge(images, [Place(None, None)] * 2)
        assert isinstance(row, Unscored)
        assert row.decision is Decision.UNSCORED
        assert row.reason == "scorer-error"
        assert isinstance(other, Opinion)


@given(no_numbers)
def test_no_comparison_passes_a_score_threshold_scale_or_confidence_that_is_no_number(value: float) -> None:
    sound = Inspection(Anomaly(1.0, np.zeros((4, 4), np.float32)))
    calibration = Calibration(
        threshold=2, map_threshold=1, false_reject=0.1, confidence=0.95, normals=29, rank=29, unsure_from=1.5
    )
    with pytest.raises(NoNumberError):
        judged(sound, calibration, DEFAULT_RULES, mm_per_px=None, edited=value)
    with pytest.raises(NoNumberError):
        decide(value, 2.0, (), Policy())
    with pytest.raises(NoNumberError):
        decide(1.0, value, (), Policy())
    with pytest.raises(NoNumberError):
        decide(1.0, 2.0, (), Policy(), mm_per_px=value)
    with pytest.raises(NoNumberError):
        decide(1.0, 2.0, (Finding("a", "unet", 0, 0, 1, 1, 1, confidence=value),), Policy())


def test_quality_that_is_no_number_breaks_every_limit_on_it() -> None:
    class Limits:
        min_brightness = max_brightness = max_saturation = min_contrast = min_sharpness = None

    sound = ImageQuality(0.5, 0.1, 10.0, 0.0)
    assert judge(sound, Limits()) is None
    for name, limit, fault in (
        ("brightness", "min_brightness", "too-dark"),
        ("brightness", "max_brightness", "saturated"),
        ("saturation", "max_saturation", "saturated"),
        ("contrast", "min_contrast", "low-contrast"),
        ("sharpness", "min_sharpness", "blurred"),
    ):
        limits = Limits()
        setattr(limits, limit, 0.01 if limit.startswith("min") else 0.99)
        assert judge(sound, limits) is None
        assert judge(replace(sound, **{name: math.nan}), limits) == fault


@given(no_numbers, st.integers(0, 29))
def test_scores_that_are_no_numbers_calibrate_nothing(value: float, at: int) -> None:
    scores = np.linspace(1, 2, 30)
    spoilt = scores.copy()
    spoilt[at] = value
    for held_out in ((spoilt, scores), (scores, spoilt)):
        with pytest.raises(CalibrationError, match="1 of 30 scores are no numbers"):
            calibrate(*held_out)
        with pytest.raises(CalibrationError, match="are no numbers"):
            calibrate_at(1.5, *held_out, method="given")
    with pytest.raises(CalibrationError, match="are no numbers"):
        calibrate_at(value, scores, scores, method="given")
    with pytest.raises(CalibrationError, match="are no numbers"):
        threshold_by_cost(scores, spoilt)
