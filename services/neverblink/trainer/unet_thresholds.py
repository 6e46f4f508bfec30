"""Above which probability a pixel belongs to a defect: where Dice is highest, and good parts stay quiet."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

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
    """Dice of one class at every threshold, from counts over any number of pixels: 2 |A ∩ B| / (|A| + |B|)."""

    def __init__(self) -> None:
        self._defect = np.zeros(_STEPS)
        self._rest = np.zeros(_STEPS)

    def add(self, probabilities: Floats, truth: Mask) -> None:
        """Count pixels: probabilities and truth of one shape."""
        # A pixel is above k thousandths when its step is k or more.
        steps = np.clip(np.ceil(probabilities * _STEPS) - 1, 0, _STEPS - 1).astype(np.int64)
        self._defect += np.bincount(steps[truth], minlength=_STEPS)
        self._rest += np.bincount(steps[~truth], minlength=_STEPS)

    def dice(self, threshold: float) -> float | None:
        """Return Dice at a threshold, None where no pixel is a defect."""
        values = self._values()
        return None if values is None else float(values[round(threshold * _STEPS)])

    def highest(self) -> float | None:
        """Return Dice at the threshold that is best for it, None where no pixel is a defect."""
        values = self._values()
        return None if values is None else float(values[1:].max())

    def best(self) -> float:
        """Return the threshold of the highest Dice, of equally good ones the nearest to one half.

        That is one half itself for a class that no pixel shows or that was not learnt.
        """
        values = self._values()
        if values is None or values[1:].max() < _LEARNT:
            return 0.5
        good = np.flatnonzero(values[1:] >= values[1:].max() - _AS_GOOD) + 1
        return int(good[np.abs(good - _STEPS // 2).argmin()]) / _STEPS

    def _values(self) -> npt.NDArray[np.float64] | None:
        defects = self._defect.sum()
        if not defects:
            return None
        hits = np.cumsum(self._defect[::-1])[::-1]
        return np.asarray(2 * hits / (hits + np.cumsum(self._rest[::-1])[::-1] + defects))


def quiet_thresholds(curves: Sequence[DiceCurve], peaks: Floats, false_alarms: float | None) -> tuple[float, ...]:
    """Return a threshold a class: the best by Dice, raised until few enough good images have a pixel above.

    `peaks` (n, K) are the highest probabilities in good images, of which at most the share `false_alarms` may be
    marked, whatever the class; None raises nothing. Of the classes that mark an image too many, the one is raised
    that loses the least Dice by it. What is certain to a thousandth cannot be silenced.
    """
    thresholds = [curve.best() for curve in curves]
    if false_alarms is None:
        return tuple(thresholds)
    allowed = math.floor(false_alarms * len(peaks))
    while count_alarms(peaks, thresholds) > allowed:
        raised = [
            (_lost(curve, thresholds[channel], above), channel, above)
            for channel, curve in enumerate(curves)
            if (above := _next_quiet(peaks[:, channel], thresholds[channel])) is not None
        ]
        if not raised:
            break
        _, channel, thresholds[channel] = min(raised)
    return tuple(thresholds)


def count_alarms(peaks: Floats, thresholds: Sequence[float]) -> int:
    """Return how many of n good images have a pixel above the threshold of any class; `peaks` is (n, K)."""
    return int((peaks > np.asarray(thresholds, dtype=np.float32)).any(axis=1).sum())


def alarm_bound(alarms: int, images: int) -> float | None:
    """Return the upper 95 % confidence bound of the share of good images that are marked; None without any.

    C. J. Clopper and E. S. Pearson, Biometrika 26, 1934. Where these images chose the threshold too, the bound is
    that of the best case: images that nobody has seen yet tell.
    """
    if not images:
        return None
    return 1.0 if alarms == images else float(beta.ppf(CONFIDENCE, alarms + 1, images - alarms))


def _next_quiet(peaks: Floats, threshold: float) -> float | None:
    """Return the least threshold that silences one more image, None where there is none below 1."""
    above = peaks[peaks > np.float32(threshold)]
    if not len(above):
        return None
    step = max(math.ceil(float(above.min()) * _STEPS), round(threshold * _STEPS) + 1)
    return step / _STEPS if step < _STEPS else None


def _lost(curve: DiceCurve, before: float, after: float) -> float:
    return (curve.dice(before) or 0.0) - (curve.dice(after) or 0.0)
