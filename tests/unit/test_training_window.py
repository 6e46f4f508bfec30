"""Which confirmed normals count, which are held out, and what an index may say."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neverblink.job_life.settings import SettingsError
from neverblink.trainer.datasets.confirmed_images import ConfirmedImage, confirmed_images, known_parts
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.retraining.settings import RetrainJob
from neverblink.trainer.retraining.training_window import (
    WindowError,
    WindowSettings,
    balanced,
    training_window,
)

MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
SMALL = WindowSettings(least=2, least_held_out=1)


def normal(number: int, at: timedelta | None = timedelta(), **more: str) -> ConfirmedImage:
    captured = None if at is None else MONDAY + at
    return ConfirmedImage(Path(f"{number}.png"), f"sha256:{number:064}", captured, **more)


def hourly(count: int, first: int = 0) -> list[ConfirmedImage]:
    return [normal(first + number, timedelta(hours=number)) for number in range(count)]


def test_only_the_last_weeks_count_and_the_newest_image_ends_them() -> None:
    images = [*hourly(200), normal(900, timedelta(days=-40)), normal(901, None)]
    window = training_window(images, WindowSettings(least=2, least_held_out=1, days=7))
    kept = {image.digest for image in (*window.learn, *window.held_out)}
    assert window.ends == MONDAY + timedelta(hours=199)
    assert window.outside == 200 - 7 * 24 + 1
    assert normal(900).digest not in kept
    assert normal(901).digest in kept, "an undated image lies in every window"
    earlier = WindowSettings(least=2, least_held_out=1, days=7, until=MONDAY + timedelta(hours=50))
    assert training_window(images, earlier).ends == MONDAY + timedelta(hours=50)


def test_an_image_stays_held_out_when_the_window_moves_on() -> None:
    first = training_window(hourly(300), SMALL)
    later = training_window([*hourly(300)[150:], *hourly(300, first=1000)], SMALL)
    held, learn = ({image.digest for image in images} for images in (first.held_out, first.learn))
    assert held
    assert held.isdisjoint(image.digest for image in later.learn)
    assert learn.isdisjoint(image.digest for image in later.held_out)
    assert 0.1 < len(held) / 300 < 0.3


def test_the_same_image_counts_once_and_lies_on_one_side() -> None:
    window = training_window([*hourly(100), *hourly(100)], SMALL)
    assert window.duplicates == 100
    digests = [image.digest for image in (*window.learn, *window.held_out)]
    assert len(digests) == len(set(digests)) == 100


def test_what_the_champion_was_fitted_to_is_never_held_out() -> None:
    known = frozenset(image.digest for image in hourly(60))
    window = training_window(hourly(100), SMALL, champion_knows=known)
    assert window.known_to_champion == 60
    assert known.isdisjoint(image.digest for image in window.held_out)


def test_held_out_by_time_are_the_newest() -> None:
    window = training_window(hourly(100), WindowSettings(least=2, by="time", hold_out=0.25))
    assert len(window.held_out) == 25
    assert max(image.captured for image in window.learn) < min(image.captured for image in window.held_out)
    with pytest.raises(WindowError, match="1 images do not say when they were captured"):
        training_window([*hourly(100), normal(900, None)], WindowSettings(least=2, by="time"))


def test_a_sample_is_even_over_days_and_shifts_and_the_same_for_a_seed() -> None:
    days = [normal(number, timedelta(minutes=number)) for number in range(8 * 60)]
    nights = [normal(1000 + number, timedelta(hours=17, minutes=number)) for number in range(20)]
    long_night = [normal(2000 + number, timedelta(hours=22.5, minutes=number)) for number in range(60)]
    drawn = balanced([*days, *nights, *long_night], 100, SMALL)
    counts = Counter("day" if image in days else "night" for image in drawn)
    assert counts == {"day": 50, "night": 50}, "a night runs past midnight and is one shift"
    assert drawn == balanced([*days, *nights, *long_night], 100, SMALL)
    other = balanced([*days, *nights, *long_night], 100, WindowSettings(seed=1))
    assert drawn != other
    few = balanced([*days, *nights], 100, SMALL)
    assert Counter(image in nights for image in few) == {True: 20, False: 80}, "what a shift lacks, others give"


def test_too_few_are_refused_with_what_to_do() -> None:
    with pytest.raises(WindowError, match=r"of 30 confirmed normals .* and 59 are needed: confirm more parts"):
        training_window(hourly(30), WindowSettings())
    with pytest.raises(WindowError, match="held out for the trial, and 10 are needed"):
        training_window(hourly(80), WindowSettings(hold_out=0.01))
    asked = {"normals": "good", "out": "new", "champion": "old"}
    assert RetrainJob.read(None, asked | {"shifts": ["6", "14", "22"]}).shifts == (6, 14, 22)
    for wrong in ([], [14, 6], [24]):
        with pytest.raises(SettingsError, match="--shifts: shifts begin at hours of the day"):
            RetrainJob.read(None, asked | {"shifts": wrong})
    with pytest.raises(SettingsError, match=r"--shifts\.1: .*integer"):
        RetrainJob.read(None, asked | {"shifts": ["6", "x"]})


# Indexes


def folder_of(place: Path, count: int = 3) -> Path:
    place.mkdir()
    for number in range(count):
        cv2.imwrite(str(place / f"{number}.png"), np.full((8, 8), number, np.uint8))
    return place


ROWS = [
    {"image": "0.png", "captured": "2026-03-02T06:00:00Z", "source": "reviewed-pass", "shift": "early"},
    {"image": "1.png", "captured": "2026-03-02T07:00:00+01:00", "judgement": "defect", "type": "scratch"},
    {"image": "2.png", "judgement": "defect", "challenge": True, "station": "line-1/top"},
]


def write_csv(folder: Path) -> None:
    names = ("image", "captured", "judgement", "type", "source", "shift", "station", "challenge")
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in ROWS)]
    (folder / "index.csv").write_text("\n".join(lines))


def write_jsonl(folder: Path) -> None:
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, ROWS)))


def write_parquet(folder: Path) -> None:
    names = sorted({name for row in ROWS for name in row})
    table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in ROWS])
    pq.write_table(table, folder / "index.parquet")


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_an_index_says_what_images_are_in_each_of_its_formats(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    folder = folder_of(tmp_path / "confirmed")
    write(folder)
    found = confirmed_images(folder)
    (image,) = found.normals
    assert (image.path.name, image.captured, image.source) == ("0.png", MONDAY, "reviewed-pass")
    assert [(part.path.name, part.type) for part in found.defects] == [("1.png", "scratch")]
    assert [(part.path.name, part.type) for part in found.challenge] == [("2.png", "defect")]
    assert not confirmed_images(folder, ["line-2/top"]).challenge
    assert len(known_parts(folder)) == 2


def test_a_plain_folder_is_undated_normals_or_defects_by_sub_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "plain")
    assert [image.captured for image in confirmed_images(folder).normals] == [None] * 3
    folder_of(folder / "scratch", 2)
    assert sorted(part.type for part in known_parts(folder)) == ["defect"] * 3 + ["scratch"] * 2


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"image": "../outside.png"}, "does not lie in"),
        ({"image": "9.png"}, "there is no such image"),
        ({"image": "0.png", "captured": "2026-03-02T06:00:00"}, "row 1, captured"),
        ({"image": "0.png", "judgement": "fine"}, "row 1, judgement"),
        ({}, "row 1, image"),
    ],
)
def test_a_wrong_index_is_told_with_its_row(tmp_path: Path, row: dict[str, str], sentence: str) -> None:
    folder = folder_of(tmp_path / "confirmed")
    cv2.imwrite(str(tmp_path / "outside.png"), np.zeros((8, 8), np.uint8))
    (folder / "index.jsonl").write_text(json.dumps(row))
    with pytest.raises(DatasetError, match=sentence):
        confirmed_images(folder)
