"""Pictures that belong together are one witness: by folder, minute or name, and never in silence."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.job_life.settings import SettingsError
from neverblink.trainer.datasets.exclusion import without_excluded
from neverblink.trainer.datasets.images import image_folder
from neverblink.trainer.datasets.labelled_image import DatasetError
from neverblink.trainer.datasets.picture_groups import group_pictures, proposal, times_in_names
from neverblink.trainer.fitting.settings import settings_from
from neverblink.vision.copies import joined_groups

ROOT = Path("/pictures")


def paths(*names: str) -> list[Path]:
    return [ROOT / name for name in names]


def test_a_folder_a_minute_and_what_brackets_catch_are_groups() -> None:
    named = paths("a/1.png", "b/1.png", "a/2.png")
    assert group_pictures(named, ROOT, "folder").group.tolist() == [0, 1, 0]
    timed = paths("x-20261129-180645.png", "x-2026-11-29T18-06-59.png", "x-20261129-180701.png")
    assert group_pictures(timed, ROOT, "minute").group.tolist() == [0, 0, 1]
    items = paths("item1_a.png", "item2_a.png", "lot/item1_b.png", "item2_c.png")
    assert group_pictures(items, ROOT, r"(item\d+)").group.tolist() == [0, 1, 0, 1]
    assert group_pictures(items, ROOT, r"(item\d+)").by == r"(item\d+)"


def test_times_are_found_in_the_names_that_cameras_and_frames_have() -> None:
    found = times_in_names(
        paths("IMG_20261129_180645123.jpg", "1764439605123.png", "0193a3c4-5b6c-7000-8000-0123456789ab.jpg", "7.png")
    )
    assert [None if one is None else f"{datetime.fromtimestamp(one, UTC):%F %H:%M}" for one in found] == [
        "2026-11-29 18:06",
        "2025-11-29 18:06",
        "2024-12-08 00:56",
        None,
    ]


def test_files_without_a_time_in_their_name_are_grouped_by_when_they_were_changed(tmp_path: Path) -> None:
    for number, seconds in enumerate((60_000, 60_010, 120_000)):
        file = tmp_path / f"{number}.png"
        file.touch()
        os.utime(file, (seconds, seconds))
    found = group_pictures(sorted(tmp_path.iterdir()), tmp_path, "minute")
    assert found.group.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("names", "by", "says"),
    [
        (("a/1.png", "a/2.png"), "folder", r"all 2 pictures into one group \(a\)"),
        (("a/1.png", "b/2.png"), "folder", "groups nothing: each of the 2 pictures is alone, such as a/1.png"),
        (("20261129-1806.png", "x.png"), "minute", "the names of 1 of 2 pictures tell a time, that of x.png"),
        (("p1_1.png", "q.png", "p1_2.png"), r"(p\d)", "matches 2 of 3 pictures, and not q.png"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused_in_a_sentence(names: tuple[str, ...], by: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        group_pictures(paths(*names), ROOT, by)


@pytest.mark.parametrize(("by", "says"), [("item", "lacks brackets"), ("(item", "no regular expression either")])
def test_a_rule_that_is_none_is_told_before_anything_is_read(by: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"group_by: .*{says}"):
        settings_from({"product": "p", "name": "p", "group_by": by})


def test_copies_share_a_group_whatever_the_rule_says() -> None:
    named = paths("a/1.png", "b/1.png", "c/1.png", "a/2.png", "b/2.png", "c/2.png")
    copies = np.array([0, 0, 1, 2, 3, 4])
    assert group_pictures(named, ROOT, "folder", copies).group.tolist() == [0, 0, 1, 0, 0, 1]
    with pytest.raises(DatasetError, match="copies tie all of them together"):
        group_pictures(named[:2] + named[3:5], ROOT, "folder", np.array([0, 0, 1, 2]))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40))
def test_joined_groups_tear_neither_apart(pairs: list[tuple[int, int]]) -> None:
    one, other = (np.array(labels) for labels in zip(*pairs, strict=True))
    joined = joined_groups(one, other)
    for label in (one, other):
        for value in np.unique(label):
            assert len(np.unique(joined[label == value])) == 1
    assert joined[0] == 0
    assert (np.diff(np.unique(joined)) == 1).all()


def _thumbnails(group: np.ndarray, apart: float) -> np.ndarray:
    random = np.random.default_rng(0)
    items = random.normal(0, 1, (int(group.max()) + 1, 50))
    return np.asarray(items[group] + apart * random.normal(0, 1, (len(group), 50)), dtype=np.float32)


def test_pictures_in_folders_are_proposed_as_groups_with_what_they_would_promise() -> None:
    named = [ROOT / f"lot{lot:02}/{number}.png" for lot in range(12) for number in range(25)]
    said = proposal(named, ROOT, _thumbnails(np.arange(300), 1), np.arange(300), lambda count: f"{count} %")
    assert said is not None
    assert "12 folders of 25 pictures each, such as lot00" in said
    assert "--group-by folder, which would promise 12 % from 12 groups" in said


def test_names_are_proposed_only_where_pictures_of_a_name_are_alike() -> None:
    group = np.repeat(np.arange(20), 5)
    named = [ROOT / f"item{one:02}_{number % 5}.png" for number, one in enumerate(group.tolist())]
    alike = proposal(named, ROOT, _thumbnails(group, 0.3), np.arange(100), str)
    assert alike is not None
    assert "20 groups by name of 5 pictures each" in alike
    rule = alike.split("--group-by '")[1].split("'")[0]
    assert group_pictures(named, ROOT, rule).group.tolist() == group.tolist()
    assert proposal(named, ROOT, _thumbnails(np.arange(100), 1), np.arange(100), str) is None


def test_neighbours_that_are_alike_without_a_name_for_it_are_told() -> None:
    named = [ROOT / f"{number}.png" for number in range(100)]
    said = proposal(named, ROOT, _thumbnails(np.repeat(np.arange(10), 10), 0.3), np.arange(100), str)
    assert said is not None
    assert "follow one another by name are much more alike" in said


def test_folders_of_items_are_read_when_pictures_are_grouped_and_named_when_not(tmp_path: Path) -> None:
    for place in ("item1", "item2/side"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").touch()
    with pytest.raises(DatasetError, match=r"its 2 folders have 2: .*--group-by folder"):
        image_folder(tmp_path, labelled=False)
    good = image_folder(tmp_path, labelled=False, deep=True).good
    assert [path.relative_to(tmp_path).as_posix() for path in good] == ["item1/1.png", "item2/side/1.png"]


def test_defects_of_a_labelled_folder_are_never_taken_for_good_ones(tmp_path: Path) -> None:
    for place in ("train/good/item1", "train/good/item2", "test/scratch/item1", "ground_truth/scratch"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").touch()
    good = image_folder(tmp_path, labelled=False, deep=True).good
    assert [path.parent.name for path in good] == ["item1", "item2"]
    assert all("train" in path.parts for path in good)


def test_pictures_are_left_out_by_file_name_or_pattern_and_remembered(tmp_path: Path) -> None:
    for place in ("lot7/1.png", "lot7/2.png", "lot8/1.png", "lot8/odd.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(place)
    every = sorted(tmp_path.rglob("*.png"))
    kept, out = without_excluded(every, tmp_path, ["lot7/*", str(tmp_path / "lot8/odd.png")])
    assert [path.relative_to(tmp_path).as_posix() for path in kept] == ["lot8/1.png"]
    assert list(out) == ["lot7/1.png", "lot7/2.png", "lot8/odd.png"]
    assert all(digest.startswith("sha256:") for digest in out.values())
    with pytest.raises(DatasetError, match=r"--exclude lot9/\* names none of the 4 pictures"):
        without_excluded(every, tmp_path, ["lot9/*"])
    with pytest.raises(DatasetError, match="leaves out all 4 pictures"):
        without_excluded(every, tmp_path, ["*.png"])
