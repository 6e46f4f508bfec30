"""Regions of masks on the grid of pixel figures: none is lost beside another, none is joined to another."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.trainer.evaluation.pixel_ranking import PixelRanking
from neverblink.trainer.evaluation.scaled_masks import scaled_mask

SIDE = 256


def line_scan(*spots: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """A mask of 5000 × 4000 pixels with a square of a side at each (left, top)."""
    mask = np.zeros((4000, 5000), dtype=np.bool_)
    for left, top, side in spots:
        mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize("side", [1, 3, 7, 15])
def test_a_small_defect_is_a_region_of_au_pro_beside_a_large_one_as_it_is_alone(side: int) -> None:
    alone = scaled_mask(line_scan((1000, 1000, side)), (SIDE, SIDE))
    both = scaled_mask(line_scan((1000, 1000, side), (3000, 3000, 200)), (SIDE, SIDE))
    assert len(alone.regions) == 1
    assert len(both.regions) == 2
    assert set(alone.regions[0]) <= set(np.flatnonzero(both.mask))
    ranking = PixelRanking()
    found_large = np.zeros((SIDE, SIDE), np.float32)
    found_large.ravel()[max(both.regions, key=len)] = 1
    ranking.add(found_large, both.mask, regions=both.regions)
    # The small one is missed: half of the regions, whatever their areas.
    assert ranking.au_pro() == pytest.approx(0.5 + 0.5 * 0.15, abs=0.001)


def test_two_defects_that_share_a_pixel_of_the_grid_stay_two() -> None:
    found = scaled_mask(line_scan((1000, 1000, 2), (1005, 1000, 2)), (SIDE, SIDE))
    assert len(found.regions) == 2
    assert found.mask.sum() == 1


def test_a_mask_of_the_grids_own_size_stays_as_it_is() -> None:
    mask = np.random.default_rng(0).random((SIDE, SIDE)) < 0.1
    assert (scaled_mask(mask, (SIDE, SIDE)).mask == mask).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 90), st.integers(5, 90), st.integers(3, 40), st.integers(3, 40))
def test_every_region_stays_and_a_single_one_covers_what_the_usual_reduction_does(
    seed: int, height: int, width: int, high: int, wide: int
) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), dtype=np.bool_)
    for _ in range(random.integers(0, 5)):
        top, left = random.integers(0, height), random.integers(0, width)
        mask[top : top + random.integers(1, 20), left : left + random.integers(1, 20)] = True
    found = scaled_mask(mask, (high, wide))
    count = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert len(found.regions) == count
    assert all(len(region) for region in found.regions)
    assert set(np.flatnonzero(found.mask)) == {int(place) for region in found.regions for place in region}
    if count == 1 and high <= height and wide <= width:
        shares = cv2.resize(mask.astype(np.float32), (wide, high), interpolation=cv2.INTER_AREA)
        wanted = shares >= 0.5 - 1e-3 if (shares >= 0.5 - 1e-3).any() else shares > 0
        assert (found.mask & ~wanted).sum() == 0
