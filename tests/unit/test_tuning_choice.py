"""Which recipe a search takes: the default unless one is better beyond noise, then the cheapest near the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.trainer.tuning.judging import NEVER, Parts, Scores, decide, drawn, promise_of, recalls_of, threshold_of
from neverblink.vision.calibration import calibrate


def parts(good: int = 100, bad: int = 80) -> Parts:
    return Parts(good, np.arange(bad))


def recipe(seed: int, lift: float, ms: float = 10.0, *, good: int = 100, bad: int = 80) -> Scores:
    """Return scores whose defects lie `lift` deviations above good parts; the parts' own luck is that of `seed`."""
    random = np.random.default_rng(seed)
    return Scores(random.normal(0, 1, good), random.normal(lift, 1, bad), ms)


def shifted(scores: Scores, lift: float, ms: float) -> Scores:
    return Scores(scores.good, scores.bad + lift, ms)


def test_a_threshold_is_the_one_that_calibrate_sets() -> None:
    one = recipe(0, 2.0)
    promise = promise_of(100, None)
    good = (one.good + 10).astype(np.float32)
    lifted = Scores(good.astype(np.float64), one.bad, 1.0)
    assert threshold_of(lifted, promise) == calibrate(good, good, false_reject=promise).threshold


def test_a_draw_of_everything_once_judges_as_all_parts_do() -> None:
    one = recipe(1, 2.5)
    draws = drawn(parts())
    once = type(draws)(np.ones_like(draws.good), np.ones_like(draws.bad))
    found = recalls_of(one, once, 0.05)
    assert found.threshold == pytest.approx(threshold_of(one, 0.05))
    assert found.recall == pytest.approx(float((one.bad > threshold_of(one, 0.05)).mean()))


def test_groups_stay_together_in_every_draw() -> None:
    of_items = Parts(10, np.repeat(np.arange(6), 5))
    assert (np.ptp(drawn(of_items).bad.reshape(-1, 6, 5), axis=2) == 0).all()
    painted = Parts(10, np.array([0, 0, 3, 9]), tied=True)
    draws = drawn(painted)
    assert (draws.bad == draws.good[:, [0, 0, 3, 9]]).all()


def test_what_is_clearly_better_is_taken_and_the_cheapest_of_such() -> None:
    default = recipe(2, 2.0)
    best, cheap = shifted(default, 2.0, 40.0), shifted(default, 1.99, 20.0)
    found = decide([default, best, cheap], parts(), 0.05)
    assert found.chosen == 2
    assert [row.beats for row in found.judged] == [False, True, True]
    assert "beyond what chance explains" in found.why
    assert found.fresh is not None
    assert found.fresh.gain > 0.3


def test_what_is_no_better_leaves_the_default_even_where_it_is_cheaper() -> None:
    default = recipe(3, 3.0)
    found = decide([default, shifted(default, 0.0, 1.0), shifted(default, -1.0, 0.5)], parts(), 0.05)
    assert found.chosen == 0
    assert "it stays" in found.why


def test_luck_among_many_equals_seldom_beats_the_default() -> None:
    taken = 0
    for trial in range(20):
        equals = [recipe(1000 * trial + number, 2.0, good=60, bad=40) for number in range(8)]
        taken += decide(equals, parts(60, 40), 0.05).chosen != 0
    # By design one in ten such searches; of 20 more than 8 would be by chance once in ten thousand.
    assert taken <= 8


def test_the_figure_on_fresh_parts_is_below_the_winners_own() -> None:
    own, fresh = [], []
    for trial in range(8):
        equals = [recipe(500 + 100 * trial + number, 2.0, good=60, bad=30) for number in range(10)]
        found = decide(equals, parts(60, 30), 0.05)
        own.append(max(row.recall for row in found.judged))
        fresh.append(found.fresh.recall if found.fresh else np.nan)
    assert float(np.mean(fresh)) < float(np.mean(own)) - 0.05


def test_parts_that_screened_say_nothing_of_the_winner() -> None:
    default = recipe(5, 2.0)
    # A recipe that finds all that screened it, and nothing else.
    bad = np.where(np.arange(80) % 2 == 0, 50.0, -50.0)
    screened = Parts(100, np.arange(80), False, np.zeros(100, bool), np.arange(80) % 2 == 0)
    found = decide([default, Scores(default.good, bad, 1.0)], screened, 0.05)
    assert found.fresh is not None
    assert found.fresh.recall <= found.fresh.default


def test_nothing_slower_than_the_bound_is_taken() -> None:
    default = recipe(6, 2.0, ms=50)
    fast, faster = shifted(default, -0.01, 20.0), shifted(default, -1.5, 5.0)
    found = decide([default, fast, faster], parts(), 0.05, max_ms=30)
    assert found.chosen == 1
    assert found.judged[0].too_slow
    none = decide([default, fast, faster], parts(), 0.05, max_ms=1)
    assert none.chosen == 2
    assert "none of the recipes" in none.why


def test_a_part_that_is_not_found_is_never_a_defect_found() -> None:
    default = recipe(7, 3.0)
    blind = Scores(default.good, np.full(80, NEVER), 1.0)
    found = decide([default, blind], parts(), 0.05)
    assert found.judged[1].recall == 0
    assert found.chosen == 0


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(1, 100)), min_size=1, max_size=6), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_choice_is_never_worse_than_the_default_and_no_cheaper_one_is_as_good(
    rivals: list[tuple[float, float]], seed: int
) -> None:
    default = recipe(seed, 2.0, ms=30.0, good=60, bad=40)
    scores = [default, *(shifted(default, lift, ms) for lift, ms in rivals)]
    found = decide(scores, parts(60, 40), 0.05)
    taken = found.judged[found.chosen]
    assert taken.gain >= 0
    assert found.chosen == 0 or taken.beats
    for row in found.judged:
        if row.near and row.beats and found.chosen:
            assert taken.ms <= row.ms * 1.1 + 1e-9
