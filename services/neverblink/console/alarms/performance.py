"""How well the alarms themselves do, after ISA-18.2 and EEMUA 191: how often they call, which call most, which flicker.

A figure is of one operating position: of whoever watches all the lines that it was asked for, every hour of the period,
also of those hours in which nobody sat there.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from neverblink.console.alarms.state import Priority

GOOD_PER_HOUR: Final = 6.0
"""One call in ten minutes: very likely acceptable (ISA-18.2, EEMUA 191)."""

MOST_PER_HOUR: Final = 12.0
"""Two in ten minutes: the most that one person can manage."""

FLOOD: Final = 10
"""So many calls within ten minutes are a flood: nobody reads them all."""

TEN_MINUTES: Final = timedelta(minutes=10)
FLICKERS: Final = 3
"""So many calls of one alarm within a minute: it chatters."""

_MINUTE: Final = timedelta(minutes=1)
MOST_OFFENDERS: Final = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One time that an alarm wanted somebody."""

    alarm: int
    at: datetime
    priority: Priority


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls of a period of so many hours. `floods` are those of its ten minutes that had FLOOD or more."""

    calls: int
    hours: float
    floods: int
    ten_minutes: int
    most_in_ten_minutes: int

    @property
    def per_hour(self) -> float | None:
        """Return the calls per hour, None of a period too short to say."""
        return self.calls / self.hours if self.hours >= 1 / 6 else None


@dataclass(frozen=True, slots=True)
class Offender:
    """An alarm with its calls, their share of all, and how often it chattered."""

    alarm: int
    calls: int
    share: float
    chattered: int


def rate_of(calls: Sequence[Call], since: datetime, now: datetime) -> Rate:
    """Return how often somebody was called from `since` until now, by periods of ten minutes that end now."""
    of_period = [call for call in calls if since <= call.at <= now]
    periods = max(1, -(-(now - since) // TEN_MINUTES))
    counts = Counter((now - call.at) // TEN_MINUTES for call in of_period)
    return Rate(
        calls=len(of_period),
        hours=(now - since) / timedelta(hours=1),
        floods=sum(count >= FLOOD for count in counts.values()),
        ten_minutes=periods,
        most_in_ten_minutes=max(counts.values(), default=0),
    )


def offenders(calls: Sequence[Call]) -> list[Offender]:
    """Return the alarms that called most, with those that chatter, the worst first."""
    times: dict[int, list[datetime]] = {}
    for call in calls:
        times.setdefault(call.alarm, []).append(call.at)
    found = [Offender(alarm, len(at), len(at) / len(calls), _chattered(sorted(at))) for alarm, at in times.items()]
    return sorted(found, key=lambda one: (-one.calls, -one.chattered, one.alarm))[:MOST_OFFENDERS]


def by_priority(calls: Sequence[Call]) -> dict[Priority, int]:
    """Return how many calls had each priority, the highest first."""
    counts = Counter(call.priority for call in calls)
    return {priority: counts[priority] for priority in sorted(Priority, reverse=True)}


def _chattered(at: Sequence[datetime]) -> int:
    """Return how often an alarm called FLICKERS times within a minute; the calls of one time are not of the next."""
    found, first = 0, 0
    while first + FLICKERS <= len(at):
        end = bisect_left(at, at[first] + _MINUTE, first)
        if end - first >= FLICKERS:
            found += 1
            first = end
        else:
            first += 1
    return found
