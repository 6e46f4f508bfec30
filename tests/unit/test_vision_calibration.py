"""The threshold's promise: at most so many good parts rejected, with 95 % confidence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from neverblink.vision.calibration import (
    CalibrationError,
    calibrate,
    folds,
    normals_needed,
    threshold_rank,
    tightest_promise,
)


@pytest.mark.parametrize(("rate", "needed"), [(0.10, 29), (0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598)])
def test_the_number_of_normals_a_promise_needs(rate: float, needed: int) -> None:
    # arXiv 2608.15090 lists these; 1 - (1 - p)^m >= 0.95 gives them.
    assert normals_needed(rate) == needed
    assert threshold_rank(needed, rate) == needed
    with pytest.raises(CalibrationError, match=f"{needed} are needed"):
        threshold_rank(needed - 1, rate)


@given(count=st.integers(20, 3000), rate=st.floats(0.002, 0.5))
def test_the_rank_is_the_smallest_that_keeps_the_promise(count: int, rate: float) -> None:
    try:
        rank = threshold_rank(count, rate)
    except CalibrationError:
        assert binom.pmf(0, count, rate) > 0.05
        return
    assert binom.cdf(count - rank, count, rate) <= 0.05 * (1 + 1e-6)
    assert binom.cdf(count - rank + 1, count, rate) > 0.05 * (1 - 1e-6)


@given(st.integers(1, 5000))
def test_the_tightest_promise_can_be_kept_and_is_tight(count: int) -> None:
    rate = tightest_promise(count)
    assert threshold_rank(count, rate) == count
    assert binom.pmf(0, count, rate) == pytest.approx(0.05)


def test_auto_promises_one_percent_when_it_can_and_says_what_it_promises_otherwise() -> None:
    scores = np.arange(1.0, 401.0)
    assert calibrate(scores, scores).false_reject == 0.01
    few = calibrate(scores[:59], scores[:59])
    assert few.false_reject == pytest.approx(0.0495, abs=1e-3)
    assert few.threshold == 59
    assert "4.95 % of good parts" in few.statement()
    assert "299 good images would promise 1 %" in few.statement()


def test_over_many_draws_the_promise_holds_where_a_plain_percentile_breaks_it() -> None:
    random = np.random.default_rng(5)
    rate, draws = 0.05, 2000
    scores = random.random((draws, 100))  # uniform: the true false-reject rate of a threshold t is 1 - t
    rank = threshold_rank(100, rate)
    broken = (1 - np.sort(scores, axis=1)[:, rank - 1] > rate).mean()
    naive = (1 - np.quantile(scores, 1 - rate, axis=1) > rate).mean()
    assert broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    assert naive > 0.3


def test_a_single_image_cannot_calibrate() -> None:
    with pytest.raises(CalibrationError, match="at least 2"):
        folds(1, 5, seed=0)
    with pytest.raises(CalibrationError, match="no good images"):
        calibrate(np.empty(0), np.empty(0))


@given(count=st.integers(2, 500), wanted=st.integers(2, 20), seed=st.integers(0, 99))
def test_folds_use_every_image_once_and_differ_by_one_at_most(count: int, wanted: int, seed: int) -> None:
    assigned = folds(count, wanted, seed=seed)
    sizes = np.bincount(assigned)
    assert len(assigned) == count
    assert len(sizes) == min(wanted, count)
    assert sizes.max() - sizes.min() <= 1
