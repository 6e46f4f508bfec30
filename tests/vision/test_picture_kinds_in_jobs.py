"""Every kind of picture is used by every job that reads folders, and a damaged one stops it or is a row."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from plates import SIDE, write_plates

from neverblink.camera.sources import ordered_images
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.trainer.datasets.inputs import FolderInputs
from neverblink.trainer.evaluation.evaluate import evaluate
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.decode import ImageError
from neverblink.vision.region import read_mask

SETTINGS = FitSettings(product="plate", name="plate", size=SIDE)
LOSSLESS = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}


def rewritten(folder: Path, *suffixes: str) -> Path:
    """Write the pictures of a data set anew, in these formats in turn."""
    for number, path in enumerate(sorted([*folder.glob("train/*/*.png"), *folder.glob("test/*/*.png")])):
        suffix = suffixes[number % len(suffixes)]
        image = cv2.imread(str(path))
        path.unlink()
        assert image is not None
        assert cv2.imwrite(str(path.with_suffix(suffix)), image, LOSSLESS.get(suffix, []))
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_plates(tmp_path_factory.mktemp("mixed") / "plates")
    return rewritten(folder, ".tif", ".webp", ".bmp", ".tiff", ".png")


def test_no_picture_of_any_kind_is_passed_over(mixed: Path, tmp_path: Path) -> None:
    assert len(good_images(mixed)) == len(list((mixed / "train/good").iterdir())) == 10
    assert sum(image.defect == "scratch" for image in labelled_images(mixed)) == 6
    assert FolderInputs(mixed / "test").total == 12
    assert len(ordered_images(mixed / "test", shuffle=False, seed=0)) == 12


def test_a_camera_folder_shows_no_hidden_files(mixed: Path, tmp_path: Path) -> None:
    good = mixed / "test/good"
    hidden = tmp_path / ".ipynb_checkpoints"
    hidden.mkdir()
    for name in ("part.png", "._part.png", ".ipynb_checkpoints/part-checkpoint.png"):
        (tmp_path / name).write_bytes(min(good.iterdir()).read_bytes())
    assert [path.name for path in ordered_images(tmp_path, shuffle=False, seed=0)] == ["part.png"]


def test_a_model_of_all_kinds_is_that_of_one(mixed: Path, tmp_path: Path) -> None:
    one = write_plates(tmp_path / "png")
    of_all = fit(good_images(mixed), tmp_path / "all", SETTINGS).artifact
    of_one = fit(good_images(one), tmp_path / "one", SETTINGS).artifact
    assert of_all.threshold == of_one.threshold
    found = evaluate(labelled_images(mixed), tmp_path / "all")
    assert (found.good, found.defective, found.missed) == (6, 6, 0)


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".webp", ".png"])
def test_a_region_mask_may_be_of_any_kind(suffix: str, tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:50] = 255
    path = tmp_path / f"region{suffix}"
    cv2.imwrite(str(path), mask, LOSSLESS.get(suffix, []))
    np.testing.assert_array_equal(read_mask(path), mask > 0)


def test_a_jpeg_with_half_its_scan_stops_a_fit_with_its_name_and_is_a_row_of_an_inspection(tmp_path: Path) -> None:
    folder = rewritten(write_plates(tmp_path / "plates"), ".jpg")
    path = folder / "train/good/007.jpg"
    whole = path.read_bytes()
    scan = whole.index(b"\xff\xda")
    path.write_bytes(whole[: scan + (len(whole) - scan) // 2] + b"\xff\xd9")
    with pytest.raises(ImageError, match=r"007\.jpg: the JPEG is damaged") as told:
        fit(good_images(folder), tmp_path / "artifact", SETTINGS)
    assert told.value.reason == "corrupt-image"

    refused = []
    for one in FolderInputs(folder / "train/good").go_through():
        try:
            one.read()
        except ImageError as error:
            refused.append((one.origin.name, error.reason))
    assert refused == [("007.jpg", "corrupt-image")]
