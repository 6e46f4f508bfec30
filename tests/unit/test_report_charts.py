"""What all reports share: figures that promise nothing perfect, and charts whose bars hold every part once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.reports.charts import histogram, points, round_top, round_values
from neverblink.reports.figures import figure, of_threshold, percent, ratio, share

SCORES = st.lists(st.floats(0, 10, allow_nan=False), max_size=40)


@given(st.floats(0, 1))
def test_only_a_perfect_share_reads_as_perfect(value: float) -> None:
    assert (share(value) == "100.0 %") == (value == 1)
    assert (percent(value) == "100 %") == (value == 1)
    assert (figure(value) == "1.0000") == (value == 1)


def test_what_is_not_there_is_a_dash_and_small_ratios_are_not_none() -> None:
    assert (share(None), figure(None)) == ("–", "–")
    assert (ratio(1.234), ratio(0.0123), of_threshold(0.0123)) == ("1.23", "0.012", "0.01")
    assert (share(0.9999), percent(0.0123), figure(0.99999)) == ("99.9 %", "1.23 %", "0.9999")


@given(SCORES, SCORES, st.integers(1, 20), st.integers(1, 20), st.floats(0.1, 5))
def test_a_histogram_holds_every_part_once_on_its_side_of_the_threshold(
    up: list[float], down: list[float], below: int, above: int, threshold: float
) -> None:
    edges = threshold + 0.1 * np.arange(-below, above + 1)
    found = histogram(np.array(up), np.array(down), edges, below)
    for counts, values in ((found.up, up), (found.down, down)):
        assert counts.sum() == len(values)
        # At the threshold a part passes.
        assert counts[: found.below].sum() == sum(value <= edges[below] for value in values)
    assert found.threshold == pytest.approx(below / (below + above))
    tops = (max(1, found.tallest[0]), max(1, found.tallest[1]))
    bars = found.bars(tops, str)
    assert all(0 <= bar.up <= 1 and 0 <= bar.down <= 1 and bar.up + bar.down > 0 for bar in bars)
    assert [bar.beyond for bar in bars] == sorted(bar.beyond for bar in bars)


@given(st.floats(-1000, 1000), st.floats(0.001, 1000), st.integers(2, 12))
def test_an_axis_has_about_as_many_round_values_as_were_wanted(low: float, span: float, wanted: int) -> None:
    found = round_values(low, low + span, wanted)
    assert wanted // 3 <= len(found) <= wanted + 1
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in found)


@given(st.integers(0, 10**7))
def test_the_end_of_an_axis_is_even_round_and_not_below_the_count(count: int) -> None:
    top = round_top(count)
    assert top >= count
    assert top % 2 == 0
    assert len(str(top).rstrip("0")) == 1


def test_a_curve_begins_at_the_lower_left_of_the_box() -> None:
    assert points([0, 0.5, 1], [0, 1, 1]) == "0.00,100.00 50.00,0.00 100.00,0.00"
