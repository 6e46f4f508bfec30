"""Above which probability a pixel belongs to a defect: where Dice is highest, and good parts stay quiet."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from neverblink.confidence.intervals import upper_bound
from neverblink.vision.calibration import CONFIDENCE

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_STEPS = 1000
"""Thresholds are multiples of a thousandth."""

_LEARNT = 0.1
"""Below this Dice a class was not learnt, and the threshold that looks best would mark half an image."""

_AS_GOOD = 0.001
"""Dice that is not worth a threshold further from one half."""


class DiceCurve:
    """Dice of one class at every threshold, 2 |A ∩ B| / (|A| + |B|), as the mean over the images that show it.

    Over images, not pooled pixels: a crack must count beside a stain a hundred times its size.
    """

    def __init__(self) -> None:
        self._sum = np.zeros(_STEPS)
        self._images = 0

    def add(self, probabilities: Floats, truth: Mask) -> None:
        """Count an image, or a tile of one: probabilities and truth of one shape."""
        if not truth.any():
            return
        # A pixel is above k thousandths when its step is k or more.
        steps = np.clip(np.ceil(probabilities * _STEPS) - 1, 0, _STEPS - 1).astype(np.int64)
        hits = np.cumsum(np.bincount(steps[truth], minlength=_STEPS)[::-1])[::-1]
        rest = np.cumsum(np.bincount(steps[~truth], minlength=_STEPS)[::-1])[::-1]
        self._sum += 2 * hits / (hits + rest + np.count_nonzero(truth))
        self._images += 1

    def dice(self, threshold: float) -> float | None:
        """Return Dice at a threshold, None where no image shows a defect."""
        values = self._values()
        return None if values is None else float(values[round(threshold * _STEPS)])

    def highest(self) -> float | None:
        """Return Dice at the threshold that is best for it, None where no image shows a defect."""
        values = self._values()
        return None if values is None else float(values[1:].max())

    def best(self) -> float:
        """Return the threshold of the highest Dice, of equally good ones the nearest to one half.

        That is one half itself for a class that no image shows or that was not learnt.
        """
        values = self._values()
        if values is None or values[1:].max() < _LEARNT:
            return 0.5
        good = np.flatnonzero(values[1:] >= values[1:].max() - _AS_GOOD) + 1
        return int(good[np.abs(good - _STEPS // 2).argmin()]) / _STEPS

    def _values(self) -> npt.NDArray[np.float64] | None:
        return self._sum / self._images if self._images else None


def sure_levels(good: Floats, defects: Sequence[Floats], false_alarms: float | None) -> tuple[float, ...]:
    """Return the evidence that a region of each class needs, so that few enough good images have one.

    `good` (n, K) is the most evidence of a region in good images, of which at most the share `false_alarms` may be
    marked, whatever the class, but one always; None asks for nothing. `defects` holds the (m,) most evidence in the
    labelled defects of each class. Of the classes that mark an image too many, the one is raised that loses the fewest
    of its defects by it.
    """
    levels = [0.0] * len(defects)
    if false_alarms is None:
        return tuple(levels)
    # Of 40 images 2 % are none: then one odd part would decide how sure every region must be.
    allowed = max(math.floor(false_alarms * len(good)), 1 if false_alarms else 0)
    while count_alarms(good, levels) > allowed:
        raised = [
            (_lost(own, levels[channel], above), above - levels[channel], channel, above)
            for channel, own in enumerate(defects)
            if (above := _next_quiet(good[:, channel], levels[channel])) is not None
        ]
        *_, channel, levels[channel] = min(raised)
    return tuple(levels)


def count_alarms(good: Floats, levels: Sequence[float]) -> int:
    """Return how many of n good images have a region above the level of any class; `good` (n, K) is their evidence."""
    return int((good > np.asarray(levels, dtype=np.float32)).any(axis=1).sum())


def alarm_bound(alarms: int, images: int) -> float | None:
    """Return the upper 95 % confidence bound of the share of good images that are marked; None without any.

    Where these images chose the threshold too, the bound is that of the best case: images that nobody has seen yet
    tell.
    """
    return upper_bound(alarms, images, CONFIDENCE) if images else None


def _next_quiet(good: Floats, level: float) -> float | None:
    """Return the least level that silences one more image, None where none is left."""
    above = good[good > np.float32(level)]
    return float(above.min()) if len(above) else None


def _lost(defects: Floats, before: float, after: float) -> float:
    """Return which share of the defects is found at one level and not at another; 1 where there are none to tell."""
    if not len(defects):
        return 1.0
    return float(((defects > np.float32(before)) & (defects <= np.float32(after))).mean())
