"""What a station saw hour by hour, shift by shift, week by week. Pure, and bounded.

A window is merged into its hour, shift and week as it closes. Windows of a station close in the order of time, so the
end of the last one taken is all that is needed to take none twice.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple, Self

from neverblink.drift.errors import LayoutError
from neverblink.drift.packed_span import join, opened_at, pack, split, unpack
from neverblink.drift.statistics import Window

HOUR_S = 3600.0
HOURS_KEPT = 24
SHIFTS_KEPT = 84
"""Four weeks of three shifts a day: the running week's weekday-shift and the three before it."""
WEEKS_KEPT = 13
"""A quarter. The archive of a state takes about 47 kB."""

_LAYOUT = 2


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
        return _shift(moment, self.begins_h, self.zone)

    def week_of(self, moment: float) -> datetime:
        """Return the beginning of the first shift of an instant's week, which is that of Monday."""
        shift = self.shift_of(moment)
        return shift.begins.replace(hour=self.begins_h[0]) - timedelta(days=shift.weekday)


@lru_cache(maxsize=1024)  # the windows of all stations open at the same instants, and each asks several times
def _shift(moment: float, begins_h: tuple[int, ...], zone: tzinfo) -> Shift:
    local = datetime.fromtimestamp(moment, zone)
    number = sum(begin <= local.hour for begin in begins_h) - 1
    day = local if number >= 0 else local - timedelta(days=1)
    number %= len(begins_h)
    begins = day.replace(hour=begins_h[number], minute=0, second=0, microsecond=0)
    return Shift(begins.weekday(), number, begins)


@dataclass(slots=True)
class History:
    """The kept hours, shifts and weeks, oldest first; of shifts and weeks the last still grows and is whole.

    Hours hold counts alone, for rates. Shifts and weeks that are over lie packed (`packed_span`).
    """

    taken_until: float = -math.inf
    hours: list[Window] = field(default_factory=list)
    shift: Window | None = None
    week: Window | None = None
    past_shifts: list[bytes] = field(default_factory=list)
    past_weeks: list[bytes] = field(default_factory=list)

    @property
    def shifts(self) -> list[Window]:
        """All kept shifts, unpacked."""
        return _all(self.past_shifts, self.shift)

    @property
    def weeks(self) -> list[Window]:
        """All kept weeks, unpacked."""
        return _all(self.past_weeks, self.week)

    @property
    def newest_past(self) -> tuple[list[bytes], list[bytes]]:
        """What the archive ends with: it differs as soon as a shift or week is over."""
        return self.past_shifts[-1:], self.past_weeks[-1:]

    def take(self, window: Window, calendar: Calendar) -> bool:
        """Merge a closed window; returns False, and changes nothing, when it was taken before.

        A window longer than an hour counts where it opened.
        """
        if window.closed <= self.taken_until:
            return False
        self.taken_until = window.closed
        moment = window.opened
        if not self.hours or _hour(self.hours[-1].opened) != _hour(moment):
            self.hours.append(Window(window.opened, window.closed))
            del self.hours[:-HOURS_KEPT]
        self.hours[-1].merge(window.counts())
        shift, week = calendar.shift_of(moment).begins, calendar.week_of(moment)
        same_shift = self.shift is not None and calendar.shift_of(self.shift.opened).begins == shift
        same_week = self.week is not None and calendar.week_of(self.week.opened) == week
        self.shift = _grown(self.shift, window, same_shift, self.past_shifts, SHIFTS_KEPT)
        self.week = _grown(self.week, window, same_week, self.past_weeks, WEEKS_KEPT)
        return True

    def day(self, moment: float, calendar: Calendar) -> Window | None:
        """Return the day of an instant, merged from its shifts; None when nothing of it is kept."""
        day = calendar.shift_of(moment).begins.date()
        return merged(span for span in self.shifts if calendar.shift_of(span.opened).begins.date() == day)

    def same_shift_before(self, moment: float, calendar: Calendar) -> Window | None:
        """Return the same weekday's same shift of the earlier weeks, merged; None in the first week."""
        wanted = calendar.shift_of(moment)
        kept = ((calendar.shift_of(opened_at(raw)), raw) for raw in self.past_shifts)
        return merged(unpack(raw) for shift, raw in kept if shift[:2] == wanted[:2] and shift.begins < wanted.begins)

    def to_json(self) -> dict[str, Any]:
        """Return what still grows, as JSON values; what is over is in `archive`."""
        return {
            "layout": _LAYOUT,
            "taken_until": self.taken_until if math.isfinite(self.taken_until) else None,
            "hours": [span.to_json() for span in self.hours],
            "shift": self.shift.to_json() if self.shift is not None else None,
            "week": self.week.to_json() if self.week is not None else None,
        }

    def archive(self) -> bytes:
        """Return the shifts and weeks that are over. It changes with each of them alone."""
        return join([join(self.past_shifts), join(self.past_weeks)])

    @classmethod
    def from_json(cls, found: dict[str, Any], archive: bytes = b"") -> Self:
        """Read what `to_json` and `archive` wrote. Raises LayoutError for another layout.

        An archive may be one span ahead, when a process died between the two: that span is left out.
        """
        if found["layout"] != _LAYOUT:
            raise LayoutError("the drift history", found["layout"], _LAYOUT)
        until, shift, week = (found[name] for name in ("taken_until", "shift", "week"))
        shifts, weeks = map(split, split(archive)) if archive else ([], [])
        return cls(
            -math.inf if until is None else until,
            [Window.from_json(span) for span in found["hours"]],
            None if shift is None else Window.from_json(shift),
            None if week is None else Window.from_json(week),
            [raw for raw in shifts if shift is None or opened_at(raw) < shift["opened"]],
            [raw for raw in weeks if week is None or opened_at(raw) < week["opened"]],
        )


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


def _all(past: list[bytes], growing: Window | None) -> list[Window]:
    return [unpack(raw) for raw in past] + ([growing] if growing is not None else [])


def _grown(span: Window | None, window: Window, is_same: bool, past: list[bytes], kept: int) -> Window:
    """Return the span with the window in it; one that is over goes to the past, where `kept` with this one remain."""
    if span is None or not is_same:
        if span is not None:
            past.append(pack(span))
            del past[: max(0, len(past) - kept + 1)]
        span = Window(window.opened, window.closed)
    span.merge(window)
    return span
