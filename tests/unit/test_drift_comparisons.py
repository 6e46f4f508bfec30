"""Comparisons: tails are exact, sketches merge in any order, and what neighbours share is no evidence."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from neverblink.drift.comparisons import at_least, at_most, gap, kolmogorov, mean_shift, psi
from neverblink.drift.moments import Moments
from neverblink.drift.score_sketch import K, ScoreSketch

VALUES = st.lists(st.floats(min_value=0, max_value=100, width=32), max_size=300)


def normal(count: int, mean: float = 0.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, count)


@given(VALUES, VALUES, VALUES)
def test_merging_moments_is_associative_and_the_same_as_all_values_at_once(
    a: list[float], b: list[float], c: list[float]
) -> None:
    def moments(*groups: list[float]) -> Moments:
        found = Moments()
        for group in groups:
            found.merge(Moments.of(np.array(group)))
        return found

    left = moments(a, b)
    left.merge(Moments.of(np.array(c)))
    right = moments(a)
    right.merge(moments(b, c))
    whole = Moments.of(np.array(a + b + c))
    for found in (left, right):
        assert (found.count, found.minimum, found.maximum) == (whole.count, whole.minimum, whole.maximum)
        assert found.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-9)
        assert found.m2 == pytest.approx(whole.m2, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(VALUES, VALUES, VALUES)
def test_sketches_merged_in_any_order_hold_every_value_and_the_same_ranks(
    a: list[float], b: list[float], c: list[float]
) -> None:
    everything = np.sort(np.array(a + b + c, dtype=np.float32).astype(float))
    for order in itertools.permutations((a, b, c)):
        sketch = ScoreSketch()
        for group in order:
            sketch.merge(ScoreSketch.of(np.array(group)))
        assert sketch.count == len(everything)
        if sketch.count:
            points = np.unique(everything)
            true = np.searchsorted(everything, points, side="right") / len(everything)
            # 99 % confidence is of one rank; the largest of many is allowed twice that.
            allowed = 2 * sketch.rank_error
            assert np.abs(sketch.ranks(points) - true).max() <= allowed + 1e-9


def test_a_sketch_is_the_same_after_it_was_kept() -> None:
    sketch = ScoreSketch.of(normal(5000))
    kept = ScoreSketch.from_text(sketch.to_text())
    assert kept.to_bytes() == sketch.to_bytes()
    assert ScoreSketch.from_text(ScoreSketch().to_text()).count == 0
    with pytest.raises(ValueError, match="3 bytes are no KLL sketch"):
        ScoreSketch.from_bytes(b"abc")


def test_a_sketch_is_exact_up_to_its_k_and_small_beyond() -> None:
    few = ScoreSketch.of(normal(K))
    assert few.rank_error == 0
    assert len(ScoreSketch.of(normal(1_000_000)).to_bytes()) < 1800


def test_the_baseline_of_an_artifact_is_read() -> None:
    from neverblink.vision.sketch import ratio_sketch

    baseline = ScoreSketch.from_bytes(ratio_sketch(np.linspace(1, 2, 500), 2.0))
    assert baseline.count == 500
    assert baseline.quantile(0.5) == pytest.approx(0.75, abs=0.01)


def test_ks_of_exact_sketches_is_that_of_scipy() -> None:
    a, b = normal(120), normal(100, 0.8, seed=2)
    a, b = a.astype(np.float32), b.astype(np.float32)
    found = gap(ScoreSketch.of(a), ScoreSketch.of(b))
    expected = stats.ks_2samp(a, b, method="asymp")
    assert found.ks == found.ks_sure == pytest.approx(expected.statistic, abs=1e-9)


@pytest.mark.parametrize("distance", [0.02, 0.05, 0.1, 0.2])
def test_the_chance_of_a_distance_is_that_of_kolmogorovs_limit(distance: float) -> None:
    effective = 500
    scaled = (math.sqrt(effective) + 0.12 + 0.11 / math.sqrt(effective)) * distance
    assert kolmogorov(distance, effective) == pytest.approx(stats.kstwobign.sf(scaled), rel=1e-4)


def test_the_rank_error_of_both_sketches_is_taken_off_the_distance() -> None:
    """Two sketches of one distribution: what differs is within their errors, however many parts there are."""
    found = gap(ScoreSketch.of(normal(200_000)), ScoreSketch.of(normal(200_000, seed=2)))
    assert found.ks_sure == 0
    assert found.p == 1


def test_parts_that_are_alike_are_weaker_evidence() -> None:
    a, b = ScoreSketch.of(normal(3000, 0.2)), ScoreSketch.of(normal(3000, seed=2))
    assert gap(a, b, design_effect=20).p > 100 * gap(a, b).p
    moments = Moments.of(normal(3000, 0.2)), Moments.of(normal(3000, seed=2))
    assert mean_shift(*moments, design_effect=4) == pytest.approx(mean_shift(*moments) / 2)


def test_psi_of_shifted_normals_is_about_the_squared_shift() -> None:
    reference = ScoreSketch.of(normal(50_000))
    assert psi(ScoreSketch.of(normal(50_000, seed=2)), reference) < 0.01
    assert psi(ScoreSketch.of(normal(50_000, 0.5, seed=2)), reference) == pytest.approx(0.25, abs=0.06)


def test_psi_is_finite_where_nothing_overlaps() -> None:
    assert math.isfinite(psi(ScoreSketch.of(normal(500, 50)), ScoreSketch.of(normal(500))))


def test_an_empty_sketch_is_compared_with_nothing() -> None:
    with pytest.raises(ValueError, match="no distribution"):
        gap(ScoreSketch(), ScoreSketch.of(normal(5)))


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(1e-4, 0.9), st.integers(0, 3000))
def test_binomial_tails_are_exact(count: int, rate: float, hits: int) -> None:
    assert at_most(hits, count, rate) == pytest.approx(stats.binom.cdf(hits, count, rate), rel=1e-6, abs=1e-12)
    assert at_least(hits, count, rate) == pytest.approx(stats.binom.sf(hits - 1, count, rate), rel=1e-6, abs=1e-12)
