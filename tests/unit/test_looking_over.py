"""Pictures looked over before a fit: what cannot be used, what repeats another, what differs from the others."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from neverblink.trainer.collecting.jobs import run_look_over
from neverblink.trainer.collecting.results import LookOverResult
from neverblink.trainer.collecting.settings import LookOverJob
from neverblink.trainer.datasets.images import DatasetError

COUNT = 24


def part(seed: int) -> npt.NDArray[np.uint8]:
    """Return a part of its own on a fixture that all share."""
    random = np.random.default_rng(seed)
    image = np.full((64, 96, 3), 120, np.uint8)
    cv2.circle(image, (48, 32), 20, (200, 190, 180), -1)
    for _ in range(5):
        at = random.integers(30, 60, 2)
        cv2.circle(image, at.tolist(), 3, random.integers(0, 90, 3).tolist(), -1)
    return np.clip(image + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "parts"
    place.mkdir()
    for number in range(COUNT):
        cv2.imwrite(str(place / f"{number:03}.png"), part(number))
    return place


def looked(folder: Path, **more: object) -> LookOverResult:
    return run_look_over(LookOverJob.model_validate({"images": folder, **more}))


def odd(result: LookOverResult) -> dict[str, tuple[str, ...]]:
    return {one.path: one.odd for one in result.pictures if one.odd}


def test_good_pictures_have_nothing_odd_and_promise_what_so_many_may(folder: Path) -> None:
    found = looked(folder)
    assert (len(found.pictures), found.witnesses, odd(found), found.unusable) == (COUNT, COUNT, {}, ())
    assert found.false_reject == pytest.approx(1 - 0.05 ** (1 / COUNT))
    assert (found.width, found.height) == (96, 64)


def test_what_differs_is_told_with_the_way_in_which_it_does(folder: Path) -> None:
    for name, image in {
        "dark": (part(50) * 0.5).astype(np.uint8),
        "bright": np.clip(part(51) * 1.4, 0, 255).astype(np.uint8),
        "blurred": cv2.GaussianBlur(part(52), (0, 0), 4),
        "large": cv2.resize(part(53), (192, 128)),
        "moved": np.roll(part(54), 40, axis=1),
    }.items():
        cv2.imwrite(str(folder / f"{name}.png"), image)
    told = odd(looked(folder))
    assert "darker" in told["dark.png"]
    assert "brighter" in told["bright.png"]
    assert "blurred" in told["blurred.png"]
    assert "size" in told["large.png"]
    assert "unlike" in told["moved.png"]
    assert set(told) == {"dark.png", "bright.png", "blurred.png", "large.png", "moved.png"}


def test_unusable_pictures_and_copies_are_named_and_copies_count_once(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "000.png").read_bytes()[:200])
    (folder / "zz-again.png").write_bytes((folder / "001.png").read_bytes())
    cv2.imwrite(str(folder / "zz-near.jpg"), part(2), [cv2.IMWRITE_JPEG_QUALITY, 90])
    found = looked(folder, gallery=tmp_path / "gallery")
    assert [(one.path, one.reason) for one in found.unusable] == [("broken.png", "corrupt-image")]
    copies = {one.path: (one.copy_of, one.near) for one in found.pictures if one.copy_of}
    assert copies == {"zz-again.png": ("001.png", False), "zz-near.jpg": ("002.png", True)}
    assert (len(found.pictures), found.witnesses) == (COUNT + 2, COUNT)
    shown = {one.picture for one in found.pictures}
    assert {path.name for path in (tmp_path / "gallery").iterdir()} == shown | {found.sample}


def test_labelled_defects_are_counted_by_type(folder: Path) -> None:
    layout = folder.parent / "layout"
    (layout / "train").mkdir(parents=True)
    folder.rename(layout / "train" / "good")
    for name in ("good", "scratch"):
        (layout / "test" / name).mkdir(parents=True)
        cv2.imwrite(str(layout / "test" / name / "0.png"), part(90))
    assert looked(layout).defects == {"scratch": 1}


def test_too_many_or_no_pictures_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="24 pictures, and 10 are the most"):
        looked(folder, most=10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="has no images"):
        looked(tmp_path / "empty")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"since": "2026-11-01T06:00"}, "name their --station"),
        ({"station": "top"}, "line-1/top"),
        ({"station": "line-1/top"}, "--plant FILE --from INSTANT"),
    ],
)
def test_frames_need_station_plant_and_instant(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LookOverJob.model_validate({"images": "pictures", **given})
