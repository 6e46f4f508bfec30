"""Groups count as one in a promise, an odd picture that makes the threshold is named, and other parts are told."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from plates import SIDE, plate

from neverblink.events.parts import CalibratedScores
from neverblink.trainer.evaluation.jobs import run_evaluate
from neverblink.trainer.evaluation.settings import EvaluateJob
from neverblink.trainer.fitting.jobs import run_calibrate, run_fit
from neverblink.trainer.fitting.results import FitResult
from neverblink.trainer.fitting.settings import CalibrateJob, FitJob
from neverblink.trainer.offline_inspection.job import run_inspect
from neverblink.trainer.offline_inspection.settings import InspectJob
from neverblink.vision.artifact import load_artifact
from neverblink.vision.calibration import tightest_promise
from neverblink.vision.errors import VisionError

ITEMS, SHOTS = 6, 5
ODD = "item3/2.png"


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six items of five plates each; one of the thirty has a scratch that nobody saw."""
    folder = tmp_path_factory.mktemp("items")
    for item in range(ITEMS):
        (folder / "pictures" / f"item{item}").mkdir(parents=True)
        for shot in range(SHOTS):
            name = f"item{item}/{shot}.png"
            image, _ = plate(100 * item + shot, scratched=name == ODD)
            cv2.imwrite(str(folder / "pictures" / name), image)
    return folder


def fitted(items: Path, name: str, **settings: object) -> FitResult:
    asked = {"images": items / "pictures", "product": "plate", "size": SIDE, "engine": "torch", "out": items / name}
    return run_fit(FitJob.model_validate(asked | {"group_by": "folder"} | settings))


@pytest.fixture(scope="module")
def grouped(items: Path) -> FitResult:
    return fitted(items, "grouped")


def test_pictures_of_a_folder_count_as_one_and_share_a_fold(items: Path, grouped: FitResult) -> None:
    artifact = load_artifact(items / "grouped")
    calibration, made = artifact.manifest.calibration, artifact.manifest.provenance
    assert (calibration.normals, calibration.pictures) == (ITEMS, ITEMS * SHOTS)
    assert calibration.false_reject == tightest_promise(ITEMS)
    assert "from 6 groups of 30 good images" in calibration.statement()
    assert made.grouped_by == "folder"
    assert made.groups == tuple(item for item in range(ITEMS) for _ in range(SHOTS))
    assert len(artifact.picture_scores) == ITEMS * SHOTS
    assert set(artifact.scores) <= set(artifact.picture_scores)
    drift = CalibratedScores.of(artifact.picture_scores.tolist(), artifact.threshold, calibration.normals)
    assert drift is not None
    assert drift.count == ITEMS
    assert drift.quantiles[2] == pytest.approx(np.median(artifact.picture_scores) / artifact.threshold, rel=0.01)
    assert any("30 pictures are 6 groups of 5 by folder" in note for note in grouped.notes)


def test_the_picture_that_made_the_threshold_is_named_and_shown(items: Path, grouped: FitResult) -> None:
    (odd,) = grouped.suspicious
    assert odd.path == items / "pictures" / ODD
    assert odd.score == pytest.approx(grouped.threshold)
    assert odd.threshold_without is not None
    assert odd.threshold_without < 0.6 * grouped.threshold
    (said,) = [note for note in grouped.notes if "stands out" in note]
    assert str(odd.path) in said
    assert "--exclude" in said
    page = grouped.suspicious_page
    assert page == items / "grouped-suspicious.html"
    assert page.read_text().count("<figure>") == 1
    assert "data:image/jpeg" in page.read_text()


def test_what_is_excluded_by_name_makes_no_threshold_and_is_on_record(items: Path, grouped: FitResult) -> None:
    without = fitted(items, "excluded", exclude=("item3/2.png",))
    assert without.threshold < 0.6 * grouped.threshold
    assert not without.suspicious
    assert without.suspicious_page is None
    made = load_artifact(items / "excluded").manifest.provenance
    assert list(made.excluded) == [ODD]
    assert made.excluded[ODD] not in made.images
    assert "1 pictures were left out by --exclude" in without.notes


def test_a_robust_fit_leaves_the_odd_picture_out_and_says_what_it_assumes(items: Path, grouped: FitResult) -> None:
    robust = fitted(items, "robust", robust=True)
    assert robust.threshold < 0.6 * grouped.threshold
    assert robust.images == ITEMS * SHOTS - 1
    assert [(one.path.name, one.left_out) for one in robust.suspicious] == [("2.png", True)]
    assert any("The promise holds only if it is indeed not good" in note for note in robust.notes)
    artifact = load_artifact(items / "robust")
    assert artifact.manifest.calibration.taken_out == 1
    assert "holds only if the 1 image that stood out" in artifact.manifest.calibration.statement()
    assert list(artifact.manifest.provenance.excluded) == [ODD]


def test_another_threshold_keeps_what_is_known_of_the_groups(items: Path, grouped: FitResult) -> None:
    job = CalibrateJob(artifact=items / "grouped", out=items / "other", false_reject=0.45)
    assert "groups of 30 good images" in run_calibrate(job).promise
    assert len(load_artifact(items / "other").picture_scores) == ITEMS * SHOTS
    with pytest.raises(VisionError, match="6 groups cannot promise a false-reject rate of 1 %"):
        run_calibrate(CalibrateJob(artifact=items / "grouped", out=items / "none", false_reject=0.01))


def test_good_parts_of_another_kind_are_told_by_evaluate_and_calibrate(items: Path) -> None:
    fitted(items, "clean", group_by=None, images=_without_groups(items))
    for kind, turns in (("alike", 0), ("turned", 1)):
        for name, seed, scratched in (("good", 5000, False), ("scratch", 6000, True)):
            place = items / kind / "test" / name
            place.mkdir(parents=True)
            for number in range(12):
                image, _ = plate(seed + number, scratched=scratched)
                cv2.imwrite(str(place / f"{number}.png"), np.rot90(image, turns))
    jobs = {
        kind: EvaluateJob(images=items / kind, artifact=items / "clean", engine="torch", report=items / f"{kind}.html")
        for kind in ("alike", "turned")
    }
    alike, turned = run_evaluate(jobs["alike"]), run_evaluate(jobs["turned"])
    assert "Not like the parts of the calibration" not in (items / "alike.html").read_text()
    assert "Not like the parts of the calibration" in (items / "turned.html").read_text()
    assert alike.result(items / "clean").like_calibration is True
    assert turned.result(items / "clean").like_calibration is False
    assert not any("not like those" in note for note in alike.notes)
    (said,) = [note for note in turned.notes if "not like those" in note]
    assert "Fit again with pictures of these" in said
    job = CalibrateJob(artifact=items / "clean", out=items / "third", false_reject=0.3, images=items / "turned")
    assert any("not like those" in note for note in run_calibrate(job).notes)
    for kind, told in (("alike", False), ("turned", True)):
        place = items / kind / "test/good"
        lot = run_inspect(InspectJob(images=place, artifact=items / "clean", out=items / f"lot-{kind}", engine="torch"))
        assert any("score higher than the 29" in note for note in lot.notes) is told


def _without_groups(items: Path) -> Path:
    """Return one folder with all good plates."""
    folder = items / "flat"
    folder.mkdir()
    for path in sorted((items / "pictures").rglob("*.png")):
        if not path.match(ODD):
            shutil.copy(path, folder / f"{path.parent.name}-{path.stem}.png")
    return folder
