"""The threshold's promise: at most so many good parts rejected, with 95 % confidence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from neverblink.vision.calibration import (
    CalibrationError,
    calibrate,
    calibrate_at,
    folds,
    normals_needed,
    threshold_by_cost,
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


_SCORES = st.lists(st.integers(1, 30).map(float), min_size=1, max_size=40)


@given(good=_SCORES, defect=_SCORES, miss_cost=st.sampled_from([0.0, 0.5, 1.0, 50.0]))
def test_no_threshold_is_cheaper_than_the_one_by_cost(good: list[float], defect: list[float], miss_cost: float) -> None:
    good_scores, defect_scores = np.array(good), np.array(defect)

    def cost(threshold: float) -> float:
        return float((good_scores > threshold).sum() + miss_cost * (defect_scores <= threshold).sum())

    found = threshold_by_cost(good_scores, defect_scores, miss_cost=miss_cost)
    assert found.threshold > 0
    assert found.cost == cost(found.threshold)
    assert (found.false_rejects, found.missed) == (
        (good_scores > found.threshold).sum(),
        (defect_scores <= found.threshold).sum(),
    )
    assert found.cost == min(cost(threshold) for threshold in [0.5, *np.arange(1, 31) + 0.5])


def test_a_costly_miss_lowers_the_threshold() -> None:
    random = np.random.default_rng(1)
    good, defect = random.normal(10, 2, 300), random.normal(14, 2, 100)
    even, dear = threshold_by_cost(good, defect, miss_cost=1), threshold_by_cost(good, defect, miss_cost=50)
    assert dear.threshold < even.threshold
    assert dear.missed < even.missed
    with pytest.raises(CalibrationError, match="of good and of defective"):
        threshold_by_cost(good, np.empty(0))
    with pytest.raises(CalibrationError, match="below zero"):
        threshold_by_cost(good, defect, miss_cost=-1)


def test_a_threshold_from_elsewhere_promises_what_fresh_normals_say() -> None:
    random = np.random.default_rng(7)
    normals, draws = 200, 1000
    broken = 0
    for _ in range(draws):
        scores = random.random(normals)  # uniform: the true false-reject rate at 0.97 is 3 %
        broken += calibrate_at(0.97, scores, scores, method="given").false_reject < 0.03
    assert broken / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    scores = np.arange(1.0, 60.0)
    assert calibrate_at(60.0, scores, scores, method="cost").false_reject == pytest.approx(tightest_promise(59))
    with pytest.raises(CalibrationError, match="rejects all 59"):
        calibrate_at(0.5, scores, scores, method="given")


def test_the_unsure_band_lies_below_the_threshold_and_holds_a_stated_share() -> None:
    scores = np.arange(1.0, 601.0)
    found = calibrate(scores, scores, false_reject=0.01, unsure=0.1)
    assert found.unsure_from is not None
    assert found.unsure_from < found.threshold
    assert (scores > found.unsure_from).mean() <= 0.1
    assert found.is_unsure(found.threshold)
    assert not found.is_unsure(found.unsure_from)
    assert not found.is_unsure(found.threshold + 1)
    assert not calibrate(scores, scores).is_unsure(1)
    with pytest.raises(CalibrationError, match="unsure band holds a larger share"):
        calibrate(scores, scores, false_reject=0.05, unsure=0.05)
