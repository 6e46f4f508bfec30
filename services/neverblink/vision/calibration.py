"""A threshold that keeps a promise: at most this share of good parts is rejected, with 95 % confidence.

An order statistic of the scores of good images needs no assumption on their distribution, only that the
images were drawn like the parts of tomorrow (Wilks 1941; what moves after that is drift, and watched).
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from neverblink.vision.errors import VisionError

CONFIDENCE = 0.95

DEFAULT_FALSE_REJECT = 0.01
"""What `auto` asks for when there are enough good images: 299."""


class CalibrationError(VisionError):
    """A promise that the given number of good images cannot support."""


class Calibration(BaseModel):
    """A threshold on the image score and the promise behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: float = Field(gt=0, description="A part is rejected when its score is above.")
    map_threshold: float = Field(gt=0, description="A map value above is part of a defect region.")
    false_reject: float = Field(gt=0, lt=1, description="At most this share of good parts is rejected,")
    confidence: float = Field(gt=0, lt=1, description="with this confidence.")
    normals: int = Field(
        ge=1, description="Good images whose held-out scores were used; copies of a picture count once, by their worst."
    )
    rank: int = Field(ge=1, description="How many of their scores do not exceed the threshold.")
    method: Literal["bound", "cost", "given"] = Field(
        default="bound",
        description="bound: the threshold was chosen to keep the promise; cost: for the least cost on labelled"
        " images; given: by a person. The promise is that of the threshold in any case.",
    )
    unsure_from: float | None = Field(
        default=None, gt=0, description="From here up to the threshold a part passes and a person should look."
    )
    pictures: int | None = Field(
        default=None,
        ge=1,
        description="Good images in the groups (items, minutes) that `normals` counts; null: none were grouped.",
    )
    taken_out: int = Field(
        default=0,
        ge=0,
        description="Images that stood out and were taken for not good: the promise holds only if they are not.",
    )

    def is_unsure(self, score: float, edited: float | None = None) -> bool:
        """Say whether a score lies in the unsure band, which ends at the threshold, or at the one it was `edited` to.

        Edited to the band's lower edge or below, there is no band left.
        """
        threshold = self.threshold if edited is None else edited
        return self.unsure_from is not None and self.unsure_from < score <= threshold

    @property
    def counted(self) -> str:
        """Return what `normals` counts."""
        return counted(grouped=self.pictures is not None)

    def statement(self) -> str:
        """Return the promise as a sentence."""
        said = (
            f"at most {percent(self.false_reject)} of good parts are rejected, with"
            f" {percent(self.confidence)} confidence, from {self.normals} {self.counted}"
        )
        if self.pictures is not None:
            said += f" of {self.pictures} good images"
        if self.method == "bound" and self.rank == self.normals:
            needed = normals_needed(DEFAULT_FALSE_REJECT, self.confidence)
            if self.false_reject > DEFAULT_FALSE_REJECT and needed > self.normals:
                said += f"; {needed} {self.counted} would promise {percent(DEFAULT_FALSE_REJECT)}"
        if self.taken_out:
            images = "image" if self.taken_out == 1 else "images"
            said += f"; it holds only if the {self.taken_out} {images} that stood out and were left out are not good"
        return said

    def from_the_same(self, before: "Calibration") -> "Calibration":
        """Return this calibration with what is true of all that were made from the same held-out images."""
        return self.model_copy(update={"pictures": before.pictures, "taken_out": before.taken_out})


def calibrate(
    scores: npt.NDArray[np.floating],
    peaks: npt.NDArray[np.floating],
    *,
    false_reject: float | Literal["auto"] = "auto",
    confidence: float = CONFIDENCE,
    unsure: float | None = None,
    counted: str = "good images",
) -> Calibration:
    """Choose the thresholds from held-out good images: (m,) image scores and (m,) highest map values.

    `auto` promises 1 % where there are enough images, else the tightest rate that can be promised. `unsure`
    opens the band that people look at: at most this share of good parts lies above its lower edge. `counted` is what
    a score stands for, in an error's words.
    Raises CalibrationError, naming the number of images needed, when a given rate cannot be promised.
    """
    count = len(scores)
    if count == 0:
        raise CalibrationError("no good images are left to calibrate with")
    _check_numbers(scores, peaks)
    rate = (
        max(DEFAULT_FALSE_REJECT, tightest_promise(count, confidence))
        if isinstance(false_reject, str)
        else false_reject
    )
    rank = threshold_rank(count, rate, confidence, counted)
    return Calibration(
        threshold=_order_statistic(scores, rank),
        map_threshold=_order_statistic(peaks, rank),
        false_reject=rate,
        confidence=confidence,
        normals=count,
        rank=rank,
        unsure_from=_unsure_from(scores, unsure, rate, confidence),
    )


def calibrate_at(
    threshold: float,
    scores: npt.NDArray[np.floating],
    peaks: npt.NDArray[np.floating],
    *,
    method: Literal["cost", "given"],
    confidence: float = CONFIDENCE,
    unsure: float | None = None,
) -> Calibration:
    """Return what a threshold from elsewhere promises, by held-out good images that did not choose it.

    The promise is the upper confidence bound of the share above the threshold (C. J. Clopper and E. S. Pearson,
    Biometrika 26, 1934). The map threshold is the same quantile of the highest map values.
    Raises CalibrationError when every good image would be rejected.
    """
    count = len(scores)
    _check_numbers(scores, peaks, np.array([threshold]))
    rank = int((np.asarray(scores) <= threshold).sum())
    rate = promised_at(threshold, scores, confidence)
    if rate is None:
        raise CalibrationError(f"a threshold of {threshold:.4g} rejects all {count} held-out good images")
    return Calibration(
        threshold=threshold,
        map_threshold=_order_statistic(peaks, rank),
        false_reject=rate,
        confidence=confidence,
        normals=count,
        rank=rank,
        method=method,
        unsure_from=_unsure_from(scores, unsure, rate, confidence),
    )


def promised_at(threshold: float, scores: npt.NDArray[np.floating], confidence: float = CONFIDENCE) -> float | None:
    """Return what share of good parts a threshold rejects at most, by (m,) held-out scores that did not choose it.

    None where it rejects every one of them: then nothing is promised.
    """
    from scipy.special import betaincinv  # not above: who reads what was promised needs no scipy

    count, rank = len(scores), int((np.asarray(scores) <= threshold).sum())
    return float(betaincinv(count - rank + 1, rank, confidence)) if rank else None


class CostThreshold(NamedTuple):
    """The cheapest threshold on labelled images, its cost, and what it does to them."""

    threshold: float
    cost: float
    false_rejects: int
    missed: int


def threshold_by_cost(
    good_scores: npt.NDArray[np.floating],
    defect_scores: npt.NDArray[np.floating],
    *,
    false_reject_cost: float = 1.0,
    miss_cost: float = 50.0,
) -> CostThreshold:
    """Return the threshold of least `false_rejects * false_reject_cost + missed * miss_cost`.

    Exact over all thresholds: the cost changes at a score only, so one sort and two running sums hold every
    case, O(n log n). Of equal ones the lowest is taken, and the threshold lies midway to the next score.
    Raises CalibrationError without good or defective scores, or for costs below zero.
    """
    if len(good_scores) == 0 or len(defect_scores) == 0:
        raise CalibrationError("a threshold by cost needs scores of good and of defective parts")
    if false_reject_cost < 0 or miss_cost < 0:
        raise CalibrationError(f"costs are not below zero: {false_reject_cost} and {miss_cost}")
    scores = np.concatenate([good_scores, defect_scores]).astype(np.float64)
    _check_numbers(scores)
    order = np.argsort(scores, kind="stable")
    defective = order >= len(good_scores)
    levels, last = np.unique(scores[order][::-1], return_index=True)
    last = len(scores) - last  # how many scores do not exceed each level
    missed = np.concatenate([[0], np.cumsum(defective)[last - 1]])
    false_rejects = np.concatenate([[len(good_scores)], len(good_scores) - np.cumsum(~defective)[last - 1]])
    costs = false_rejects * false_reject_cost + missed * miss_cost
    best = int(costs.argmin())
    edges = np.concatenate([[0.0], levels, levels[-1:]])
    threshold = max(float(edges[best] + edges[best + 1]) / 2, float(np.finfo(np.float32).tiny))
    return CostThreshold(threshold, float(costs[best]), int(false_rejects[best]), int(missed[best]))


def threshold_rank(
    count: int, false_reject: float, confidence: float = CONFIDENCE, counted: str = "good images"
) -> int:
    """Return the smallest k for which the k-th smallest of `count` good scores keeps the promise.

    The share of good parts above the k-th order statistic exceeds p only if at most count - k of the scores
    fell above their own p-quantile: the probability of that must be at most 1 - confidence.
    Raises CalibrationError when even the largest score does not.
    """
    if not 0 < false_reject < 1:
        raise CalibrationError(f"a false-reject rate lies between 0 and 1, not at {false_reject}")
    allowed = 1 - confidence
    log_p, log_q = math.log(false_reject), math.log1p(-false_reject)
    # A hair of tolerance, so that the rate which `tightest_promise` returns is accepted in floating point.
    tail = 0.0
    above = -1
    for hits in range(count):
        log_choose = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
        tail += math.exp(log_choose + hits * log_p + (count - hits) * log_q)
        if tail > allowed * (1 + 1e-9):
            break
        above = hits
    if above < 0:
        raise CalibrationError(
            f"{count} {counted} cannot promise a false-reject rate of {percent(false_reject)} with"
            f" {percent(confidence)} confidence: {normals_needed(false_reject, confidence)} are needed;"
            f" {count} can promise {percent(tightest_promise(count, confidence))}"
        )
    return count - above


def normals_needed(false_reject: float, confidence: float = CONFIDENCE) -> int:
    """Return how many good images a promise needs: 29 for 10 %, 59 for 5 %, 149 for 2 %, 299 for 1 %."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-false_reject) - 1e-9)


def tightest_promise(count: int, confidence: float = CONFIDENCE) -> float:
    """Return the smallest false-reject rate that `count` good images can promise."""
    return -math.expm1(math.log(1 - confidence) / count)


def folds(count: int, wanted: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Assign each of `count` groups of images to one of at most `wanted` folds of equal size; returns (count,) int64.

    Each image is scored by a bank that never saw it, nor a copy of it, so no image is lost to calibration.
    Raises CalibrationError for fewer than two groups.
    """
    if count < 2:
        raise CalibrationError(
            f"{count} good image cannot calibrate a threshold, copies counted once: give at least 2, better 59 (5 %) or"
            " 299 (1 %)"
        )
    order = np.random.default_rng(seed).permutation(count)
    assigned = np.empty(count, dtype=np.int64)
    assigned[order] = np.arange(count) % min(wanted, count)
    return assigned


def _unsure_from(
    scores: npt.NDArray[np.floating], unsure: float | None, rate: float, confidence: float
) -> float | None:
    if unsure is None:
        return None
    if unsure <= rate:
        raise CalibrationError(
            f"the unsure band holds a larger share of good parts than the {percent(rate)} that may be rejected,"
            f" not {percent(unsure)}"
        )
    return _order_statistic(scores, threshold_rank(len(scores), unsure, confidence))


def _check_numbers(*values: npt.NDArray[np.floating]) -> None:
    for some in values:
        wrong = int(np.count_nonzero(~np.isfinite(some)))
        if wrong:
            raise CalibrationError(f"{wrong} of {len(some)} scores are no numbers: nothing can be calibrated by them")


def _order_statistic(values: npt.NDArray[np.floating], rank: int) -> float:
    return max(float(np.partition(values, rank - 1)[rank - 1]), float(np.finfo(np.float32).tiny))


def counted(*, grouped: bool) -> str:
    """Return what a held-out score stands for."""
    return "groups" if grouped else "good images"


def percent(share: float) -> str:
    """Return a share as people read it: 0.0495 as 4.95 %."""
    return f"{100 * share:.3g} %"
