"""The p-chart of shifts as it is drawn: places in the unit square, names of days where there is room for them."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from neverblink.records.questions.proof.shift_chart import ShiftChart, ShiftPoint
from neverblink.reports.charts import round_values

_NAMES = 14
_A_SHIFT = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Dot:
    """A shift on the chart: across and up between 0 and 1, with its limits."""

    across: float
    up: float
    low: float
    high: float
    outside: bool
    says: str
    day: str | None


@dataclass(frozen=True, slots=True)
class ChartView:
    """The p-chart in the unit square, with round values up its side."""

    dots: tuple[Dot, ...]
    centre: float
    centre_text: str
    ticks: tuple[tuple[float, str], ...]
    width: float
    """Half of what one shift takes across."""


def p_chart(chart: ShiftChart, named: Callable[[datetime], str], says: Callable[[ShiftPoint], str]) -> ChartView | None:
    """Return how a chart is drawn, None without points.

    `named` is what the days, or weeks, of points are called along the side, `says` what hovering over a point tells.
    """
    points = chart.points
    if not points or chart.centre is None:
        return None
    highest = max(max(one.share, one.high) for one in points) * 1.08 or 0.01
    count = len(points)
    days = [named(one.begins) for one in points]
    # A day's name needs room: it stands where one shift of fourteen is of that day, or more.
    roomy = {name for name in days if days.count(name) * _NAMES >= count}
    dots = tuple(
        Dot(
            (place + 0.5) / count,
            one.share / highest,
            one.low / highest,
            one.high / highest,
            one.outside,
            says(one),
            days[place] if days[place] in roomy and days[place] not in days[:place] else None,
        )
        for place, one in enumerate(points)
    )
    ticks = tuple((value / highest, f"{100 * value:g} %") for value in round_values(0.0, highest, 4))
    return ChartView(dots, chart.centre / highest, f"{100 * chart.centre:.2g} %", ticks, 0.5 / count)


def place_of(begins: Sequence[datetime], moment: datetime) -> float:
    """Return where an instant is among the shifts, each as wide as the others."""
    place = bisect_right(begins, moment)
    if not place:
        return 0.0
    until = begins[place] if place < len(begins) else begins[-1] + _A_SHIFT
    passed = (moment - begins[place - 1]) / max(until - begins[place - 1], _A_SHIFT)
    return (place - 1 + min(1.0, passed)) / len(begins)
