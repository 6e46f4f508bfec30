"""The promise of a part with named regions: its shares add up, whatever the scores of its regions are like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.trainer.fitting.named_regions import level, shared_out
from neverblink.vision.calibration import calibrate

PROMISE = 0.1


def scores(random: np.random.Generator, count: int) -> np.ndarray:
    """Return scores of five regions that are nothing alike: in size, in spread, in how they go on, and two together."""
    common = random.normal(0, 1, count)
    return np.stack(
        [
            random.lognormal(0, 0.1, count),
            100 + 5 * random.normal(0, 1, count) + 5 * common,
            random.gamma(2, 3, count),
            np.maximum(random.normal(0, 0.05, count) + 0.03 * common, 1e-4),
            1 + random.pareto(6, count),
        ],
        axis=1,
    )


def test_no_more_good_parts_are_rejected_than_promised_whatever_regions_score() -> None:
    broken, by_region = 0, np.zeros(5)
    for seed in range(60):
        random = np.random.default_rng(seed)
        held, count = scores(random, 60), np.arange(60)
        shares = [0.3, 0.3, 0.2, 0.1, 0.1]
        own, by_fold = shared_out(held, shares, np.zeros(5), count, count % 5, PROMISE)
        highest = (held / by_fold).max(axis=1).astype(np.float32)
        threshold = calibrate(highest, highest, false_reject=PROMISE).threshold
        rejecting = scores(random, 4000) > own * threshold
        broken += rejecting.any(axis=1).mean() > PROMISE
        by_region += rejecting.mean(axis=0) / 60
    # 95 % sure: of 60 promises more than 7 break with a chance of 1 %.
    assert broken <= 7
    # No region takes what is another's: each is heard, and none is above three times its share.
    assert (by_region > 0).all()
    assert (by_region < 3 * PROMISE * np.array([0.3, 0.3, 0.2, 0.1, 0.1])).all()


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=80), st.floats(0.0001, 0.5), st.floats(0.5, 20))
@settings(max_examples=30, deadline=None)
def test_a_level_grows_as_its_share_falls_and_scales_with_the_scores(
    good: list[float], share: float, factor: float
) -> None:
    values = np.array(good)
    assert level(values, share / 2) >= level(values, share) > 0
    assert level(factor * values, share) == pytest.approx(factor * level(values, share))


def test_a_check_never_rejects_below_its_floor() -> None:
    random = np.random.default_rng(0)
    held, count = scores(random, 40), np.arange(40)
    floors = np.array([0, 0, 0, 0.5, 0])
    own, by_fold = shared_out(held, [0.2] * 5, floors, count, count % 4, PROMISE)
    assert own[3] == 0.5
    assert (by_fold[:, 3] == 0.5).all()
