"""The chart of shifts and what changed beside it, in places and words of a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Final

from babel.dates import format_skeleton

from neverblink.console.quality.answers import Quality
from neverblink.records.questions.proof.changes import Change, SlotChange
from neverblink.records.questions.proof.shift_chart import ShiftChart
from neverblink.reports.p_chart import ChartView, p_chart, place_of

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NEAR: Final = 0.015
_BY_DAY, _BY_WEEK = 14, 100
"""Days of a chart up to which each has a name along its side, and up to which each week has."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that changed: its letter, where it is on the chart, and what it was: a change of models or an alert.

    `written` stands over the chart there: the letters of all that changed so near, empty where another mark has it.
    """

    letter: str
    written: str
    across: float
    at: datetime
    slot: SlotChange | None
    alert: Change | None


def drawn(chart: ShiftChart, zone: tzinfo, language: str) -> ChartView | None:
    """Return the chart as it is drawn, None without parts; what a point is, the page says in its language."""
    return p_chart(chart, _named(chart, zone, language), lambda _: "")


def marks_of(found: Quality) -> tuple[Mark, ...]:
    """Return what changed, oldest first, at most as many as there are letters: models and thresholds before alerts."""
    begins = [one.begins for one in found.chart.points]
    if not begins:
        return ()
    changes: list[tuple[datetime, SlotChange | None, Change | None]] = [(one.at, one, None) for one in found.slots]
    changes = changes[-len(_LETTERS) :]
    room = len(_LETTERS) - len(changes)
    changes += [(one.at, None, one) for one in found.alerts[len(found.alerts) - room if room else len(found.alerts) :]]
    changes.sort(key=lambda one: one[0])
    places = [place_of(begins, at) for at, _, _ in changes]
    written = _written(places)
    return tuple(
        Mark(letter, text, across, at, slot, alert)
        for letter, text, across, (at, slot, alert) in zip(_LETTERS, written, places, changes, strict=False)
    )


def _written(places: Sequence[float]) -> list[str]:
    """Return what stands at each place: letters of places that are too near to be told apart stand at the first."""
    found = [""] * len(places)
    first = 0
    for place, across in enumerate(places):
        if across - places[first] > _NEAR:
            first = place
        found[first] += _LETTERS[place]
    return found


def _named(chart: ShiftChart, zone: tzinfo, language: str) -> Callable[[datetime], str]:
    """Return how the days of points are named: each, each week by its Monday, or each month."""
    days = [one.begins.astimezone(zone).date() for one in chart.points]
    span = (days[-1] - days[0]).days + 1 if days else 0
    skeleton = "Ed" if span <= _BY_DAY else "MMMd" if span <= _BY_WEEK else "yMMM"

    def named(moment: datetime) -> str:
        day = moment.astimezone(zone).date()
        if skeleton == "MMMd":
            day = date.fromordinal(day.toordinal() - day.weekday())
        return str(format_skeleton(skeleton, day, locale=language))

    return named
