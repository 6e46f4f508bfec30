"""New good parts that are not like the calibration's are told, and those that are alike are left in peace."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.vision.calibration import Calibration, calibrate
from neverblink.vision.likeness import LEAST, likeness

Scores = npt.NDArray[np.float64]


def calibrated(count: int, seed: int = 0) -> tuple[Calibration, Scores]:
    scores = np.random.default_rng(seed).lognormal(3, 0.2, count)
    return calibrate(scores, scores), scores


@pytest.mark.parametrize(("held_out", "new"), [(59, 30), (299, 147), (400, 1000)])
def test_of_parts_that_are_alike_at_most_one_in_twenty_is_warned_of(held_out: int, new: int) -> None:
    random = np.random.default_rng(held_out)
    warned = 0
    for _ in range(400):
        scores = random.lognormal(3, 0.3, held_out + new)
        before = scores[:held_out]
        warned += not likeness(calibrate(before, before), before, scores[held_out:]).alike
    # 5 % and the one-sided 95 % error of 400 draws.
    assert warned <= 28


def test_37_of_147_rejected_at_a_promise_of_one_percent_is_said_in_plain_words() -> None:
    calibration, scores = calibrated(300)
    new = np.where(np.arange(147) < 37, 1.1, 0.7) * calibration.threshold
    found = likeness(calibration, scores, new)
    assert "rejects" in found.signs
    warning = found.warning()
    assert warning is not None
    assert warning.startswith("37 of 147 good parts are rejected at a promise of 1 %: these parts are not like those")
    assert "--group-by" in warning
    assert "Fit again" in warning


def test_scores_that_rise_are_told_before_anything_is_rejected() -> None:
    calibration, scores = calibrated(300)
    new = np.minimum(1.25 * np.random.default_rng(1).lognormal(3, 0.1, 60), 0.99 * calibration.threshold)
    found = likeness(calibration, scores, new)
    assert found.rejected == 0
    assert found.signs == ("scores",)
    assert "60 good parts score higher than the 300" in (found.warning() or "")


def test_a_shift_that_nobody_would_notice_is_none_however_many_parts_show_it() -> None:
    calibration, scores = calibrated(400)
    found = likeness(calibration, scores, 1.01 * np.random.default_rng(2).lognormal(3, 0.2, 20_000))
    assert found.alike, found


def test_more_rejects_than_chance_explains_but_fewer_than_promised_break_no_promise() -> None:
    scores = np.linspace(1, 2, 2000)
    calibration = calibrate(scores, scores, false_reject=0.05)
    new = np.where(np.arange(1000) < 45, 3.0, 1.2)
    found = likeness(calibration, scores, new)
    assert (found.rejected, found.alike) == (45, True)


def test_a_tenth_of_defects_in_a_lot_is_no_reason_to_doubt_its_good_parts() -> None:
    calibration, scores = calibrated(300)
    random = np.random.default_rng(3)
    lot = np.concatenate([random.lognormal(3, 0.2, 180), random.lognormal(5, 0.2, 20)])
    assert likeness(calibration, scores, lot, mixed=True, noun="parts").alike
    other = likeness(calibration, scores, 1.4 * random.lognormal(3, 0.2, 200), mixed=True, noun="parts")
    assert other.signs == ("scores",)
    assert "Either many of them are defective, or these parts are not like" in (other.warning() or "")


@given(count=st.integers(0, LEAST - 1))
@settings(deadline=None)
def test_a_handful_says_nothing(count: int) -> None:
    calibration, scores = calibrated(59)
    assert likeness(calibration, scores, np.full(count, 1e6)).warning() is None
