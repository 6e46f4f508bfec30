"""Are good parts like those that a threshold was made from? A promise holds for such parts, and for no others."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom, mannwhitneyu

from neverblink.vision.calibration import Calibration, percent

FALSE_WARNINGS = 0.05
"""Of data that is alike, at most this share is warned of: half by each of the two tests."""

LEAST = 5
"""Fewer new parts say nothing."""

HIGHER = 0.6
"""From here on a shift is worth a warning: so often a new part scores above one of the calibration, 0.5 being alike.

Among thousands of parts a shift that nobody would notice is beyond chance too.
"""

MIXED = 0.1
"""Of parts that nobody looked at so many may be defective without a warning: so many of the highest are left out."""

Scores = npt.NDArray[np.floating]
Sign = Literal["rejects", "scores"]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How `new` good parts compare with the `calibrated` ones, whose held-out scores made the threshold.

    `chance_of_rejects`: how likely at least so many rejects are when both are alike; `chance_of_scores`: how likely
    scores so much higher are. `higher` is how often a new part scores above one of the calibration. None where parts of
    unknown quality are compared, whose rejects say nothing. `noun` says what is counted.
    """

    new: int
    calibrated: int
    rejected: int
    promised: float
    chance_of_rejects: float | None
    chance_of_scores: float
    higher: float
    noun: str = "good parts"

    @property
    def signs(self) -> tuple[Sign, ...]:
        """Return what speaks against their being alike: more rejects than promised, higher scores."""
        if self.new < LEAST:
            return ()
        found: list[Sign] = []
        each = FALSE_WARNINGS / 2 if self.chance_of_rejects is not None else FALSE_WARNINGS
        if (
            self.chance_of_rejects is not None
            and self.rejected > self.promised * self.new
            and self.chance_of_rejects < each
        ):
            found.append("rejects")
        if self.higher >= HIGHER and self.chance_of_scores < each:
            found.append("scores")
        return tuple(found)

    @property
    def alike(self) -> bool:
        """Say whether nothing speaks against it."""
        return not self.signs

    def warning(self) -> str | None:
        """Return in plain words that they are not alike, and what to do; None while nothing speaks against it."""
        signs = self.signs
        if not signs:
            return None
        if "rejects" in signs:
            said = f"{self.rejected} of {self.new} {self.noun} are rejected at a promise of {percent(self.promised)}"
        else:
            said = (
                f"{self.new} {self.noun} score higher than the {self.calibrated} that the threshold was made from:"
                f" one of them lies above one of those {percent(self.higher)} of the time, where 50 % is alike"
            )
        if self.chance_of_rejects is None:
            said += ". Either many of them are defective, or"
        else:
            said += ":"
        return (
            f"{said} these parts are not like those the threshold was made from, and its promise does not hold for"
            " them. Fit again with pictures of these among the others; where pictures belong together (one item, lot or"
            " minute), say so with --group-by; where light, lens or pose has changed, mend that first"
        )


def likeness(
    calibration: Calibration, held_out: Scores, new: Scores, *, mixed: bool = False, noun: str = "good parts"
) -> Likeness:
    """Compare the scores (n,) of `new` good parts with the calibration's `held_out` ones (m,).

    Rejects: how many of k new scores exceed an order statistic of m others follows the beta-binomial law when both were
    drawn alike, whatever their distribution. Scores: the rank sum test, one-sided (H. B. Mann and D. R. Whitney, Annals
    of Mathematical Statistics 18, 1947). With `mixed`, some new parts may be defective: the highest tenth is left out,
    and rejects do not count.
    """
    count, before = len(new), len(held_out)
    rejected = int((np.asarray(new) > calibration.threshold).sum())
    rank = min(calibration.rank, before)
    compared = np.sort(new)[: count - int(np.ceil(MIXED * count))] if mixed else np.asarray(new)
    chance, higher = 1.0, 0.5
    if len(compared):
        found = mannwhitneyu(compared, held_out, alternative="greater")
        chance, higher = float(found.pvalue), float(found.statistic) / (len(compared) * before)
    return Likeness(
        new=count,
        calibrated=before,
        rejected=rejected,
        promised=calibration.false_reject,
        chance_of_rejects=None if mixed else float(betabinom.sf(rejected - 1, count, before - rank + 1, rank)),
        chance_of_scores=chance,
        higher=higher,
        noun=noun,
    )
