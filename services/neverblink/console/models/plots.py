"""What the plots of scores are drawn from: numbers here, ink in the templates. Places are shares of the plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from neverblink.records.questions.models.score_history import ScoredPart
from neverblink.reports.charts import Bar, Histogram, Tick, histogram, round_top

_BINS: Final = 64
_BEYOND: Final = 1.25
"""How far the plot reaches beyond the threshold at least."""

_OUTLIERS: Final = 0.995
"""Scores above so many of all are drawn in the last bin."""

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class ScorePlot:
    """How many parts had which score: `bars` of two groups, their axes' ends, round values, and a range to choose from.

    `threshold` is where the threshold in force is. `step` is what a slider moves by.
    """

    bars: tuple[Bar, ...]
    width: float
    ticks: tuple[Tick, ...]
    tops: tuple[int, int]
    low: float
    high: float
    threshold: float

    def along(self, value: float) -> float:
        """Return where a value is, within the plot."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    @property
    def step(self) -> float:
        """Return a round number of which the range has some hundreds."""
        return float(10.0 ** np.floor(np.log10((self.high - self.low) / 200)))


def parts_plot(parts: Sequence[ScoredPart], threshold: float) -> ScorePlot:
    """Return passed parts above and rejected ones below the axis."""
    passed = np.array([one.score for one in parts if one.decision != "reject"], np.float64)
    rejected = np.array([one.score for one in parts if one.decision == "reject"], np.float64)
    return _plot(passed, rejected, threshold)


def held_out_plot(scores: Floats, threshold: float) -> ScorePlot:
    """Return held-out good images by their scores: those that pass above the axis, those that do not below."""
    values = np.asarray(scores, np.float64)
    return _plot(values[values <= threshold], values[values > threshold], threshold)


def _plot(up: Floats, down: Floats, threshold: float) -> ScorePlot:
    values = np.concatenate([up, down])
    low = float(min([threshold / _BEYOND, *(values.min(keepdims=True) if values.size else ())]))
    most = float(np.quantile(values, _OUTLIERS)) if values.size else threshold
    high = max(threshold * _BEYOND, most * 1.02)
    width = (high - low) / _BINS
    below = max(1, round((threshold - low) / width))
    # An edge lies at the threshold, so that no bar stands on both sides of it.
    edges = threshold + width * np.arange(-below, _BINS - below + 1)
    drawn = histogram(up, down, edges, below)
    tops = (round_top(drawn.tallest[0]), round_top(drawn.tallest[1]))
    return ScorePlot(
        tuple(drawn.bars(tops, lambda index: _says(drawn, index))),
        drawn.width,
        tuple(drawn.ticks(6, "g")),
        tops,
        float(edges[0]),
        float(edges[-1]),
        threshold,
    )


def _says(drawn: Histogram, index: int) -> str:
    edges = drawn.edges
    return f"{edges[index]:.4g}–{edges[index + 1]:.4g}: {drawn.up[index]} / {drawn.down[index]}"
