"""The weekly review as one page: what is proved of each line, what changed, and what to do next."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from neverblink import __version__
from neverblink.records.questions.proof.estimates import Estimate
from neverblink.records.questions.proof.shift_chart import ShiftChart, ShiftPoint
from neverblink.records.questions.proof.weekly import LineWeek, Weekly
from neverblink.records.questions.proof.words import (
    FigureLine,
    between,
    figure_lines,
    left_out_lines,
    reference_line,
    weight_lines,
)
from neverblink.reports.p_chart import ChartView, p_chart, place_of
from neverblink.reports.pages import Written, template, write_page

_CARDS = ("recall", "escapes", "precision", "false_rejects")
_SAYS = {
    "recall": ("Recall", "of defective parts, so many are rejected"),
    "escapes": ("Escapes", "of passed parts, so many are defective"),
    "precision": ("Precision", "of rejected parts, so many are defective"),
    "false_rejects": ("False rejects", "of good parts, so many are rejected"),
}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval between 0 and 1 of its axis, and where the figure is in it, None where there is none."""

    low: float
    high: float
    at: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """One figure with its interval, and that of the week before."""

    title: str
    says: str
    line: FigureLine
    top: str
    now: Bar
    before: Bar | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that changed: its letter and, where it is on the chart, where."""

    letter: str
    across: float | None
    when: str
    kind: str
    station: str | None
    what: str
    on_chart: bool


def weekly_page(path: Path, weekly: Weekly) -> Written:
    """Write the page to `path`, and all that is in it as JSON beside it. Raises ReportError."""
    return write_page(path, weekly_html(weekly), {"weekly": weekly})


def weekly_html(weekly: Weekly) -> str:
    """Return the page."""
    zone = ZoneInfo(weekly.zone)
    return template("weekly.html.jinja").render(
        weekly=weekly,
        begins=_day(weekly.since, zone),
        ends=_day(weekly.until, zone, before=True),
        asked=f"{weekly.asked.astimezone(zone):%Y-%m-%d %H:%M}",
        running=weekly.asked < weekly.until,
        coded=_coded,
        lines=[_line(line, weekly, zone) for line in weekly.lines],
        version=__version__,
    )


def _line(week: LineWeek, weekly: Weekly, zone: tzinfo) -> dict[str, object]:
    words = {one.key: one for one in figure_lines(week.proof)}
    return {
        "week": week,
        "cards": [_card(key, words[key], week) for key in _CARDS],
        "others": [words[key] for key in ("first_pass", "agreement", "two_people")],
        "chart": _chart(week.chart, zone),
        "marks": _marks(week, zone),
        "pareto": week.defects,
        "small": [*weight_lines(week.proof), reference_line(week.proof), *left_out_lines(week.proof)],
    }


def _card(key: str, line: FigureLine, week: LineWeek) -> Card:
    now: Estimate = getattr(week.proof.estimates, key)
    then: Estimate | None = getattr(week.before.estimates, key) if week.before.parts else None
    seen = [one for one in (now, then) if one is not None and one.sample]
    top = 1.0 if key in ("recall", "precision") else _top(max((one.high for one in seen), default=1.0))
    title, says = _SAYS[key]
    return Card(title, says, line, f"{100 * top:g} %", _bar(now, top), None if then is None else _bar(then, top))


def _bar(found: Estimate, top: float) -> Bar:
    at = None if found.value is None else min(1.0, found.value / top)
    return Bar(min(1.0, found.low / top), min(1.0, found.high / top), at, between(found.low, found.high))


def _top(share: float) -> float:
    """Return a round share at or above another."""
    steps = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    return next((step for step in steps if share <= step), 1.0)


def _chart(chart: ShiftChart, zone: tzinfo) -> ChartView | None:
    def named(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%a %d}"

    def says(one: ShiftPoint) -> str:
        return (
            f"{named(one.begins)} {one.shift}: {one.rejected} of {one.parts} rejected, {100 * one.share:.2f} %; limits"
            f" {100 * one.low:.2f} to {100 * one.high:.2f} %"
        )

    return p_chart(chart, named, says)


def _marks(week: LineWeek, zone: tzinfo) -> list[Mark]:
    begins = [one.begins for one in week.chart.points]
    marks = []
    for place, change in enumerate(week.changes[: len(_LETTERS)]):
        on_chart = change.kind in ("model", "threshold", "alert") and bool(begins)
        across = place_of(begins, change.at) if on_chart else None
        when = f"{change.at.astimezone(zone):%a %H:%M}"
        marks.append(Mark(_LETTERS[place], across, when, change.kind, change.station, change.what, on_chart))
    return marks


def _coded(text: str) -> Markup:
    """Return a sentence with what stands between backticks, a command to be typed, as code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 2 else escape(piece) for place, piece in enumerate(pieces)
    )


def _day(moment: datetime, zone: tzinfo, *, before: bool = False) -> str:
    local = moment.astimezone(zone)
    if before:
        local = datetime.fromtimestamp(moment.timestamp() - 1, zone)
    return f"{local:%A} {local.day} {local:%B %Y}"
