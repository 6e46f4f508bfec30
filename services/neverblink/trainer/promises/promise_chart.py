"""Recall against promised false rejects as a chart: numbers here, ink in the template; places are shares."""

import math
from typing import NamedTuple

from neverblink.reports.charts import Tick, points
from neverblink.trainer.promises.promise_costs import PromiseCosts
from neverblink.vision.calibration import percent

_AIR = 1.35
"""The axis of promises is logarithmic and begins and ends this factor beyond the first and the last."""

_ROOM = 0.11
"""A tick's text takes this share of the axis."""


class PromiseDot(NamedTuple):
    """A promise's recall, from `low` to `high` with 95 % confidence."""

    across: float
    up: float
    low: float
    high: float
    in_force: bool
    says: str


class PromiseChart(NamedTuple):
    """The dots from the tightest promise on, joined by a line of an SVG's 100 × 100 box."""

    dots: list[PromiseDot]
    line: str
    across: list[Tick]


def promise_chart(costs: PromiseCosts) -> PromiseChart:
    """Return the chart of what promises cost."""
    promises = [row.promise for row in costs.rows]
    low, high = min(promises) / _AIR, max(promises) * _AIR

    def along(promise: float) -> float:
        return math.log(promise / low) / math.log(high / low)

    dots = [
        PromiseDot(
            along(row.promise),
            row.recall,
            *row.recall_interval,
            row.in_force,
            f"{percent(row.promise)}: {row.found} of {row.defective} found",
        )
        for row in costs.rows
    ]
    return PromiseChart(
        dots,
        points([dot.across for dot in dots], [dot.up for dot in dots]),
        _ticks([(row.in_force, along(row.promise), percent(row.promise)) for row in costs.rows]),
    )


def _ticks(places: list[tuple[bool, float, str]]) -> list[Tick]:
    """Return the ticks that have room, the one in force before the others."""
    kept: list[Tick] = []
    for _, at, text in sorted(places, key=lambda place: not place[0]):
        if all(abs(at - one.at) >= _ROOM for one in kept):
            kept.append(Tick(at, text))
    return sorted(kept)
