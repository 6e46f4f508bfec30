"""What a fit can be told: tiles, a region, wavering light, kept aspect, int8; each shows in what the model says."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from neverblink.job_life.settings import SettingsError
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.jobs import run_fit
from neverblink.trainer.fitting.settings import FitJob, FitSettings, settings_from
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.augmentation import brightened
from neverblink.vision.engines.intel import import_openvino
from neverblink.vision.errors import VisionError
from neverblink.vision.inspector import Inspector, extractor_of, features_key, inspect
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.tile_plan import TilePlan

SIDE = 64
LEFT_HALF = RegionOfInterest(inside=(((0, 0), (0.5, 0), (0.5, 1), (0, 1)),))


def brushed(height: int, width: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    lines = random.normal(130, 10, (height, 1, 1)) + random.normal(0, 4, (height, width, 1))
    return np.repeat(lines, 3, axis=2).clip(0, 255).astype(np.uint8)


def pitted(image: np.ndarray, top: int, left: int) -> np.ndarray:
    image = image.copy()
    cv2.circle(image, (left, top), 7, (20, 20, 20), -1)
    return image


def written(folder: Path, count: int, height: int, width: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), brushed(height, width, number))
    return paths


def fitted(images: list[Path], folder: Path, **changes: object) -> Artifact:
    settings = FitSettings(**({"product": "plate", "name": "plate", "size": SIDE, "ratio": 0.05} | changes))  # type: ignore[arg-type]
    fit(images, folder, settings)
    return load_artifact(folder)


def scores(artifact: Artifact, *images: np.ndarray) -> list[float]:
    inspector = Inspector(artifact, extractor_of(artifact))
    return [anomaly.score for anomaly in inspect([(inspector, image) for image in images])]


@pytest.mark.plant
def test_a_small_pit_on_a_large_sheet_is_found_with_tiles_and_overlooked_without(tmp_path: Path) -> None:
    images = written(tmp_path / "good", 12, 256, 512)
    pit = pitted(brushed(256, 512, 99), 200, 400)
    cut = fitted(images, tmp_path / "cut", tiling=TilePlan(tile=128, overlap=0.25))
    whole = fitted(images, tmp_path / "whole")
    assert cut.manifest.tiling is not None
    (found,), (overlooked,) = scores(cut, pit), scores(whole, pit)
    assert found / cut.threshold > 1
    assert found / cut.threshold > overlooked / whole.threshold


def test_cut_images_are_of_one_size(tmp_path: Path) -> None:
    images = written(tmp_path / "good", 3, 128, 128)
    cv2.imwrite(str(images[2]), brushed(128, 160, 5))
    with pytest.raises(DatasetError, match=r"02\.png has 160 × 128 pixels and .* must be of one size"):
        fitted(images, tmp_path / "cut", tiling=TilePlan(tile=64))


def test_cut_images_may_differ_by_a_few_pixels(tmp_path: Path) -> None:
    images = written(tmp_path / "good", 4, 128, 256)
    cv2.imwrite(str(images[1]), brushed(125, 259, 5))
    plan = TilePlan(tile=100)
    cut = fitted(images, tmp_path / "cut", tiling=plan)
    assert len(cut.scores) == 4
    near = pitted(brushed(126, 252, 9), 60, 200)
    assert scores(cut, near)[0] > cut.threshold


@pytest.mark.parametrize("plan", [None, pytest.param(TilePlan(tile=64, overlap=0.25), marks=pytest.mark.plant)])
def test_what_lies_outside_the_region_is_neither_learnt_nor_judged(tmp_path: Path, plan: TilePlan | None) -> None:
    images = written(tmp_path / "good", 12, 128, 128)
    everywhere = fitted(images, tmp_path / "all", tiling=plan, size=128)
    left = fitted(images, tmp_path / "left", tiling=plan, size=128, region=LEFT_HALF)
    assert left.region is not None
    assert len(left.bank) < 0.7 * len(everywhere.bank)
    sheet = brushed(128, 128, 50)
    inside, outside = scores(left, pitted(sheet, 60, 30), pitted(sheet, 60, 120))
    assert inside > left.threshold
    assert outside < left.threshold
    assert scores(everywhere, pitted(sheet, 60, 120))[0] > everywhere.threshold


@pytest.mark.plant
def test_a_bank_that_knows_dim_copies_is_calmer_in_dim_light(tmp_path: Path) -> None:
    images = written(tmp_path / "good", 12, SIDE, SIDE)
    plain = fitted(images, tmp_path / "plain", brightness=(1.0,))
    lit = fitted(images, tmp_path / "lit", brightness=(0.7, 1.0, 1.3))
    assert lit.manifest.provenance.brightness == (0.7, 1.0, 1.3)
    assert len(lit.bank) == pytest.approx(3 * len(plain.bank), rel=0.05)
    assert len(lit.scores) == len(plain.scores) == 12
    dim = brightened(brushed(SIDE, SIDE, 70), 0.72)
    assert scores(lit, dim)[0] / lit.threshold < scores(plain, dim)[0] / plain.threshold


def test_padding_is_not_judged_where_the_aspect_is_kept(tmp_path: Path) -> None:
    images = written(tmp_path / "good", 8, 32, SIDE)
    artifact = fitted(images, tmp_path / "wide", keep_aspect=True)
    assert artifact.backbone.preprocess.aspect == 2
    assert artifact.region is not None
    assert artifact.region.mean() == 0.5
    (anomaly,) = inspect([(Inspector(artifact, extractor_of(artifact)), brushed(32, SIDE, 40))])
    assert anomaly.anomaly_map.shape == (32, SIDE)


def test_the_mean_of_the_highest_patches_is_below_the_highest(tmp_path: Path) -> None:
    images = written(tmp_path / "good", 8, SIDE, SIDE)
    highest, mean = (fitted(images, tmp_path / f"top-{top}", top=top) for top in (1, 5))
    np.testing.assert_array_equal(highest.bank, mean.bank)
    assert mean.manifest.top == 5
    assert scores(mean, brushed(SIDE, SIDE, 9))[0] < scores(highest, brushed(SIDE, SIDE, 9))[0]


def test_the_model_says_which_engine_made_it_and_how_far_pytorch_is_from_that(tmp_path: Path) -> None:
    artifact = fitted(written(tmp_path / "good", 6, SIDE, SIDE), tmp_path / "plate")
    assert artifact.manifest.engine == "openvino"
    (checked,) = artifact.manifest.engines
    assert checked.name == "torch"
    assert checked.difference < 1e-4


def test_an_int8_model_carries_its_network_and_scores_as_it_was_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How far 8 bits move the scores of 60 pictures at 64 px hangs on the processor: on some by more than is allowed.
    monkeypatch.setattr("neverblink.trainer.fitting.fit.check_shift", lambda *_: None)
    images = written(tmp_path / "good", 60, SIDE, SIDE)
    artifact = fitted(images, tmp_path / "int8", engine="openvino-int8")
    assert artifact.manifest.engine == "openvino-int8"
    extractor = extractor_of(artifact)
    assert extractor.engine_name == "openvino-int8"
    sheet = brushed(SIDE, SIDE, 80)
    good, pit = scores(artifact, sheet, pitted(sheet, 30, 30))
    assert pit > artifact.threshold
    assert good < 1.5 * artifact.threshold


@pytest.mark.skipif(
    "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this processor does not multiply bfloat16: the engine openvino-bf16 cannot run",
)
def test_a_bfloat16_model_runs_on_the_engine_that_made_its_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    # At 64 px it moves the scores by more than is allowed, which is not what is asked here.
    monkeypatch.setattr("neverblink.trainer.fitting.fit.check_shift", lambda reference, _: tried.append(len(reference)))
    images = written(tmp_path / "good", 60, SIDE, SIDE)
    artifact = fitted(images, tmp_path / "bf16", engine="openvino-bf16")
    plain = fitted(images, tmp_path / "fp32", engine="openvino")
    assert artifact.manifest.engine == "openvino-bf16"
    assert tried == [60]
    assert extractor_of(artifact, engine="openvino").engine_name == "openvino-bf16"
    assert features_key(artifact) != features_key(plain)
    with pytest.raises(VisionError, match="fit it with openvino-bf16"):
        extractor_of(plain, engine="openvino-bf16")
    sheet = brushed(SIDE, SIDE, 80)
    good, pit = scores(artifact, sheet, pitted(sheet, 30, 30))
    assert pit > artifact.threshold
    assert good < 1.5 * artifact.threshold


@pytest.mark.plant
def test_an_int8_model_is_tried_on_the_labelled_images_beside_the_good_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "good", 60, SIDE, SIDE)
    plates = tmp_path / "plates"
    for label in ("train/good", "test/good", "test/pit"):
        (plates / label).mkdir(parents=True)
    for number, path in enumerate(sorted((tmp_path / "good").iterdir())):
        path.rename(plates / "train/good" / path.name)
        if number < 3:
            sheet = brushed(SIDE, SIDE, 100 + number)
            cv2.imwrite(str(plates / f"test/good/{number}.png"), sheet)
            cv2.imwrite(str(plates / f"test/pit/{number}.png"), pitted(sheet, 30, 30))
    tried: list[list[bool] | None] = []

    def seen(_reference: np.ndarray, _candidate: np.ndarray, *, labels: np.ndarray | None = None) -> None:
        tried.append(None if labels is None else labels.tolist())

    monkeypatch.setattr("neverblink.trainer.fitting.fit.check_shift", seen)
    run_fit(
        FitJob(images=plates, product="plate", out=tmp_path / "int8", size=SIDE, ratio=0.05, engine="openvino-int8")
    )
    assert tried == [None, [False] * 3 + [True] * 3]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": 8.5}, "size: "),
        ({"brightness": ["0.8", "x"]}, "brightness.1: "),
        ({"engine": "abacus"}, "engine: "),
        ({"version": "a b"}, "version: letters, digits"),
        ({"tiling": {"tile": 4}}, "tiling.tile: "),
        ({"region": Path("/nowhere/region.yaml")}, "region /nowhere/region.yaml cannot be read"),
    ],
)
def test_a_setting_from_outside_that_cannot_be_used_is_named(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from({"product": "plate", "name": "plate"} | values)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_polygons_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "region.yaml"
    file.write_text("inside: [[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]")
    assert settings_from({"product": "p", "name": "p", "region": file}).region == LEFT_HALF
    file.write_text("inside: [")
    with pytest.raises(SettingsError, match="is not valid YAML"):
        settings_from({"product": "p", "name": "p", "region": file})
