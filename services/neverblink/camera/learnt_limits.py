"""Quality limits of a station, learnt from pictures of good parts."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from neverblink.errors import NeverblinkError
from neverblink.plant import QualityLimits
from neverblink.shown import visible
from neverblink.vision.quality import ImageQuality, judge

FEWEST = 20
"""Fewer pictures say too little about what varies."""

_NAMED = 20
"""So many pictures that would be refused are named."""

ENOUGH = 100
"""With fewer, the limits are printed with a warning."""

# A limit lies three times as far from the median as the outermost twentieth does: 4.9 standard deviations where what
# is measured is normally distributed. Light and focus vary by factors, so distances are taken of logarithms.
_OUTER = 0.05
_REACH = 3.0
# And at least so far: an hour of pictures has not seen a year of lamps, dirt and vibration.
_LEAST_FACTOR = 1.3
_LEAST_SHARPNESS_FACTOR = 1.6
_LEAST_CLIPPED = 0.01
# And beyond all but the outermost hundredth, for what has a long tail, such as the share of clipped pixels of shiny
# parts. One picture at least is set aside: a hand in the image must not widen the limits.
_TAIL = 0.01
_BEYOND_TAIL = 1.25
# Logarithms need more than zero: a black image's brightness counts as this.
_NOTHING = 1e-6


class LimitsError(NeverblinkError, ValueError):
    """Pictures from which no limits can be learnt."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit and what it was learnt from: lowest, median and highest value seen."""

    name: str
    value: float
    seen: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LearntLimits:
    """Limits of a station, and which of the pictures they would refuse themselves: (name, reason) each.

    Width and height are None when the pictures had several sizes.
    """

    pictures: int
    refusals: tuple[tuple[str, str], ...]
    width: int | None
    height: int | None
    limits: tuple[Limit, ...]

    @property
    def refused(self) -> int:
        """Return how many of the pictures would be refused."""
        return len(self.refusals)

    def as_yaml(self, station: str) -> Iterator[str]:
        """Yield the lines of the plant file's `quality` section, with what was seen as comments."""
        yield f"quality:   # {station}, learnt from {self.pictures} pictures; {self.refused} of them would be refused"
        for name, reason in self.refusals[:_NAMED]:
            yield f"  # refused: {visible(name)}, {reason}"
        if self.refused > _NAMED:
            yield f"  # and {self.refused - _NAMED} more"
        if self.width is None or self.height is None:
            yield "  # the pictures had several sizes, so that none is expected"
        else:
            yield f"  width: {self.width}"
            yield f"  height: {self.height}"
        for limit in self.limits:
            low, middle, high = (f"{value:.4g}" for value in limit.seen)
            yield f"  {limit.name}: {limit.value:.4g}   # seen {low} to {high}, median {middle}"


def learn(
    qualities: Sequence[ImageQuality], sizes: Sequence[tuple[int, int]], names: Sequence[str] | None = None
) -> LearntLimits:
    """Learn limits from pictures of good parts; `sizes` are their (width, height), `names` what they are called, else
    by their number.

    Raises LimitsError with fewer than `FEWEST` pictures.
    """
    if len(qualities) < FEWEST:
        raise LimitsError(f"{len(qualities)} pictures are too few to learn limits from; take {FEWEST}, better {ENOUGH}")
    one_size = set(sizes)
    width, height = next(iter(one_size)) if len(one_size) == 1 else (None, None)

    def limit(name: str, measured: Callable[[ImageQuality], float], rule: Callable[[np.ndarray], float]) -> Limit:
        values = np.array([measured(quality) for quality in qualities])
        return Limit(name, rule(values), (float(values.min()), float(np.median(values)), float(values.max())))

    limits = (
        limit("min_brightness", lambda quality: quality.brightness, _lower),
        limit("max_brightness", lambda quality: quality.brightness, _upper),
        limit("max_saturation", lambda quality: quality.saturation, _upper_clipped),
        limit("min_contrast", lambda quality: quality.contrast, _lower),
        limit("min_sharpness", lambda quality: quality.sharpness, _lower_sharpness),
    )
    as_settings = QualityLimits.model_validate({found.name: found.value for found in limits})
    called = names or [f"picture {number}" for number in range(1, len(qualities) + 1)]
    refusals = [(name, judge(quality, as_settings)) for name, quality in zip(called, qualities, strict=True)]
    refused = tuple((name, reason) for name, reason in refusals if reason is not None)
    return LearntLimits(len(qualities), refused, width, height, limits)


def _lower(values: np.ndarray, least_factor: float = _LEAST_FACTOR) -> float:
    logs = np.log(np.maximum(values, _NOTHING))
    middle, outer = np.quantile(logs, (0.5, _OUTER))
    tail = np.quantile(logs, _TAIL, method="higher")
    limit = min(middle - _REACH * (middle - outer), middle - math.log(least_factor), tail - math.log(_BEYOND_TAIL))
    return _rounded(math.exp(limit), math.floor)


def _lower_sharpness(values: np.ndarray) -> float:
    return _lower(values, _LEAST_SHARPNESS_FACTOR)


def _upper(values: np.ndarray) -> float:
    logs = np.log(np.maximum(values, _NOTHING))
    middle, outer = np.quantile(logs, (0.5, 1 - _OUTER))
    tail = np.quantile(logs, 1 - _TAIL, method="lower")
    limit = max(middle + _REACH * (outer - middle), middle + math.log(_LEAST_FACTOR), tail + math.log(_BEYOND_TAIL))
    return _rounded(min(1.0, math.exp(limit)), math.ceil)


def _upper_clipped(values: np.ndarray) -> float:
    middle, outer = np.quantile(values, (0.5, 1 - _OUTER))
    tail = np.quantile(values, 1 - _TAIL, method="lower")
    limit = max(middle + _REACH * (outer - middle), tail * _BEYOND_TAIL) + _LEAST_CLIPPED
    return _rounded(min(1.0, float(limit)), math.ceil)


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """Return the value with three digits, rounded to the lenient side; what is next to nothing is 0."""
    if value <= _NOTHING:
        return 0.0
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return float(f"{towards(value * scale) / scale:.6g}")
