"""Copies of a picture are one witness: equal pixels, and what is nearly equal, whatever the set shows."""

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import plate

from neverblink.simulation.parts.simulation import Simulation
from neverblink.trainer.datasets.images import images_in
from neverblink.vision.calibration import calibrate, tightest_promise
from neverblink.vision.copies import find_copies, fingerprint, one_each
from neverblink.vision.decode import read_image

Image = npt.NDArray[np.uint8]


def plates(count: int) -> list[Image]:
    return [np.repeat(plate(seed)[0][:, :, None], 3, axis=2) for seed in range(count)]


def discs(count: int) -> list[Image]:
    simulation = Simulation("disc")
    return [simulation.good(number).image for number in range(count)]


def as_jpeg(image: Image, quality: int) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def groups(images: list[Image]) -> list[int]:
    found: list[int] = find_copies([fingerprint(image) for image in images]).group.tolist()
    return found


def test_pictures_of_equal_pixels_are_one_however_they_are_saved() -> None:
    images = plates(10)
    copies = find_copies([fingerprint(image) for image in (*images, *images, images[3])])
    assert copies.different == 10
    assert copies.group.tolist() == [*range(10), *range(10), 3]
    assert copies.equal[:2] == ((10, 0), (11, 1))
    assert copies.equal[-1] == (20, 3)
    assert not copies.near


@pytest.mark.parametrize("parts", [plates, discs])
def test_a_picture_saved_anew_with_loss_noise_or_more_light_is_near_the_first(parts: object) -> None:
    images = (plates if parts is plates else discs)(20)
    random = np.random.default_rng(0)
    noisy = np.clip(images[5] + random.normal(0, 1.5, images[5].shape), 0, 255).astype(np.uint8)
    copies = find_copies([fingerprint(one) for one in (*images, as_jpeg(images[2], 90), noisy)])
    assert copies.near == ((20, 2), (21, 5))
    assert copies.different == 20


@pytest.mark.parametrize("parts", [plates, discs])
def test_different_parts_on_a_fixture_are_no_copies(parts: object) -> None:
    assert groups((plates if parts is plates else discs)(60)) == [*range(60)]


@pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA names no folder of real images")
@pytest.mark.parametrize("name", ["cookie", "deeppcb", "mvtec-transistor-256", "mvtec-hazelnut-256"])
def test_different_real_parts_are_no_copies_and_a_saved_anew_one_is(name: str) -> None:
    paths = images_in(Path(os.environ["NEVERBLINK_DATA"]) / name / "train/good")[:40]
    images = [read_image(path) for path in paths]
    assert groups([*images, as_jpeg(images[7], 75)]) == [*range(len(images)), 7]


def test_near_copies_of_near_copies_are_one_group() -> None:
    images = plates(12)
    chain = [images[0], as_jpeg(images[0], 95), as_jpeg(as_jpeg(images[0], 95), 90)]
    assert groups([*images[1:], *chain])[-3:] == [11, 11, 11]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_groups_are_counted_in_order_and_equal_pictures_share_theirs(drawn: list[int]) -> None:
    images = plates(7)
    found = groups([images[number] for number in drawn])
    first = list(dict.fromkeys(drawn))
    assert found == [first.index(number) for number in drawn]


def test_a_promise_counts_copies_once_by_the_worst_of_them() -> None:
    scores = np.array([1.0, 5, 2, 4, 3, 3], dtype=np.float32)
    worst = one_each(scores, np.array([0, 0, 1, 2, 1, 2]))
    assert worst.tolist() == [5, 3, 4]
    found = calibrate(worst, worst)
    assert found.normals == 3
    assert found.false_reject == pytest.approx(tightest_promise(3))
