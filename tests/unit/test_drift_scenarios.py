"""Simulated lines: the same for a seed, wandering as stated, drifting as told."""

import numpy as np
import pytest

from neverblink.demo.drift.scenarios import (
    RATIO_MEAN,
    RATIO_SIGMA,
    SCENARIOS,
    SHARED,
    SHARED_PARTS,
    START,
    WEEK_S,
    Line,
    Parts,
    Scenario,
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def parts_of(scenario: Scenario, weeks: int, **changes: float) -> Parts:
    days = list(Line(scenario, 5, **changes).days(weeks))
    return Parts(*(np.concatenate([getattr(day, name) for day in days]) for name in Parts.__slots__))


def test_a_line_is_the_same_for_a_seed_and_another_for_another() -> None:
    def first(seed: int) -> list[tuple[int, float]]:
        windows = Line(BY_NAME["none"], seed).windows(1)
        return [(w.passed, w.pass_ratio.mean) for w, _ in zip(windows, range(50), strict=False)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_neighbours_are_alike_as_far_as_stated() -> None:
    score = parts_of(BY_NAME["none"], 2).score
    assert score.mean() == pytest.approx(0, abs=0.06)
    assert score.std() == pytest.approx(1, abs=0.02)
    lag = round(SHARED_PARTS)
    correlation = np.corrcoef(score[:-lag], score[lag:])[0, 1]
    # The slow components add their variances, about 0.005, to what neighbours share.
    assert correlation == pytest.approx(SHARED**2 / np.e + 0.005, abs=0.01)


def test_five_days_of_parts_make_windows_that_hold_every_part() -> None:
    windows = list(Line(BY_NAME["none"], 5).windows(1))
    assert sum(window.taken for window in windows) == 5 * 14_400
    assert windows[0].opened == START
    assert all(window.sketch.count == window.passed == window.pass_ratio.count for window in windows)
    assert np.mean([w.pass_ratio.mean for w in windows]) == pytest.approx(RATIO_MEAN, abs=0.1 * RATIO_SIGMA)
    assert sum(window.challenges.hits for window in windows) == 30


@pytest.mark.parametrize(
    ("name", "rise"), [("none", 0.0), ("supplier", 0.5), ("tool wear", 0.25 / 1.4), ("camera knocked", 0.8)]
)
def test_a_scenario_raises_scores_from_its_onset_on_by_what_it_says(name: str, rise: float) -> None:
    """Within the first working week after its onset; a creep has then reached five sevenths of a week's share."""
    told, calm = (parts_of(BY_NAME[which], 3) for which in (name, "none"))
    before = told.moment < START + 2 * WEEK_S
    difference = told.score - calm.score
    assert np.all(difference[before] == 0)
    assert difference[-1] == pytest.approx(rise, abs=0.001)


def test_ageing_light_dims_the_image_by_the_laws_of_light() -> None:
    told, calm = (parts_of(BY_NAME[name], 4) for name in ("LED ageing", "none"))
    light = told.brightness[-1] / calm.brightness[-1]
    assert light < 0.96
    assert told.contrast[-1] / calm.contrast[-1] == pytest.approx(light)
    assert told.sharpness[-1] / calm.sharpness[-1] == pytest.approx(light**2)
