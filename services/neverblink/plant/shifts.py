"""The shifts of a site: which one an instant belongs to, also where clocks are put forward or back."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field

from neverblink.events.parts import Name
from neverblink.plant.section import Section

_DAY = timedelta(days=1)


def _clock_time(value: Any) -> Any:
    # YAML 1.1 reads 14:00 without quotes as a number to the base 60.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(value // 60, value % 60)
    return value


class Shift(Section):
    """A shift goes until the next one begins, the last of a day into the next day."""

    name: Name = Field(description="As figures and pages call it.")
    begins: Annotated[time, BeforeValidator(_clock_time)] = Field(
        description="Local time at which it begins, such as 06:00 or 13:45."
    )


class ShiftSpan(NamedTuple):
    """One shift of one day, from its begin to that of the next, in UTC."""

    name: str
    begins: datetime
    ends: datetime


class ShiftPlan:
    """Names the shift of an instant. `begins` are names and local times; none of them: every instant has the name ''.

    Where a clock is put forward over a begin, the shift begins as if it had not been; where it is put back, at the
    first of the two equal times.
    """

    def __init__(self, begins: Sequence[tuple[str, time]], zone: str) -> None:
        self._begins = tuple(sorted(begins, key=lambda one: one[1]))
        self._zone = ZoneInfo(zone)
        # Parts come in the order of time: a handful of days is asked for again and again.
        self._around = lru_cache(maxsize=64)(self._begins_around)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the shifts in the order of a day."""
        return tuple(name for name, _ in self._begins)

    def shift_at(self, moment: datetime) -> str:
        """Return the name of the shift that an instant belongs to."""
        span = self.span_at(moment)
        return "" if span is None else span.name

    def span_at(self, moment: datetime) -> "ShiftSpan | None":
        """Return the shift that an instant belongs to, with its begin and end; None in a plan without shifts."""
        if not self._begins:
            return None
        moment = moment.astimezone(UTC)
        starts, names = self._around(moment.astimezone(self._zone).date())
        place = bisect_right(starts, moment)
        return ShiftSpan(names[place - 1], starts[place - 1], starts[place])

    def began(self, moment: datetime) -> datetime:
        """Return when the shift of an instant began; without shifts, the local day."""
        moment = moment.astimezone(UTC)
        day = moment.astimezone(self._zone).date()
        if not self._begins:
            return datetime.combine(day, time(), self._zone).astimezone(UTC)
        starts, _ = self._around(day)
        return starts[bisect_right(starts, moment) - 1]

    def _begins_around(self, day: date) -> tuple[list[datetime], list[str]]:
        found = sorted(
            (datetime.combine(near, begins, self._zone).astimezone(UTC), name)
            for near in (day - 2 * _DAY, day - _DAY, day, day + _DAY)
            for name, begins in self._begins
        )
        return [start for start, _ in found], [name for _, name in found]
