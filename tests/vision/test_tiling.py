"""Tiles cover the image, and their maps become one that shows no tile."""

import time
import tracemalloc
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.vision.errors import VisionError
from neverblink.vision.tile_plan import Tile, TilePlan
from neverblink.vision.tiling import cut, merge

Floats = npt.NDArray[np.float32]


def landscape(y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Something smooth over a whole image, y and x as shares of its sides."""
    return 2 + np.sin(7 * x[None, :]) * np.cos(5 * y[:, None]) + x[None, :]


def seen_by(tile: Tile, size: tuple[int, int], samples: int) -> Floats:
    """The landscape as a tile's map of samples × samples has it."""
    middles = (np.arange(samples) + 0.5) / samples
    y = (tile.top + middles * tile.height) / size[1]
    x = (tile.left + middles * tile.width) / size[0]
    return landscape(y, x).astype(np.float32)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(32, 400), st.floats(0.05, 0.75))
@settings(max_examples=100, deadline=None)
def test_tiles_cover_every_pixel_stay_inside_and_overlap(height: int, width: int, side: int, overlap: float) -> None:
    plan = TilePlan(tile=side, overlap=overlap)
    tiles = plan.tiles(height, width)
    covered = np.zeros((height, width), dtype=np.int32)
    for top, left, high, wide in tiles:
        assert (high, wide) == (min(side, height), min(side, width))
        assert 0 <= top <= height - high
        assert 0 <= left <= width - wide
        covered[top : top + high, left : left + wide] += 1
    assert covered.min() >= 1
    assert len(set(tiles)) == len(tiles)
    lefts = sorted({tile.left for tile in tiles})
    for before, after in pairwise(lefts):
        assert before + side - after >= int(overlap * side)


def test_the_last_row_and_column_are_shifted_inwards() -> None:
    tiles = TilePlan(tile=100, overlap=0.2).tiles(100, 250)
    assert [tile.left for tile in tiles] == [0, 80, 150]
    assert {tile.top for tile in tiles} == {0}


def test_an_image_smaller_than_a_tile_is_one_tile() -> None:
    image = np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)
    plan = TilePlan(tile=512)
    (only,) = cut(image, plan)
    assert (only == image).all()
    merged = merge([np.full((32, 32), 3.0, np.float32)], plan, image_size=(50, 40))
    assert merged.shape == (40, 50)
    assert merged == pytest.approx(3.0)


def test_cutting_copies_nothing() -> None:
    image = np.zeros((600, 900, 3), dtype=np.uint8)
    assert all(np.shares_memory(part, image) for part in cut(image, TilePlan(tile=256)))


@pytest.mark.parametrize("overlap", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("size", [(1500, 700), (640, 640), (2000, 300)], ids=str)
def test_the_maps_of_a_smooth_thing_merge_into_the_thing(size: tuple[int, int], overlap: float) -> None:
    width, height = size
    plan = TilePlan(tile=400, overlap=overlap, map_side=500)
    merged = merge([seen_by(tile, size, 64) for tile in plan.tiles(height, width)], plan, image_size=size)
    rows, columns = plan.map_size(height, width)
    wanted = landscape((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns)
    assert merged.shape == wanted.shape
    assert merged.dtype == np.float32
    # At an outer edge a map has no samples beyond its last pixel's middle.
    inner = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(merged[inner], wanted[inner], atol=0.01)
    np.testing.assert_allclose(merged, wanted, atol=0.05)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(32, 400), st.floats(0.05, 0.75), st.integers(32, 400))
@settings(max_examples=50, deadline=None)
def test_every_pixel_of_any_merged_map_is_seen(
    height: int, width: int, side: int, overlap: float, map_side: int
) -> None:
    plan = TilePlan(tile=side, overlap=overlap, map_side=map_side)
    maps = [np.full((9, 7), 2.5, np.float32)] * len(plan.tiles(height, width))
    merged = merge(maps, plan, image_size=(width, height))
    assert merged.shape == plan.map_size(height, width)
    np.testing.assert_allclose(merged, 2.5, rtol=1e-6)


def steps(merged: Floats, plan: TilePlan, size: tuple[int, int]) -> tuple[float, float]:
    """The largest step between neighbours in a row: where a tile begins or ends, and everywhere else."""
    width, height = size
    scale = merged.shape[1] / width
    borders = {
        round(edge * scale) for tile in plan.tiles(height, width) for edge in (tile.left, tile.left + tile.width)
    }
    across = np.abs(np.diff(merged, axis=1))
    border = np.array([column in borders for column in range(1, merged.shape[1])])
    return float(across[:, border].max()), float(across[:, ~border].max())


def test_tiles_that_disagree_leave_no_seam() -> None:
    size = (2000, 1000)
    plan = TilePlan(tile=400, overlap=0.25)
    levels = np.random.default_rng(0).uniform(0, 1, len(plan.tiles(1000, 2000)))
    maps = [np.full((64, 64), level, np.float32) for level in levels]
    merged = merge(maps, plan, image_size=size)
    at_borders, inside = steps(merged, plan, size)
    assert at_borders <= inside
    assert inside < 0.05  # a whole step of up to 1 is spread over the overlap
    # What a plain mean would do, as a check that seams are seen where they are.
    total, count = np.zeros((512, 1024)), np.zeros((512, 1024))
    for tile, level in zip(plan.tiles(1000, 2000), levels, strict=True):
        top, left, high, wide = (round(value * 0.512) for value in tile)
        total[top : top + high, left : left + wide] += level
        count[top : top + high, left : left + wide] += 1
    at_borders, inside = steps((total / count).astype(np.float32), plan, size)
    assert at_borders > inside


def test_a_blob_in_the_overlap_appears_once_at_its_place() -> None:
    image = np.zeros((900, 1600), dtype=np.uint8)
    image[400:440, 380:420] = 255
    plan = TilePlan(tile=512, overlap=0.25)
    maps = [
        part[: part.shape[0] // 4 * 4, : part.shape[1] // 4 * 4]
        .reshape(part.shape[0] // 4, 4, part.shape[1] // 4, 4)
        .mean(axis=(1, 3), dtype=np.float32)
        for part in cut(image, plan)
    ]
    merged = merge(maps, plan, image_size=(1600, 900))
    y, x = np.nonzero(merged > 128)
    scale = 1600 / merged.shape[1]
    assert ((x.mean() + 0.5) * scale, (y.mean() + 0.5) * scale) == pytest.approx((400, 420), abs=3)
    assert len(x) * scale**2 == pytest.approx(1600, rel=0.15)
    assert merged.max() == pytest.approx(255, rel=0.01)


def test_a_line_scan_image_merges_in_bounded_time_and_memory() -> None:
    size = (8000, 2000)
    plan = TilePlan(tile=512)
    tiles = plan.tiles(2000, 8000)
    maps = [seen_by(tile, size, 256) for tile in tiles]
    assert len(tiles) == 105
    tracemalloc.start()
    begun = time.perf_counter()
    merged = merge(maps, plan, image_size=size)
    took, (_, peak) = time.perf_counter() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert merged.shape == (256, 1024)
    assert peak < 32 * 2**20  # a float map of the image's size would be 64 MB
    assert took < 5


def test_the_map_is_never_larger_than_asked_for_or_than_the_image() -> None:
    assert TilePlan(map_side=500).map_size(2000, 8000) == (125, 500)
    assert TilePlan(map_side=500).map_size(300, 200) == (300, 200)
    assert TilePlan(map_side=500).map_size(1, 8000) == (1, 500)


def test_maps_that_do_not_belong_to_the_image_are_refused() -> None:
    with pytest.raises(VisionError, match="1 maps do not fit an image of 1000 × 100 pixels in 3 tiles"):
        merge([np.zeros((8, 8), np.float32)], TilePlan(tile=400), image_size=(1000, 100))
    with pytest.raises(VisionError, match="cannot be cut"):
        TilePlan().tiles(0, 10)
