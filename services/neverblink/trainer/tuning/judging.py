"""Which recipe to take, from what each scores on the same good and defective parts, and how far chance moves it.

Pure: arrays in, a decision out. A recipe's threshold is the order statistic of its good parts' held-out scores that
keeps the promise, as `calibrate` chooses it; its recall is the share of defective parts above. That threshold hangs on
the one or two highest of the good parts, and so on which were photographed: recipes are told apart by their recall
around the promise, the mean of those at the promised share of false rejects, at twice and at five times as much. Parts
are drawn anew with replacement, groups whole, and all recipes judged by the same draws: differences are paired.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from neverblink.vision.calibration import DEFAULT_FALSE_REJECT, threshold_rank, tightest_promise

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.int64]
Taken = npt.NDArray[np.bool_]

DRAWS: Final = 400

AROUND: Final = (1.0, 2.0, 5.0)
"""Shares of false rejects, as multiples of the promise, that recipes are told apart by."""

_LOOSEST: Final = 0.25

DOUBT: Final = 0.1
"""A recipe beats the default when the best of as many that are no better gains as much by chance in one of ten such
searches: the highest of all studentised gains is what it is measured by (H. White, Econometrica 68, 2000)."""

_ALIKE_MS: Final = 0.1
"""Times within a tenth of one another are one price: a machine's own noise."""

NEVER: Final = -np.inf
"""What a part scores in which nothing was found: it sets no threshold, and its defect is not counted as found."""


class Scores(NamedTuple):
    """What one recipe gives: the worst held-out score of each group of good parts (G,), the score of each defect (D,),
    and milliseconds an image.
    """

    good: Floats
    bad: Floats
    ms: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What all recipes are judged on: `good` groups of good parts, and of each defect (D,) the group that it is drawn
    with: its own kind of groups, or, `tied`, that of the good part that it was painted on. `screened` good (G,) and bad
    (D,) bool have chosen who came so far, and say nothing of the winner.
    """

    good: int
    group: Weights
    tied: bool = False
    screened_good: Taken | None = None
    screened_bad: Taken | None = None


@dataclass(frozen=True, slots=True)
class Draws:
    """How often each draw has each good group (B, G) and each defect (B, D)."""

    good: Weights
    bad: Weights


def drawn(parts: Parts, *, count: int = DRAWS, seed: int = 0) -> Draws:
    """Draw groups with replacement; the same seed gives the same draws."""
    random = np.random.default_rng(seed)
    good = _counts(random, parts.good, count)
    if parts.tied:
        return Draws(good, good[:, parts.group])
    groups = int(parts.group.max()) + 1
    return Draws(good, _counts(random, groups, count)[:, parts.group])


def _counts(random: np.random.Generator, groups: int, count: int) -> Weights:
    return random.multinomial(groups, np.full(groups, 1 / groups), size=count).astype(np.int64)


def promise_of(good: int, asked: float | None) -> float:
    """Return the share of false rejects that so many good groups are judged at: what is asked, or the tightest."""
    return max(asked or DEFAULT_FALSE_REJECT, tightest_promise(good))


def threshold_of(scores: Scores, promise: float) -> float:
    """Return the threshold that all good groups together set."""
    rank = threshold_rank(len(scores.good), promise)
    return float(np.sort(scores.good)[rank - 1])


@dataclass(frozen=True, slots=True)
class Recalls:
    """Thresholds, recalls and recalls around the promise (B,) of one recipe over all draws."""

    threshold: Floats
    recall: Floats
    around: Floats


def recalls_of(scores: Scores, draws: Draws, promise: float) -> Recalls:
    """Judge one recipe by every draw."""
    count = len(scores.good)
    order = np.argsort(scores.good, kind="stable")
    passed = np.cumsum(draws.good[:, order], axis=1)

    def at(rank: int) -> tuple[Floats, Floats]:
        threshold = scores.good[order][(passed >= rank).argmax(axis=1)]
        found = (scores.bad[None, :] > threshold[:, None]) * draws.bad
        return threshold, np.asarray(found.sum(axis=1) / np.maximum(draws.bad.sum(axis=1), 1))

    shares = [min(_LOOSEST, factor * promise) for factor in AROUND]
    around = np.mean([at(math.ceil((1 - share) * count))[1] for share in shares], axis=0)
    return Recalls(*at(threshold_rank(count, promise)), around)


@dataclass(frozen=True, slots=True)
class Judged:
    """One recipe's figures: recall at the promise by all parts with the middle 95 % of the draws, the `mean` around the
    promise and its gain over the default, the AUROC, and whether it `beats` the default or is `near` the best that do.
    """

    recall: float
    mean: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    auroc: float
    ms: float
    beats: bool = False
    near: bool = False
    too_slow: bool = False


@dataclass(frozen=True, slots=True)
class Fresh:
    """What the search finds on parts that chose nothing: recall of its choice and of the default with the middle 95 %
    of the draws, their difference, and the share of good groups that is rejected. None where too few were left.
    """

    recall: float
    low: float
    high: float
    default: float
    gain: float
    gain_low: float
    gain_high: float
    rejected: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Which recipe is taken, all figures in the order given, and why, in a sentence."""

    chosen: int
    judged: tuple[Judged, ...]
    why: str
    fresh: Fresh | None


def gains(scores: Sequence[Scores], draws: Draws, promise: float) -> Floats:
    """Return the mean gain around the promise of each recipe over the first one."""
    recalls = np.stack([recalls_of(one, draws, promise).around for one in scores])
    return np.asarray((recalls - recalls[0]).mean(axis=1))


def decide(
    scores: Sequence[Scores], parts: Parts, promise: float, *, max_ms: float | None = None, seed: int = 0
) -> Decision:
    """Choose among recipes; the first is the default, which stays unless one beats it beyond noise.

    Of those that do, the cheapest is taken that is within noise of the best of them. Where the default needs more than
    `max_ms`, it is the cheapest within noise of the best that does not.
    """
    draws = drawn(parts, seed=seed)
    judged = [recalls_of(one, draws, promise) for one in scores]
    recalls = np.stack([one.around for one in judged])
    gain = recalls - recalls[0]
    margin = _margins(gain)
    fast = np.array([max_ms is None or one.ms <= max_ms for one in scores])
    beats = (gain.mean(axis=1) > margin) & fast
    pool, near = _pool(recalls, beats, fast)
    chosen = _cheapest(pool, scores, recalls.mean(axis=1)) if fast.any() else int(np.argmin([o.ms for o in scores]))
    rows = tuple(
        Judged(
            recall=float((one.bad > threshold_of(one, promise)).mean()),
            mean=float(recalls[place].mean()),
            **dict(zip(("low", "high"), _middle(judged[place].recall), strict=True)),
            gain=float(gain[place].mean()),
            **dict(zip(("gain_low", "gain_high"), _middle(gain[place]), strict=True)),
            auroc=_auroc(one),
            ms=one.ms,
            beats=bool(beats[place]),
            near=bool(near[place]),
            too_slow=not bool(fast[place]),
        )
        for place, one in enumerate(scores)
    )
    fresh = _fresh(scores, judged, draws, parts, margin, fast)
    return Decision(chosen, rows, _why(chosen, rows, fast, max_ms), fresh)


def _margins(gain: Floats) -> Floats:
    """Return the mean gain (K,) that each recipe must exceed, from paired gains (K, B) over the draws."""
    mean, deviation = gain.mean(axis=1), gain.std(axis=1)
    varies = deviation > 0
    if not varies.any():
        return np.zeros(len(gain))
    away = (gain[varies] - mean[varies, None]) / deviation[varies, None]
    return np.asarray(deviation * float(np.quantile(away.max(axis=0), 1 - DOUBT)))


def _pool(recalls: Floats, beats: Taken, fast: Taken) -> tuple[list[int], Taken]:
    """Return who may be taken, and who is within noise of the best of those that may."""
    rivals = beats if beats.any() else fast
    none = np.zeros(len(recalls), dtype=np.bool_)
    if not rivals.any():
        return [], none
    best = max(np.flatnonzero(rivals), key=lambda place: float(recalls[place].mean()))
    behind = np.quantile(recalls[best] - recalls, DOUBT, axis=1)
    near = (behind <= 0) & rivals
    if not beats.any() and fast[0]:
        return [0], near
    return np.flatnonzero(near).tolist(), near


def _cheapest(pool: Sequence[int], scores: Sequence[Scores], recall: Floats) -> int:
    least = min(scores[place].ms for place in pool)
    alike = [place for place in pool if scores[place].ms <= (1 + _ALIKE_MS) * least]
    return max(alike, key=lambda place: (recall[place], -place))


def _fresh(
    scores: Sequence[Scores],
    judged: Sequence[Recalls],
    draws: Draws,
    parts: Parts,
    margin: Floats,
    fast: Taken,
) -> Fresh | None:
    """Choose within each draw, and judge by the parts that it lacks and that no screening saw (I. Tsamardinos, E.
    Greasidou, G. Borboudakis, Machine Learning 107, 2018).
    """
    gain = np.stack([one.around for one in judged]) - judged[0].around
    gain = np.where((gain > margin[:, None]) & fast[:, None], gain, -np.inf)
    home = 0 if fast[0] or not fast.any() else int(np.flatnonzero(fast)[0])
    chosen = np.where(np.isfinite(gain.max(axis=0)), gain.argmax(axis=0), home)
    unseen_good, unseen_bad = draws.good == 0, draws.bad == 0
    if parts.screened_good is not None and parts.screened_bad is not None:
        unseen_good &= ~parts.screened_good
        unseen_bad &= ~parts.screened_bad
    able = unseen_bad.any(axis=1)
    if able.sum() < len(able) / 2:
        return None
    draw = np.arange(len(chosen))
    threshold = np.stack([one.threshold for one in judged])[chosen, draw][:, None]
    good, bad = (np.stack([getattr(one, kind) for one in scores])[chosen] for kind in ("good", "bad"))
    recall = _mean_of(bad > threshold, unseen_bad)[able]
    default = _mean_of(scores[0].bad > judged[0].threshold[:, None], unseen_bad)[able]
    rejected = _mean_of(good > threshold, unseen_good)[able]
    return Fresh(
        float(recall.mean()),
        *_middle(recall),
        float(default.mean()),
        float((recall - default).mean()),
        *_middle(recall - default),
        float(rejected.mean()),
    )


def _mean_of(values: Taken, which: Taken) -> Floats:
    """Return the share (B,) of those asked for that is true, 0 where none is asked for."""
    return np.asarray((values & which).sum(axis=1) / np.maximum(which.sum(axis=1), 1))


def _middle(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _auroc(scores: Scores) -> float:
    values = np.concatenate([scores.good, scores.bad])
    # What was not found is below all that was.
    values = np.where(np.isfinite(values), values, np.finfo(np.float32).min)
    return float(roc_auc_score([False] * len(scores.good) + [True] * len(scores.bad), values))


def _why(chosen: int, rows: Sequence[Judged], fast: Taken, max_ms: float | None) -> str:
    if not fast.any():
        return f"none of the recipes stays within {max_ms:g} ms an image on this machine: the fastest is taken"
    if any(row.beats for row in rows):
        near = sum(row.near for row in rows)
        others = "" if near == 1 else f"; {near} recipes are within noise of the best, and it is the cheapest of them"
        return f"it finds more than the default beyond what chance explains{others}"
    if chosen == 0:
        return "nothing that was tried finds more than the default beyond what chance explains: it stays"
    return f"the default needs more than {max_ms:g} ms an image: of the others the cheapest within noise of the best"
