"""A station's signals as small charts: where each lay, and what is normal for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final

from babel.dates import format_skeleton
from sqlalchemy.orm import Session

from neverblink.records.questions.drift_history import (
    PER_POINT,
    SIGNALS,
    DriftPoint,
    StationNow,
    drift_points,
    station_now,
)
from neverblink.records.questions.ledger_figures import drift_alerts
from neverblink.records.tables import DriftAlertRow
from neverblink.reports.charts import round_values

MOST_ALERTS: Final = 50
_ROOM: Final = 0.15
_TIMES: Final = 6
_EDGE: Final = 0.06
"""So near to the right end no instant is written: there is no room for it."""

_GAP: Final = 3.0
"""So many times the usual distance between points, their median, is a pause: the line is not drawn through it."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The stations as they are, and of one of them its points and alerts, newest first."""

    stations: tuple[tuple[str, str, StationNow | None], ...]
    points: tuple[DriftPoint, ...]
    alerts: tuple[DriftAlertRow, ...]


@dataclass(frozen=True, slots=True)
class SignalChart:
    """One signal, across and up between 0 and 1: pieces of its line and of what is normal, split at pauses.

    `level` is how far it is now, in alert limits; None where the reports do not say.
    """

    signal: str
    pieces: tuple[str, ...]
    normal: tuple[str, ...]
    ticks: tuple[tuple[float, float], ...]
    times: tuple[tuple[float, str], ...]
    last: float
    expected: float | None
    level: float | None


def drift_of(
    session: Session,
    stations: Sequence[tuple[str, str]],
    chosen: tuple[str, str] | None,
    since: datetime,
    until: datetime,
) -> Drift:
    """Return what is known of these stations' drift, and of the chosen one how it went."""
    now = tuple((line, name, station_now(session, line, name)) for line, name in stations)
    if chosen is None:
        return Drift(now, (), ())
    line, station = chosen
    told = [one for one in drift_alerts(session, since, line=line) if one.station == station]
    points = drift_points(session, line, station, since, until)
    return Drift(now, points, tuple(reversed(told[-MOST_ALERTS:])))


def charts_of(
    points: Sequence[DriftPoint], now: StationNow | None, since: datetime, until: datetime, zone: tzinfo, language: str
) -> tuple[SignalChart, ...]:
    """Return a chart of each signal that was seen."""
    times = _times(since, until, zone, language)
    found = []
    for signal in SIGNALS:
        seen = [(one, one.means[signal]) for one in points if signal in one.means]
        if not seen:
            continue
        normal = [(one, one.expected[signal]) for one in points if signal in one.expected]
        values = [value for _, value in (*seen, *normal)]
        low, high = min(values), max(values)
        margin = (high - low) * _ROOM or abs(high) * _ROOM or 1.0
        low, high = low - margin, high + margin
        level = None if now is None else now.levels.get(signal)
        lines = [_pieces(each, low, high, since, until) for each in (seen, normal)]
        ticks = tuple(((value - low) / (high - low), value) for value in round_values(low, high, 3))
        last = normal[-1][1] if normal else None
        found.append(SignalChart(signal, lines[0], lines[1], ticks, times, seen[-1][1], last, level))
    return tuple(found)


def windows_of(points: Sequence[DriftPoint]) -> tuple[int, int]:
    """Return how many windows the points are of, and the most that one is of."""
    return sum(one.windows for one in points), PER_POINT


def _pieces(
    seen: Sequence[tuple[DriftPoint, float]], low: float, high: float, since: datetime, until: datetime
) -> tuple[str, ...]:
    """Return a line as points of a box of 1000 × 200, in a piece for each stretch without a pause."""
    apart = sorted(later.opened - one.opened for (one, _), (later, _) in pairwise(seen))
    usual = apart[len(apart) // 2] if apart else timedelta(0)
    pieces: list[list[str]] = []
    before: datetime | None = None
    for one, value in seen:
        if before is None or one.opened - before > _GAP * usual:
            pieces.append([])
        across, up = (one.opened - since) / (until - since), (value - low) / (high - low)
        pieces[-1].append(f"{1000 * min(max(across, 0.0), 1.0):.1f},{200 * (1 - up):.1f}")
        before = one.opened
    # A single point is no line: it is drawn as the least one.
    return tuple(" ".join(piece if len(piece) > 1 else [piece[0], _beside(piece[0])]) for piece in pieces)


def _beside(point: str) -> str:
    across, up = point.split(",")
    return f"{float(across) + 2:.1f},{up}"


def _times(since: datetime, until: datetime, zone: tzinfo, language: str) -> tuple[tuple[float, str], ...]:
    """Return a few instants along the side: hours of a day, else days."""
    short = until - since <= timedelta(days=1)
    step = timedelta(hours=6) if short else max(timedelta(days=1), (until - since) / _TIMES)
    moment = since.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    moment += timedelta(hours=-moment.hour % 6 if short else 24 - moment.hour)
    found = []
    while moment < until - _EDGE * (until - since):
        text = f"{moment:%H:%M}" if short else str(format_skeleton("MMMd", moment.date(), locale=language))
        found.append(((moment - since) / (until - since), text))
        moment += step if short else timedelta(days=max(1, round(step / timedelta(days=1))))
    return tuple(found)
