"""Parts that fell alike make pictures alike, and are as many witnesses as there are parts."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from lying_parts import Lying, ground, laid, looks

from neverblink.trainer.datasets.found_parts import learnt_parts, with_parts
from neverblink.trainer.fitting.picture_set import PictureSet, check_promise, picture_set
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.upright_copies import told_apart
from neverblink.vision.alignment.view import Pose
from neverblink.vision.calibration import CalibrationError

PLATES, SAVED_TWICE = 60, 6
SETTINGS = FitSettings(product="plate", name="plate", align="silhouette", false_reject=0.05)


def on_a_turntable(seed: int) -> Lying:
    """Return a plate in the picture's middle at any angle under even light: little but its angle tells its picture."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, 120)
    return Lying(laid(ground(240, 320, random), 160, 120, angle, looks(seed)), 160, 120, angle)


def looked_at(folder: Path, settings: FitSettings) -> tuple[PictureSet, list[Path]]:
    paths = []
    for seed in range(PLATES):
        picture = on_a_turntable(seed).picture[..., ::-1]
        paths.append(folder / f"{seed:02}.png")
        cv2.imwrite(str(paths[-1]), picture)
        if seed < SAVED_TWICE:
            paths.append(folder / f"{seed:02}_again.jpg")
            cv2.imwrite(str(paths[-1]), picture, [cv2.IMWRITE_JPEG_QUALITY, 75])
    given = picture_set(paths, settings, lambda *_: None, root=folder, excluded={}, skip_unusable=False)
    return given, paths


def test_parts_that_lie_alike_count_each_and_what_was_saved_twice_counts_once(tmp_path: Path) -> None:
    given, paths = looked_at(tmp_path, SETTINGS)
    assert given.groups.count < PLATES - 10, "as whole pictures many are taken for copies"
    poses: dict[Path, Pose] = {}
    aligner = learnt_parts("silhouette", paths[:24], None).aligner
    with_parts(paths, lambda path: path, aligner, poses=poses)
    apart = told_apart(given, aligner, poses, None)
    assert apart.groups.count == PLATES
    assert len(apart.usable.copies.near) == SAVED_TWICE
    (said,) = apart.usable.notes()
    assert "6 of 66 pictures show nearly the pixels of another one" in said
    check_promise(apart, SETTINGS)


def test_a_promise_is_refused_by_whole_pictures_only_where_nothing_is_aligned(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="good images"):
        looked_at(tmp_path, SETTINGS.model_copy(update={"align": "none"}))
