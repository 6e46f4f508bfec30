"""The control chart: Roberts' variance for independent values, wider where values move together."""

import math

import numpy as np
import pytest

from neverblink.drift.control_chart import SPREAD, WEIGHT, WEIGHT_PARTS, ControlChart


def taught(deviations: np.ndarray) -> ControlChart:
    chart = ControlChart()
    for moment, deviation in enumerate(deviations.tolist()):
        chart.learn(deviation, float(moment))
    return chart


def alike(count: int, keep: float, seed: int = 3) -> np.ndarray:
    """An AR(1) series of variance 1."""
    random = np.random.default_rng(seed)
    values = [0.0]
    for push in random.normal(0, math.sqrt(1 - keep**2), count):
        values.append(keep * values[-1] + push)
    return np.array(values[1:])


def test_limits_are_halfway_between_the_variance_of_roberts_and_that_of_a_usual_line() -> None:
    chart = taught(np.random.default_rng(1).normal(0, 2, 20_000))
    assert chart.sigma() == pytest.approx(2 * math.sqrt((1 + SPREAD) / 2 * WEIGHT / (2 - WEIGHT)), rel=0.03)
    assert chart.design_effect == pytest.approx(1, abs=0.06)


def test_the_first_values_have_the_exact_variance() -> None:
    chart = taught(np.random.default_rng(1).normal(0, 1, 5000))
    steady = chart.sigma()
    chart = ControlChart(batches=chart.batches, averages=chart.averages)
    for number in range(1, 6):
        chart.watch(0.0, number)
        assert chart.sigma() == pytest.approx(steady * math.sqrt(1 - (1 - WEIGHT) ** (2 * number)), rel=1e-6)


def test_limits_are_wider_where_neighbours_are_alike() -> None:
    """Zhang (1998): for AR(1) the average's variance is (1 + q)/(1 − q) times as large, q = φ(1 − λ)."""
    keep = 0.8
    chart = taught(alike(60_000, keep))
    q = keep * (1 - WEIGHT)
    assert chart.design_effect == pytest.approx((1 + q) / (1 - q), rel=0.1)
    crossed = naive = 0
    for moment, value in enumerate(alike(20_000, keep, seed=5).tolist()):
        chart.watch(value, moment)
        crossed += abs(chart.level(0.0)) >= 1
        naive += abs(chart.average) >= 3 * math.sqrt(WEIGHT / (2 - WEIGHT))
    assert crossed == 0
    assert naive > 100


def test_the_level_is_signed_and_never_asks_for_less_than_what_matters() -> None:
    chart = taught(np.random.default_rng(1).normal(0, 0.001, 500))
    chart = ControlChart(batches=chart.batches, averages=chart.averages)
    for moment in range(60):
        chart.watch(-0.5, moment)
    assert chart.level(least=0.25) == pytest.approx(-2, abs=0.01)


def test_a_change_is_dated_by_when_the_average_left_its_other_side() -> None:
    chart = taught(np.random.default_rng(1).normal(0, 1, 500))
    for moment in range(500, 600):
        chart.watch(-0.1, moment)
    for moment in range(600, 640):
        chart.watch(2.0, moment)
    assert 600 <= chart.side_since <= 603
    assert chart.side_parts == (640 - chart.side_since) * WEIGHT_PARTS


def test_a_batch_of_more_parts_counts_as_much_as_its_parts_one_batch_after_the_other() -> None:
    small, large = ControlChart(), ControlChart()
    for moment in range(3):
        small.watch(1.0, moment)
    large.watch(1.0, 0, parts=3 * WEIGHT_PARTS)
    assert large.average == pytest.approx(small.average)


def test_a_chart_is_the_same_after_it_was_kept() -> None:
    chart = taught(alike(100, 0.5))
    assert ControlChart.from_json(chart.to_json()) == chart
    assert ControlChart.from_json(ControlChart().to_json()) == ControlChart()
