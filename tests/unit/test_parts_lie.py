"""How parts lie, told before a fit: found as they lie, shown upright, and the pictures in which none is."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from lying_parts import ground, lying
from safetensors.numpy import save_file

from neverblink.trainer.collecting.jobs import run_look_over
from neverblink.trainer.collecting.results import PartsLie
from neverblink.trainer.collecting.settings import LookOverJob
from neverblink.vision.alignment.aligner import AlignmentError
from neverblink.vision.alignment.kept import kept_aligner

COUNT = 7


@pytest.fixture(scope="module")
def belt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of plates that lie anyhow, and of the bare belt."""
    folder = tmp_path_factory.mktemp("belt")
    for number in range(COUNT):
        cv2.imwrite(str(folder / f"{number:03}.png"), lying(number).picture[..., ::-1])
    cv2.imwrite(str(folder / "bare.png"), ground(240, 320, np.random.default_rng(1))[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def looked(belt: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PartsLie, Path]:
    gallery = tmp_path_factory.mktemp("gallery")
    found = told(belt, align="auto", gallery=gallery, apart=["bare.png"])
    assert found is not None
    return found, gallery


def told(folder: Path, **more: object) -> PartsLie | None:
    return run_look_over(LookOverJob.model_validate({"images": folder, **more})).parts


def apart(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)


def test_parts_that_lie_anyhow_are_found_as_they_lie_and_the_bare_belt_is_told_with_the_reason(
    looked: tuple[PartsLie, Path],
) -> None:
    found, gallery = looked
    assert (found.called_for, found.kind, found.found, found.not_found) == (True, "silhouette", COUNT, 1)
    assert [(one.path, one.picture) for one in found.lost] == [("bare.png", "00007.jpg")]
    assert found.lost[0].why == "no part stands out from the ground"
    turns = []
    for one in found.examples:
        truth = lying(int(one.path[:3]))
        assert np.hypot(one.x - truth.x, one.y - truth.y) < 4
        turns.append(one.angle - truth.angle)
        for name in (one.lies, one.upright):
            assert cv2.imread(str(gallery / str(name))) is not None
    assert max(apart(turn, turns[0]) for turn in turns) < 3, "all are turned the same way round"
    assert found.upright is not None
    assert cv2.imread(str(gallery / found.upright)).shape[:2] == (found.height, found.width)


def test_what_was_learnt_once_finds_parts_the_same_again(belt: Path, looked: tuple[PartsLie, Path]) -> None:
    first, gallery = looked
    again = told(belt, align="auto", alignment=gallery / str(first.alignment))
    assert again is not None
    assert (again.examples, again.width, again.found) == (
        tuple(one.model_copy(update={"lies": None, "upright": None}) for one in first.examples), first.width, COUNT,
    )  # fmt: skip


def test_parts_that_lie_alike_or_show_no_outline_are_not_looked_for(belt: Path, tmp_path: Path) -> None:
    assert told(belt) is None
    assert told(belt, align="none") is None
    for number in range(6):
        held = lying(number, angle=3.0, middle=(160.0, 120.0))
        cv2.imwrite(str(tmp_path / f"{number}.png"), held.picture[..., ::-1])
    found = told(tmp_path, align="auto")
    assert found is not None
    assert (found.called_for, found.kind, found.examples) == (False, None, ())
    assert "lie up to" in str(found.spread)
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), ground(240, 320, np.random.default_rng(number)))
    for align, said in (("auto", "neither outlines nor marks"), ("silhouette", "cannot be found by their outline")):
        found = told(tmp_path, align=align)
        assert found is not None
        assert said in str(found.refused)


def test_a_file_that_is_no_alignment_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "alignment.safetensors"
    with pytest.raises(AlignmentError, match="is no alignment that was kept"):
        kept_aligner(file)
    save_file({"templates": np.zeros((4, 8, 8), np.float32)}, str(file))
    with pytest.raises(AlignmentError, match="is no alignment that was kept"):
        kept_aligner(file)
