"""Large pictures are shrunk by rows first, and nobody can tell: it is what OpenCV's area average gives."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.vision.area_average import area_average, rows_first
from neverblink.vision.overlay import at_most, thumbnail


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(8, 300), columns=st.integers(4, 60), height=st.integers(1, 40), width=st.integers(1, 40),
    smooth=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_rows_first_is_the_area_average_to_a_level(
    rows: int, columns: int, height: int, width: int, smooth: bool, seed: int
) -> None:
    height, width = min(height, rows // 2, 256), min(width, columns)
    height = max(height, -(-rows // 256))
    image = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    if smooth:
        image = np.asarray(cv2.blur(image, (5, 5)), dtype=np.uint8)
    found = rows_first(image, height, width).astype(int)
    exact = _by_definition(image, height, width)
    assert found.shape == (height, width, 3)
    assert np.abs(found - exact).max() <= 0.5 + 1e-3


def _by_definition(image: np.ndarray, height: int, width: int) -> np.ndarray:
    def weights(many: int, few: int) -> np.ndarray:
        edges = np.arange(few + 1) * many / few
        lows, highs = np.maximum(edges[:-1, None], np.arange(many)), np.minimum(edges[1:, None], np.arange(many) + 1)
        shares: np.ndarray = np.clip(highs - lows, 0, None) * few / many
        return shares

    down, across = weights(image.shape[0], height), weights(image.shape[1], width)
    averaged: np.ndarray = np.einsum("yr,rcx,wc->ywx", down, image.astype(float), across)
    return averaged


@pytest.mark.parametrize(("rows", "columns"), [(1543, 1543), (1024, 2048)])
def test_a_large_picture_becomes_what_opencv_makes_of_it(rows: int, columns: int) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    wanted = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA).astype(int)
    found = area_average(image, 256, 256).astype(int)
    assert np.abs(found - wanted).max() <= 1
    assert np.count_nonzero(found != wanted) <= 2e-3 * wanted.size


@pytest.mark.parametrize(("rows", "columns"), [(300, 300), (511, 700), (1024, 64), (1100, 3), (2048, 1537), (200, 90)])
def test_a_thumbnail_shows_what_the_area_average_does(rows: int, columns: int) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    found, wanted = thumbnail(image, 256), at_most(image, 256)
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 3
