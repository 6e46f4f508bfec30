"""Intervals, weighted counts, shares of two counts, sizes of samples, control limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from neverblink.confidence.control_limits import control_limits
from neverblink.confidence.intervals import Interval, share_interval, upper_bound
from neverblink.confidence.melded_shares import share_interval_beside, share_interval_of
from neverblink.confidence.sample_sizes import growth_for, reach
from neverblink.confidence.weighted_counts import WeightedCount


@given(st.integers(0, 60), st.integers(1, 60))
def test_beyond_its_ends_what_was_seen_is_as_unlikely_as_the_confidence_says(seen: int, more: int) -> None:
    total = seen + more
    found = share_interval(seen, total)
    assert binom.cdf(seen, total, found.high) == pytest.approx(0.025)
    assert found.low == 0 if seen == 0 else binom.sf(seen - 1, total, found.low) == pytest.approx(0.025)
    assert binom.cdf(seen, total, upper_bound(seen, total)) == pytest.approx(0.05)


def test_of_nothing_everything_may_be_true() -> None:
    assert share_interval(0, 0) == Interval(0, 1)
    assert upper_bound(3, 3) == 1


@given(st.integers(0, 50), st.floats(0.5, 200))
def test_a_count_of_one_weight_has_the_exact_bounds_of_poisson(seen: int, weight: float) -> None:
    found = WeightedCount.of(seen, weight).interval()
    assert found.high == pytest.approx(weight * chi2.ppf(0.975, 2 * seen + 2) / 2)
    assert found.low == pytest.approx(weight * chi2.ppf(0.025, 2 * seen) / 2 if seen else 0)


def test_of_few_heavy_beside_many_light_ones_the_bound_is_that_of_their_sum() -> None:
    # 90 that were all looked at, and 2 of which each stands for 50: their bounds are those of both gamma variables.
    rng = np.random.default_rng(3)
    draws = 400_000
    below = rng.gamma(90, 1, draws) + rng.gamma(2, 50, draws)
    above = rng.gamma(90, 1, draws) + rng.gamma(3, 50, draws)
    found = (WeightedCount.of(90) + WeightedCount.of(2, 50)).interval()
    assert found.low == pytest.approx(np.quantile(below, 0.025), rel=0.02)
    assert found.high == pytest.approx(np.quantile(above, 0.975), rel=0.01)
    y, v, w = 190.0, 90 + 2 * 2500.0, 50.0
    fay_feuer = (v + w**2) / (2 * (y + w)) * chi2.ppf(0.975, 2 * (y + w) ** 2 / (v + w**2))
    assert fay_feuer < 0.98 * found.high, "two moments alone are too few here"


def test_weights_that_differ_little_have_fay_and_feuers_interval() -> None:
    y, v, w = 4 * 100 + 6 * 80.0, 4 * 100**2 + 6 * 80**2.0, 100.0
    found = (WeightedCount.of(4, 100) + WeightedCount.of(6, 80)).interval()
    assert found.low == pytest.approx(v / (2 * y) * chi2.ppf(0.025, 2 * y**2 / v), rel=0.005)
    high = (v + w**2) / (2 * (y + w)) * chi2.ppf(0.975, 2 * (y + w) ** 2 / (v + w**2))
    assert found.high == pytest.approx(high, rel=0.005)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.2, 5))
def test_the_share_of_two_counts_of_one_weight_is_clopper_and_pearsons(hits: int, others: int, weight: float) -> None:
    found = share_interval_of(WeightedCount.of(hits, weight), WeightedCount.of(others, weight))
    assert found == pytest.approx(share_interval(hits, hits + others) if hits + others else (0, 1))


def test_a_share_of_two_weights_is_binomial_with_its_odds_taken_back() -> None:
    # 30 rejects that are defective, of all; 4 escapes among a hundredth of the passes.
    exact = share_interval(30, 34)
    low, high = (p / (p + 100 * (1 - p)) for p in exact)
    assert share_interval_of(WeightedCount.of(30), WeightedCount.of(4, 100)) == pytest.approx((low, high))


def test_shares_of_shifted_counts_are_quantiles_of_the_share_of_both() -> None:
    rng = np.random.default_rng(5)
    draws = 400_000
    hits, lost = WeightedCount.of(40) + WeightedCount.of(3, 20), WeightedCount.of(30) + WeightedCount.of(2, 40)
    low = (h := rng.gamma(40, 1, draws) + rng.gamma(3, 20, draws)) / (
        h + rng.gamma(30, 1, draws) + rng.gamma(3, 40, draws)
    )
    found = share_interval_of(hits, lost)
    assert found.low == pytest.approx(np.quantile(low, 0.025), rel=0.01)


def test_hits_beside_a_known_pool_are_binomial_where_nothing_is_lost_in_it() -> None:
    nothing = WeightedCount.of(0, 1e-9)
    assert share_interval_beside(WeightedCount.of(7), 993, nothing) == pytest.approx(share_interval(7, 1000), rel=1e-6)
    lossy = share_interval_beside(WeightedCount.of(7), 993, WeightedCount.of(2, 50))
    assert lossy.high > share_interval(7, 1000).high


def test_a_sample_of_a_pool_is_poisson_where_all_of_it_was_looked_at_or_few_were_so() -> None:
    assert WeightedCount.sampled(9, 40, 40).interval() == pytest.approx(WeightedCount.of(9).interval())
    rare, poisson = WeightedCount.sampled(3, 5000, 500_000), WeightedCount.of(3, 100)
    assert rare.interval() == pytest.approx(poisson.interval(), rel=0.001)
    common = WeightedCount.sampled(800, 1000, 100_000).interval()
    assert common.high - common.low < 0.6 * (lambda it: it.high - it.low)(WeightedCount.of(800, 100).interval())
    assert common.low < 78_000 < 82_000 < common.high


def test_melded_intervals_hold_the_truth_and_are_narrower_than_two_ends_put_together() -> None:
    rng = np.random.default_rng(20)
    held, narrower, runs = 0, 0, 300
    for _ in range(runs):
        found, escaped, good = rng.multinomial(20_000, [0.018, 0.002, 0.98])
        seen, clean = rng.binomial(escaped, 0.05), rng.binomial(good, 0.05)
        passed, looked = escaped + good, seen + clean
        low, high = share_interval_of(WeightedCount.of(found), WeightedCount.sampled(seen, looked, passed))
        held += low <= 0.9 <= high
        e = share_interval(seen, looked, 0.975)
        t = WeightedCount.of(found).interval(0.975)
        narrower += high - low < t.high / (t.high + passed * e.low) - t.low / (t.low + passed * e.high)
    assert held >= 0.94 * runs
    assert narrower == runs


@given(st.integers(0, 30), st.integers(1, 300), st.sampled_from((0.1, 0.05, 0.02)))
def test_so_many_more_parts_are_just_enough(seen: int, more: int, within: float) -> None:
    total = seen + more
    estimate = seen / total

    def grown(times: float) -> Interval:
        return share_interval(seen * times, total * times)

    growth = growth_for(grown, estimate, within)
    assert growth is not None
    assert growth == 1 or reach(estimate, grown(growth)) == pytest.approx(within, rel=1e-6)
    assert growth > 1 or reach(estimate, grown(1)) <= within


def test_no_number_of_parts_is_told_where_none_would_do() -> None:
    assert growth_for(lambda _: Interval(0, 1), 0.5, 0.1) is None


def test_limits_of_few_parts_are_those_of_the_binomial_law() -> None:
    found = control_limits([0, 2, 1], [50, 80, 20])
    centre = 3 / 150
    assert found.centre == pytest.approx(centre)
    for size, low, high in zip((50, 80, 20), found.low, found.high, strict=True):
        assert low == 0
        assert binom.sf(round(high * size), size, centre) < 0.00135 <= binom.sf(round(high * size) - 1, size, centre)


def test_subgroups_that_vary_more_than_by_chance_get_limits_of_their_own_spread() -> None:
    rng = np.random.default_rng(4)
    sizes = [20_000] * 40
    shares = 0.02 + 0.004 * rng.standard_normal(40)
    wild = control_limits([round(20_000 * share) for share in shares], sizes)
    calm = control_limits([int(rng.binomial(20_000, 0.02)) for _ in sizes], sizes)
    assert wild.spread == pytest.approx(0.004 / np.sqrt(0.02 * 0.98 / 20_000), rel=0.3)
    assert calm.spread < 1.3
    assert all(low < share < high for low, share, high in zip(wild.low, shares, wild.high, strict=True))
    assert not all(low < share < high for low, share, high in zip(calm.low, shares, calm.high, strict=True))


def test_no_reject_at_all_is_no_alarm() -> None:
    found = control_limits([0, 0], [10, 20])
    assert found.centre == 0
    assert found.low == found.high == (0, 0)
