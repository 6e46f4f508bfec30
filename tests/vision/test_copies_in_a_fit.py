"""A fit on pictures that lie in the folder several times promises what the different ones can."""

import shutil
from pathlib import Path

import cv2
import pytest
from plates import SIDE, plate, write_plates

from neverblink.trainer.datasets.images import DatasetError, images_in
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.recalibrate import Wish, recalibrate
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.artifact import load_artifact
from neverblink.vision.calibration import CalibrationError, tightest_promise
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import Inspector, extractor_of, inspect

SETTINGS = FitSettings(product="plate", name="plate", size=SIDE, engine="torch")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ten plates once, and the same ten three times: twice as they are, once saved anew with loss."""
    place = tmp_path_factory.mktemp("copies")
    once = write_plates(place / "once", train=10, test=1) / "train/good"
    thrice = place / "thrice"
    thrice.mkdir()
    for path in images_in(once):
        shutil.copy(path, thrice / path.name)
        shutil.copy(path, thrice / f"{path.stem}_copy.png")
        cv2.imwrite(str(thrice / f"{path.stem}_saved.jpg"), cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return {"once": once, "thrice": thrice, "models": place / "models"}


def test_ten_pictures_in_three_copies_promise_what_ten_promise(folders: dict[str, Path]) -> None:
    once = fit(images_in(folders["once"]), folders["models"] / "once", SETTINGS)
    thrice = fit(images_in(folders["thrice"]), folders["models"] / "thrice", SETTINGS)
    calibration = thrice.artifact.manifest.calibration
    assert calibration.false_reject == once.artifact.manifest.calibration.false_reject == tightest_promise(10)
    assert calibration.normals == 10
    assert "from 10 good images" in calibration.statement()
    assert len(thrice.artifact.manifest.provenance.images) == thrice.images == 30
    assert thrice.artifact.manifest.provenance.groups == tuple(number for number in range(10) for _ in range(3))
    assert load_artifact(folders["models"] / "thrice").manifest == thrice.artifact.manifest
    equal, near = thrice.notes
    assert "10 of 30 pictures have the pixels of another one and count once with it: 000_copy.png and 000.png" in equal
    assert "10 of 30 pictures show nearly the pixels of another one" in near
    assert "000_saved.jpg and 000.png" in near
    assert not once.notes
    assert not once.artifact.manifest.provenance.groups


def test_copies_do_not_make_fresh_good_parts_rejects(folders: dict[str, Path]) -> None:
    artifact = fit(images_in(folders["thrice"]), folders["models"] / "fresh", SETTINGS).artifact
    inspector = Inspector(artifact, extractor_of(artifact, engine="torch"))
    fresh = []
    for seed in range(5000, 5028):
        cv2.imwrite(str(folders["models"] / "plate.png"), plate(seed)[0])
        fresh.append(read_image(folders["models"] / "plate.png"))
    rejected = sum(one.score > artifact.threshold for one in inspect([(inspector, image) for image in fresh]))
    assert rejected <= 28 * artifact.manifest.calibration.false_reject


def test_a_promise_that_only_copies_could_keep_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    wanted = FitSettings(product="plate", name="plate", size=SIDE, engine="torch", false_reject=0.1)
    with pytest.raises(CalibrationError, match="10 good images cannot promise a false-reject rate of 10 %"):
        fit(images_in(folders["thrice"]), tmp_path / "model", wanted)
    fit(images_in(folders["thrice"]), tmp_path / "kept", SETTINGS)
    with pytest.raises(CalibrationError, match="10 good images cannot promise"):
        recalibrate(tmp_path / "kept", tmp_path / "other", Wish(false_reject=0.1))


def test_one_part_photographed_once_and_copied_is_not_enough(folders: dict[str, Path], tmp_path: Path) -> None:
    first = images_in(folders["once"])[0]
    for number in range(5):
        shutil.copy(first, tmp_path / f"{number}.png")
    with pytest.raises(DatasetError, match="all 5 pictures are copies of one"):
        fit(images_in(tmp_path), tmp_path / "model", SETTINGS)
