"""A region's descriptor: the features that it covers, by share; how large and how long it is."""

import numpy as np
import pytest
import torch

from neverblink.vision.errors import VisionError
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.region_features import describe, descriptor_dimension
from neverblink.vision.tile_plan import TilePlan

SIDE, GRID, CHANNELS = 64, 8, 5
PLAIN = Preprocess(resize=SIDE)


def features(tiles: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(tiles, GRID, GRID, CHANNELS)).astype(np.float32))


def rectangle(top: int, left: int, height: int, width: int, *, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    mask = np.zeros(size, dtype=np.bool_)
    mask[top : top + height, left : left + width] = True
    return mask


def plainly(patches: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Describe a region of an image of the network's size, pixel by pixel, in double precision."""
    step = SIDE // GRID
    total, count = np.zeros(CHANNELS), 0
    highest = np.full(CHANNELS, -np.inf)
    for y, x in np.argwhere(mask):
        patch = patches[y // step, x // step].astype(np.float64)
        total, count, highest = total + patch, count + 1, np.maximum(highest, patch)
    rows, columns = np.nonzero(mask)
    spread = np.cov(np.stack([rows, columns]).astype(np.float64), bias=True) + np.eye(2) / 12
    short, long = np.linalg.eigvalsh(spread)
    return np.concatenate([total / count, highest, [np.log(count / mask.size), np.log(np.sqrt(long / short))]])


@pytest.mark.parametrize("seed", range(5))
def test_a_descriptor_is_what_counting_pixel_by_pixel_gives(seed: int) -> None:
    found = features(seed=seed)
    random = np.random.default_rng(seed)
    masks = np.stack([rectangle(*random.integers(0, 40, 2), *random.integers(1, 24, 2)) for _ in range(6)])
    masks &= random.random(masks.shape) < 0.7
    masks[:, 40, 40] = True
    described = describe(found, masks, PLAIN)
    assert described.shape == (6, descriptor_dimension(CHANNELS))
    assert described.dtype == np.float32
    wanted = np.stack([plainly(found[0].numpy(), mask) for mask in masks])
    assert np.allclose(described, wanted, rtol=1e-5, atol=1e-5)


def test_a_region_of_one_pixel_has_the_features_of_its_patch() -> None:
    found = features()
    (row,) = describe(found, rectangle(13, 42, 1, 1)[None], PLAIN)
    assert np.allclose(row[:CHANNELS], found[0, 1, 5])
    assert np.allclose(row[CHANNELS : 2 * CHANNELS], found[0, 1, 5])
    assert row[-2] == pytest.approx(np.log(1 / SIDE**2))
    assert row[-1] == pytest.approx(0, abs=1e-6)


def test_a_speck_in_a_camera_s_image_keeps_its_patch() -> None:
    found = features()
    (row,) = describe(found, rectangle(2000, 100, 1, 1, size=(3000, 4000))[None], PLAIN)
    assert np.allclose(row[:CHANNELS], found[0, 2000 * GRID // 3000, 100 * GRID // 4000], atol=1e-5)


def test_a_region_is_described_alike_whatever_the_resolution_of_its_mask() -> None:
    found = features()
    coarse = rectangle(2, 3, 4, 9, size=(32, 32))
    fine = coarse.repeat(6, axis=0).repeat(6, axis=1)
    # A mask that is enlarged fades out over its edge.
    assert np.allclose(describe(found, coarse[None], PLAIN), describe(found, fine[None], PLAIN), atol=0.06)


def test_company_changes_nothing() -> None:
    found = features()
    masks = np.stack([rectangle(4 * n, 3 * n, 1 + n, 5) for n in range(9)])
    together = describe(found, masks, PLAIN)
    alone = np.concatenate([describe(found, mask[None], PLAIN) for mask in masks])
    assert np.array_equal(together, alone)
    assert describe(found, masks[:0], PLAIN).shape == (0, descriptor_dimension(CHANNELS))


def test_what_the_network_did_not_see_has_no_descriptor() -> None:
    cropped = Preprocess(resize=2 * SIDE, crop=SIDE)
    masks = np.stack([rectangle(0, 0, 6, 6), rectangle(0, 0, 0, 0), rectangle(20, 20, 9, 9)])
    seen = np.isfinite(describe(features(), masks, cropped)).all(axis=1)
    assert seen.tolist() == [False, False, True]


def test_a_padded_image_s_region_lies_where_the_image_does() -> None:
    found = features()
    wide = Preprocess(resize=SIDE, aspect=2.0)
    (row,) = describe(found, rectangle(0, 0, 1, 1, size=(100, 200))[None], wide)
    assert np.allclose(row[:CHANNELS], found[0, 2, 0], atol=1e-5)


def test_a_region_in_tiles_is_described_where_most_of_it_shows() -> None:
    plan = TilePlan(tile=64, overlap=0.25)
    size = (64, 112)
    assert [tile.left for tile in plan.tiles(*size)] == [0, 48]
    found = features(tiles=2)
    in_the_second = rectangle(0, 56, 8, 16, size=size)
    (row,) = describe(found, in_the_second[None], PLAIN, plan=plan, size=size)
    assert np.allclose(row[:CHANNELS], found[1, 0, 1:3].mean(dim=0), atol=1e-5)
    assert row[-2] == pytest.approx(np.log(8 * 16 / (64 * 112)))
    halved = in_the_second[::2, ::2]
    (coarse,) = describe(found, halved[None], PLAIN, plan=plan, size=size)
    assert np.allclose(coarse[:CHANNELS], row[:CHANNELS], atol=0.06)


def test_what_does_not_fit_is_refused() -> None:
    plan = TilePlan(tile=64, overlap=0.25)
    mask = rectangle(0, 0, 4, 4)[None]
    with pytest.raises(VisionError, match="2 tiles of features do not fit an image of 1"):
        describe(features(2), mask, PLAIN)
    with pytest.raises(VisionError, match="the size of the image is known"):
        describe(features(2), mask, PLAIN, plan=plan)
    with pytest.raises(VisionError, match="masks"):
        describe(features(), mask[0], PLAIN)
