"""Only patches inside a product's region count."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from neverblink.vision.errors import VisionError
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.region import patch_region, read_mask, tiled_patch_region
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.tile_plan import TilePlan

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
EVERYTHING = np.ones((1, 1), dtype=np.bool_)


def test_a_polygon_covers_its_share_of_an_image_of_any_size() -> None:
    triangle = RegionOfInterest(inside=(((0.1, 0.1), (0.9, 0.1), (0.1, 0.9)),))
    for height, width in ((300, 300), (200, 900)):
        assert triangle.mask(height, width).mean() == pytest.approx(0.32, abs=0.01)
    assert triangle.mask(100, 100)[15, 15]
    assert not triangle.mask(100, 100)[85, 85]


def test_several_polygons_are_inspected_less_what_is_left_out() -> None:
    ring = RegionOfInterest(
        inside=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), LEFT_HALF),
        outside=(((0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)),),
    )
    mask = ring.mask(100, 100)
    assert not mask[50, 50]
    assert mask.mean() == pytest.approx(0.96, abs=0.01)
    only_left_out = RegionOfInterest(outside=(LEFT_HALF,)).mask(100, 100)
    assert not only_left_out[:, :49].any()
    assert only_left_out[:, 51:].all()


def test_no_region_is_all_of_the_image_and_none_of_the_padding() -> None:
    assert patch_region(EVERYTHING, Preprocess(resize=64), (8, 8)).all()
    assert RegionOfInterest().mask(20, 30).all()
    padded = patch_region(EVERYTHING, Preprocess(resize=64, aspect=2.0), (8, 8))
    assert padded[2:6].all()
    assert padded.sum() == 32


@pytest.mark.parametrize("grid", [(8, 8), (28, 28), (7, 7)], ids=str)
def test_a_patch_counts_from_the_stated_share_on(grid: tuple[int, int]) -> None:
    side = 224
    mask = RegionOfInterest(inside=(((0.0, 0.0), (0.3, 0.0), (0.3, 1.0), (0.0, 1.0)),)).mask(side, side)
    for share in (0.1, 0.5, 1.0):
        found = patch_region(mask, Preprocess(resize=side), grid, share=share)
        edges = np.arange(grid[1] + 1) * side / grid[1]
        end = int(mask[0].sum())
        inside = np.clip((end - edges[:-1]) / (side / grid[1]), 0, 1)
        assert found[0].tolist() == (inside >= share - 1e-3).tolist()
        assert (found == found[0]).all()


def test_a_crop_keeps_the_region_in_place() -> None:
    mask = RegionOfInterest(inside=(LEFT_HALF,)).mask(512, 512)
    whole = patch_region(mask, Preprocess(resize=128), (16, 16))
    cropped = patch_region(mask, Preprocess(resize=128, crop=96), (12, 12))
    assert (cropped == whole[2:14, 2:14]).all()


def test_a_region_that_no_patch_lies_in_is_refused() -> None:
    speck = RegionOfInterest(inside=(((0.5, 0.5), (0.51, 0.5), (0.51, 0.51)),)).mask(400, 400)
    with pytest.raises(VisionError, match="no patch lies in the region by at least 50%"):
        patch_region(speck, Preprocess(resize=64), (8, 8))


def test_tiles_know_their_part_of_the_region() -> None:
    plan = TilePlan(tile=100, overlap=0.25)
    mask = RegionOfInterest(inside=(LEFT_HALF,)).mask(100, 400)
    found = tiled_patch_region(mask, plan, Preprocess(resize=64), (8, 8))
    lefts = [tile.left for tile in plan.tiles(100, 400)]
    assert lefts == [0, 75, 150, 225, 300]
    assert found.shape == (5, 8, 8)
    assert found[:2].all()
    assert found[2, :, :4].all()
    assert not found[2, :, 5:].any()
    assert not found[3:].any()
    with pytest.raises(VisionError, match="no patch"):
        tiled_patch_region(np.zeros((100, 400), np.bool_), plan, Preprocess(resize=64), (8, 8))


def test_a_mask_image_is_read_as_what_is_bright(tmp_path: Path) -> None:
    picture = np.zeros((30, 40), dtype=np.uint8)
    picture[:, 20:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    assert (read_mask(tmp_path / "mask.png") == (picture > 0)).all()
    (tmp_path / "no.png").write_bytes(b"not a picture")
    with pytest.raises(VisionError, match="image"):
        read_mask(tmp_path / "no.png")
    with pytest.raises(VisionError):
        read_mask(tmp_path / "gone.png")


@pytest.mark.parametrize(
    "polygon",
    [
        ((0, 0), (1, 1)),
        ((0, 0), (1, 1), (0.5, 0.5)),
        ((0, 0), (1.2, 0), (1, 1)),
        ((0, 0), (float("nan"), 0), (1, 1)),
    ],
    ids=str,
)
def test_polygons_that_are_none_are_refused(polygon: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValidationError):
        RegionOfInterest(inside=(polygon,))
