"""What a station saw hour by hour, shift by shift, week by week. Pure, and bounded.

A window is merged into its hour, shift and week as it closes. Windows of a station close in the order of time, so the
end of the last one taken is all that is needed to take none twice.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple, Self

from neverblink.drift.statistics import Window

HOUR_S = 3600.0
HOURS_KEPT = 24
SHIFTS_KEPT = 84
"""Four weeks of three shifts a day: the running week's weekday-shift and the three before it."""
WEEKS_KEPT = 13
"""A quarter. All kept spans with full sketches take about 260 kB a state, as JSON."""

_LAYOUT = 1


class Shift(NamedTuple):
    """A shift: weekday on which it begins (0 Monday), its number on that day, and its beginning, local time."""

    weekday: int
    number: int
    begins: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """When shifts begin, in hours of local time, and where that is. What runs past midnight is of the day before."""

    begins_h: tuple[int, ...] = (6, 14, 22)
    zone: tzinfo = UTC

    def shift_of(self, moment: float) -> Shift:
        """Return the shift of an instant in seconds since the epoch."""
        local = datetime.fromtimestamp(moment, self.zone)
        number = sum(begin <= local.hour for begin in self.begins_h) - 1
        day = local if number >= 0 else local - timedelta(days=1)
        number %= len(self.begins_h)
        begins = day.replace(hour=self.begins_h[number], minute=0, second=0, microsecond=0)
        return Shift(begins.weekday(), number, begins)

    def week_of(self, moment: float) -> datetime:
        """Return the beginning of the first shift of an instant's week, which is that of Monday."""
        shift = self.shift_of(moment)
        return shift.begins.replace(hour=self.begins_h[0]) - timedelta(days=shift.weekday)


@dataclass(slots=True)
class History:
    """The kept hours, shifts and weeks, oldest first; the last of each still grows."""

    taken_until: float = -math.inf
    hours: list[Window] = field(default_factory=list)
    shifts: list[Window] = field(default_factory=list)
    weeks: list[Window] = field(default_factory=list)

    def take(self, window: Window, calendar: Calendar) -> bool:
        """Merge a closed window; returns False, and changes nothing, when it was taken before.

        A window longer than an hour counts where it opened.
        """
        if window.closed <= self.taken_until:
            return False
        self.taken_until = window.closed
        moment = window.opened
        _merge(self.hours, window, lambda span: _hour(span.opened) == _hour(moment), HOURS_KEPT)
        shift, week = calendar.shift_of(moment).begins, calendar.week_of(moment)
        _merge(self.shifts, window, lambda span: calendar.shift_of(span.opened).begins == shift, SHIFTS_KEPT)
        _merge(self.weeks, window, lambda span: calendar.week_of(span.opened) == week, WEEKS_KEPT)
        return True

    def day(self, moment: float, calendar: Calendar) -> Window | None:
        """Return the day of an instant, merged from its shifts; None when nothing of it is kept."""
        day = calendar.shift_of(moment).begins.date()
        return merged(span for span in self.shifts if calendar.shift_of(span.opened).begins.date() == day)

    def same_shift_before(self, moment: float, calendar: Calendar) -> Window | None:
        """Return the same weekday's same shift of the earlier weeks, merged; None in the first week."""
        wanted = calendar.shift_of(moment)
        kept = ((calendar.shift_of(span.opened), span) for span in self.shifts)
        return merged(span for shift, span in kept if shift[:2] == wanted[:2] and shift.begins < wanted.begins)

    def to_json(self) -> dict[str, Any]:
        """Return the history as JSON values."""
        return {
            "layout": _LAYOUT,
            "taken_until": self.taken_until if math.isfinite(self.taken_until) else None,
            **{name: [span.to_json() for span in getattr(self, name)] for name in _SPANS},
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises ValueError for another layout."""
        if found["layout"] != _LAYOUT:
            raise ValueError(f"the drift history has layout {found['layout']}; this program reads {_LAYOUT}")
        until = found["taken_until"]
        return cls(
            -math.inf if until is None else until,
            **{name: [Window.from_json(span) for span in found[name]] for name in _SPANS},
        )


_SPANS = ("hours", "shifts", "weeks")


def merged(spans: Iterator[Window]) -> Window | None:
    """Return one window with all that these saw, None without any; they stay as they are."""
    whole: Window | None = None
    for span in spans:
        if whole is None:
            whole = Window(span.opened, span.closed)
        whole.merge(span)
    return whole


def _hour(moment: float) -> int:
    return math.floor(moment / HOUR_S)


def _merge(spans: list[Window], window: Window, is_same: Callable[[Window], bool], kept: int) -> None:
    if not spans or not is_same(spans[-1]):
        spans.append(Window(window.opened, window.closed))
        del spans[:-kept]
    spans[-1].merge(window)
