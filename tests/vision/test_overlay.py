"""A person sees where the model looked, in the pixels of the image that the camera took."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.vision.overlay import at_most, overlay
from neverblink.vision.regions import regions


def flat(value: float = 1.0) -> np.ndarray:
    return np.full((64, 64), value, np.float32)


def with_patch(y: int, x: int, height: int, width: int, value: float) -> np.ndarray:
    found = flat()
    found[y : y + height, x : x + width] = value
    return found


def test_a_region_is_told_in_image_pixels() -> None:
    (region,) = regions(with_patch(8, 16, 4, 8, 5.0), 2.0, image_size=(640, 320))
    assert region.bbox == (160, 40, 80, 20)
    assert (region.area_px, region.peak) == (1600, 5.0)


def test_separate_regions_come_highest_first_and_small_ones_are_left_out() -> None:
    found = with_patch(2, 2, 4, 4, 3.0)
    found[40:50, 40:50] = 7.0
    found[60, 60] = 9.0
    assert [region.peak for region in regions(found, 2.0, image_size=(64, 64), min_area_px=4)] == [7.0, 3.0]
    assert len(regions(found, 2.0, image_size=(64, 64), limit=1)) == 1


def test_a_rejected_part_always_shows_where_to_look() -> None:
    quiet = with_patch(30, 30, 6, 6, 1.9)
    assert regions(quiet, 2.0, image_size=(64, 64)) == []
    (region,) = regions(quiet, 2.0, image_size=(64, 64), at_least_one=True)
    assert region.bbox == (30, 30, 6, 6)


@given(
    seed=st.integers(0, 1000),
    threshold=st.floats(0.1, 2),
    width=st.integers(1, 900),
    height=st.integers(1, 900),
)
def test_every_region_lies_inside_the_image(seed: int, threshold: float, width: int, height: int) -> None:
    noise = np.random.default_rng(seed).random((24, 24)).astype(np.float32)
    for region in regions(noise, threshold, image_size=(width, height), at_least_one=True):
        assert region.width >= 1
        assert region.height >= 1
        assert 0 <= region.x <= region.x + region.width <= width
        assert 0 <= region.y <= region.y + region.height <= height
        assert region.area_px >= 1


def test_the_overlay_colours_the_defect_and_leaves_the_rest_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    before = image.copy()
    drawn = overlay(image, with_patch(20, 20, 10, 10, 4.0), 3.0)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(drawn[80:], image[80:])
    assert np.abs(drawn[45:55, 45:55].astype(int) - image[45:55, 45:55]).mean() > 20


@pytest.mark.parametrize("shape", [(17, 90), (600, 32)])
def test_the_overlay_fits_any_image(shape: tuple[int, int]) -> None:
    assert overlay(np.zeros((*shape, 3), np.uint8), flat(), 1.0).shape == (*shape, 3)


def test_a_large_picture_is_shown_smaller_with_its_aspect_and_a_small_one_as_it_is() -> None:
    large = np.zeros((900, 1800, 3), np.uint8)
    large[:, 900:] = 200
    shown = at_most(large, 320)
    assert shown.shape == (160, 320, 3)
    assert (shown[80, 10].tolist(), shown[80, 310].tolist()) == ([0, 0, 0], [200, 200, 200])
    assert at_most(np.zeros((1, 5000, 3), np.uint8), 320).shape == (1, 320, 3)
    assert at_most(shown, 320) is shown


def redness(drawn: np.ndarray) -> np.ndarray:
    return drawn[..., 0].astype(int) - drawn[..., 2]


def test_a_defect_a_little_above_the_threshold_is_seen_at_once_and_what_passes_is_never_warm() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    warm = overlay(grey, with_patch(24, 24, 16, 16, 3.3), 3.0, normal=2.4)
    assert redness(warm)[32, 32] > 100
    assert (warm[4, 4] == 128).all()
    passes = overlay(grey, with_patch(24, 24, 16, 16, 2.9), 3.0, normal=2.4)
    assert redness(passes).max() <= 0
    assert redness(passes)[32, 32] < -30
    # Nor where the map alone goes beyond its threshold.
    assert redness(overlay(grey, with_patch(24, 24, 16, 16, 3.3), 3.0, normal=2.4, anomalous=False)).max() <= 0
    # What half of all good parts reach is left as it is.
    assert (overlay(grey, with_patch(24, 24, 16, 16, 2.4), 3.0, normal=2.4) == grey).all()


def test_an_anomalous_image_shows_where_though_its_map_stays_below_its_threshold() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    drawn = overlay(grey, with_patch(24, 24, 16, 16, 2.0), 3.0, normal=2.4, anomalous=True)
    assert redness(drawn)[32, 32] > 100
    assert redness(drawn)[4, 4] <= 0


@given(st.floats(0.1, 10), st.floats(0.01, 20), st.floats(0.01, 20))
def test_no_heat_is_warm_below_the_threshold_wherever_normal_lies(threshold: float, normal: float, top: float) -> None:
    drawn = overlay(np.full((8, 8, 3), 128, np.uint8), np.full((8, 8), top, np.float32), threshold, normal=normal)
    assert (redness(drawn).max() > 0) == (np.float32(top) / threshold > 1)
