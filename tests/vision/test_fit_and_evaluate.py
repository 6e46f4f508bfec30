"""From a folder of good parts to a model that finds defects and keeps its promise."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from neverblink.trainer.datasets.images import DatasetError, good_images, labelled_images
from neverblink.trainer.evaluation.evaluate import evaluate
from neverblink.trainer.evaluation.pixel_ranking import PixelRanking
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.artifact import load_artifact
from neverblink.vision.calibration import CalibrationError
from neverblink.vision.decode import ImageError, read_image
from neverblink.vision.patchcore import FeatureExtractor, PatchCore

SIDE = 96


def part(seed: int, *, scratched: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A brushed metal plate with a hole, and the mask of its scratch."""
    random = np.random.default_rng(seed)
    brushed = np.repeat(random.normal(140, 12, (SIDE, 1)), SIDE, axis=1) + random.normal(0, 5, (SIDE, SIDE))
    image = np.clip(brushed, 0, 255).astype(np.uint8)
    cv2.circle(image, (48 + int(random.integers(-2, 3)), 48), 14, 30, -1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if scratched:
        start = random.integers(8, 24, 2)
        cv2.line(mask, start.tolist(), (start + random.integers(12, 22, 2)).tolist(), 255, 3)
        image[mask > 0] = 235
    return image, mask


def plates(folder: Path, good: int = 24, test: int = 8) -> Path:
    """Write an MVTec layout."""
    for name, count, start, scratched in (
        ("train/good", good, 0, False),
        ("test/good", test, 1000, False),
        ("test/scratch", test, 2000, True),
    ):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image, mask = part(start + number, scratched=scratched)
            cv2.imwrite(str(folder / name / f"{number:03}.png"), image)
            if scratched:
                (folder / "ground_truth/scratch").mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f"ground_truth/scratch/{number:03}_mask.png"), mask)
    return folder


def settings(**changes: object) -> FitSettings:
    return FitSettings(**({"product": "plate", "name": "plate", "size": SIDE} | changes))  # type: ignore[arg-type]


def test_a_model_of_good_plates_finds_every_scratch_and_says_where(tmp_path: Path) -> None:
    folder = plates(tmp_path / "plates")
    stages: list[str] = []
    fitted = fit(good_images(folder), tmp_path / "plate-1", settings(), lambda stage, *_: stages.append(stage))
    assert list(dict.fromkeys(stages)) == [
        "checking the pictures",
        "extracting features",
        "choosing the memory bank",
        "calibrating",
    ]
    # Of so few images a quarter of the patches.
    assert fitted.artifact.bank.shape == (round(0.25 * 24 * 12 * 12), 152)
    assert load_artifact(tmp_path / "plate-1").probe is not None
    result = evaluate(labelled_images(folder), tmp_path / "plate-1")
    assert result.image_auroc == result.average_precision == 1
    assert (result.missed, result.recall) == (0, {"scratch": 1.0})
    assert result.pixel_auroc is not None
    assert result.pixel_auroc > 0.95


def test_the_artifact_scores_after_loading_as_the_fitted_model_promised(tmp_path: Path) -> None:
    folder = plates(tmp_path / "plates", good=20, test=1)
    fitted = fit(good_images(folder), tmp_path / "plate-1", settings(neighbours=5))
    artifact = load_artifact(tmp_path / "plate-1", digest=fitted.artifact.digest)
    assert artifact.neighbours is not None
    calibration = artifact.manifest.calibration
    assert calibration.threshold == artifact.scores[calibration.rank - 1]
    assert len(artifact.manifest.provenance.images) == calibration.normals == 20
    extractor = FeatureExtractor.from_spec(artifact.backbone)
    features = extractor.extract([read_image(path) for path in good_images(folder)])
    scores = [anomaly.score for anomaly in PatchCore.from_artifact(artifact).score(features)]
    # The bank has seen these images, the calibration's banks had not.
    assert np.median(scores) < np.median(artifact.scores)


def test_fitting_twice_gives_the_same_bank_and_threshold(tmp_path: Path) -> None:
    images = good_images(plates(tmp_path / "plates", good=12, test=1))
    one = fit(images, tmp_path / "one", settings()).artifact
    two = fit(images, tmp_path / "two", settings()).artifact
    np.testing.assert_array_equal(one.bank, two.bank)
    assert one.threshold == two.threshold
    assert not np.array_equal(one.bank, fit(images, tmp_path / "three", settings(seed=1)).artifact.bank)


def test_a_promise_that_needs_more_images_is_refused_before_the_work(tmp_path: Path) -> None:
    folder = plates(tmp_path / "plates", good=10, test=1)
    stages: list[str] = []
    with pytest.raises(CalibrationError, match="59 are needed"):
        fit(
            good_images(folder),
            tmp_path / "plate-1",
            settings(false_reject=0.05),
            lambda stage, *_: stages.append(stage),
        )
    assert stages == []
    assert not (tmp_path / "plate-1").exists()


def test_folders_that_cannot_be_used_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no folder"):
        good_images(tmp_path / "gone")
    (tmp_path / "train/good").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"train/good has no images"):
        good_images(tmp_path)
    with pytest.raises(DatasetError, match="no folder `test`"):
        labelled_images(tmp_path)


def test_a_text_file_named_png_stops_the_fit_with_its_name(tmp_path: Path) -> None:
    folder = plates(tmp_path / "plates", good=3, test=1)
    (folder / "train/good/notes.png").write_text("remember to clean the lens")
    with pytest.raises(ImageError, match=r"notes\.png: not a PNG, JPEG, TIFF, WebP or BMP image"):
        fit(good_images(folder), tmp_path / "plate-1", settings())


def test_pixel_auroc_in_constant_memory_is_the_one_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    maps = random.gamma(2, 1, (6, 64, 64)).astype(np.float32)
    truths = random.random((6, 64, 64)) < 0.05
    maps[truths] += 0.8
    ranking = PixelRanking()
    for anomaly_map, truth in zip(maps, truths, strict=True):
        ranking.add(anomaly_map, truth)
    assert ranking.auroc() == pytest.approx(roc_auc_score(truths.ravel(), maps.ravel()), abs=1e-4)
    assert PixelRanking().auroc() is None
