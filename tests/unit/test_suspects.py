"""Pictures that stand out among held-out scores are named, and a set without any is left in peace."""

from pathlib import Path

import numpy as np
import pytest

from neverblink.trainer.fitting.cross_fitting import HeldOut
from neverblink.trainer.fitting.suspects import find_suspects, standing_out, suspects_notes, taken_for_bad
from neverblink.vision.calibration import calibrate


def held_out(scores: np.ndarray) -> HeldOut:
    found = scores.astype(np.float32)
    return HeldOut(found, found, np.arange(len(found)))


def paths(count: int) -> list[Path]:
    return [Path(f"{number}.png") for number in range(count)]


@pytest.mark.parametrize("count", [60, 150, 300])
def test_a_picture_that_raises_the_threshold_by_half_is_named_with_the_threshold_without_it(count: int) -> None:
    scores = np.exp(3 + 0.15 * np.clip(np.random.default_rng(count).normal(size=count), -2.5, 2.5))
    scores[7] = 1.5 * scores.max()
    scores = scores.astype(np.float32)
    others = np.delete(scores, 7)
    (odd,) = find_suspects(paths(count), held_out(scores), "auto")
    assert odd.path == Path("7.png")
    assert odd.threshold_without == pytest.approx(calibrate(others, others).threshold)
    (note,) = suspects_notes([odd], calibrate(scores, scores))
    assert "1 training picture stands out, and the threshold of" in note
    assert "7.png: score" in note


def test_two_alike_do_not_hide_each_other() -> None:
    scores = np.random.default_rng(1).lognormal(3, 0.15, 100)
    scores[[4, 9]] = 1.31 * scores.max(), 1.3 * scores.max()
    assert [one.path.stem for one in find_suspects(paths(100), held_out(scores), "auto")] == ["4", "9"]


def test_few_of_clean_sets_have_a_picture_named() -> None:
    random = np.random.default_rng(2)
    named = [standing_out(np.sort(random.lognormal(3, 0.15, 200))[::-1]) for _ in range(200)]
    assert np.mean([count > 0 for count in named]) <= 0.05


def test_among_a_handful_nothing_stands_out() -> None:
    assert standing_out(np.array([100.0, *[1.0] * 10])) == 0


def test_a_robust_fit_leaves_out_a_twentieth_at_most_and_says_what_stays() -> None:
    scores = np.concatenate([np.random.default_rng(3).lognormal(3, 0.1, 90), np.linspace(200, 300, 10)])
    suspects = find_suspects(paths(100), held_out(scores), "auto")
    assumed = taken_for_bad(suspects, 100)
    assert (len(suspects), len(assumed.left_out), assumed.stay) == (10, 5, 5)
    assert [one.score for one in assumed.left_out] == sorted((one.score for one in suspects), reverse=True)[:5]
    assert "5 more stand out and stay" in assumed.note()
    assert "The promise holds only if they are indeed not good" in assumed.note()
