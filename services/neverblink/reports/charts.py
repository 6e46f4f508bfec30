"""What a chart is drawn from: numbers here, ink in the templates. Places are shares of the plot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


class Tick(NamedTuple):
    """A round value on an axis."""

    at: float
    text: str


class Bar(NamedTuple):
    """From `left`; one group stands up, the other hangs down, their heights shares of their half."""

    left: float
    up: float
    down: float
    beyond: bool
    says: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Two groups over one axis, apart at the threshold: no bar stands on both sides of it.

    `edges` (N + 1) floats, `up` and `down` (N) int64 counts; `below` bins lie below the threshold.
    """

    edges: Floats
    up: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]
    below: int

    @property
    def width(self) -> float:
        """Return a bin's share of the plot."""
        return float(self.edges[1] - self.edges[0]) / self._span

    @property
    def threshold(self) -> float:
        """Return where the threshold is."""
        return self.along(float(self.edges[self.below]))

    @property
    def tallest(self) -> tuple[int, int]:
        """Return the highest count of either group."""
        return int(self.up.max()), int(self.down.max())

    def along(self, value: float) -> float:
        """Return where a value is."""
        return (value - float(self.edges[0])) / self._span

    def ticks(self, wanted: int, text: str, high: float | None = None) -> list[Tick]:
        """Return about so many round values, up to `high` or the last edge; `text` says how they are written."""
        values = round_values(float(self.edges[0]), float(self.edges[-1]) if high is None else high, wanted)
        return [Tick(self.along(value), format(value, text)) for value in values]

    def bars(self, tops: tuple[int, int], says: Callable[[int], str]) -> list[Bar]:
        """Return the bars that are not empty, against axes that end at `tops`; `says` tells what is in a bin."""
        return [
            Bar(
                self.along(float(self.edges[index])),
                self.up[index] / tops[0],
                self.down[index] / tops[1],
                index >= self.below,
                says(index),
            )
            for index in np.flatnonzero(self.up + self.down).tolist()
        ]

    @property
    def _span(self) -> float:
        return float(self.edges[-1] - self.edges[0])


def histogram(up: Floats, down: Floats, edges: Floats, below: int) -> Histogram:
    """Count both groups; what lies beyond the edges is in the first or the last bin.

    A value at the threshold passes: an edge belongs to the bin below it.
    """

    def counts(values: Floats) -> npt.NDArray[np.int64]:
        place = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)
        return np.bincount(place, minlength=len(edges) - 1)

    return Histogram(edges, counts(up), counts(down), below)


def points(across: npt.ArrayLike, up: npt.ArrayLike) -> str:
    """Return a curve in the unit square as points of an SVG's 100 × 100 box."""
    pairs = zip(np.asarray(across).tolist(), np.asarray(up).tolist(), strict=True)
    return " ".join(f"{100 * x:.2f},{100 - 100 * y:.2f}" for x, y in pairs)


def round_values(low: float, high: float, wanted: int) -> list[float]:
    """Return about `wanted` round numbers from low to high."""
    rough = (high - low) / wanted
    magnitude = 10.0 ** np.floor(np.log10(rough))
    step = next(float(factor * magnitude) for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    return [step * index for index in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def round_top(count: int) -> int:
    """Return an even round number at or above a count, for the end of an axis."""
    magnitude = 10 ** max(0, len(str(max(count, 1))) - 1)
    return next(
        whole for whole in (int(step * magnitude) for step in (2, 4, 6, 8, 10, 20)) if whole >= count and whole % 2 == 0
    )
