"""How a station's signals went: what the drift service reported, thinned out to so many instants of a period."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from neverblink.records.tables import DriftReportRow

SIGNALS: Final = {
    "pass-ratio": "pass_ratio",
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "saturation": "saturation",
    "inference": "inference_ms",
}
"""What alerts call a signal, and the field of a report that holds it."""

POINTS: Final = 96
PER_POINT: Final = 6
"""Windows at most that one point is the mean of: the first ones of its span. So a page reads as much of a day as of a
quarter."""


@dataclass(frozen=True, slots=True)
class StationNow:
    """What the last report of a station said; `levels` in alert limits, empty where the report does not say."""

    line: str
    station: str
    product: str
    artifact: str
    state: str
    closed: datetime
    levels: dict[str, float]


@dataclass(frozen=True, slots=True)
class DriftPoint:
    """The first windows of a span: `means` of `parts` passing parts in `windows` windows, by signal.

    `expected` is what was normal then, empty where the reports do not say, as while it was learnt.
    """

    opened: datetime
    windows: int
    parts: int
    artifact: str
    means: dict[str, float]
    expected: dict[str, float]


def station_now(session: Session, line: str, station: str) -> StationNow | None:
    """Return what the last report of a station said, None where there is none."""
    query = (
        select(DriftReportRow)
        .where(DriftReportRow.line == line, DriftReportRow.station == station)
        .order_by(DriftReportRow.closed.desc())
        .limit(1)
    )
    row = session.scalar(query)
    if row is None:
        return None
    levels = dict(row.report.get("levels") or {})
    return StationNow(row.line, row.station, row.product, row.artifact, row.state, row.closed, levels)


def drift_points(
    session: Session, line: str, station: str, since: datetime, until: datetime, *, points: int = POINTS
) -> tuple[DriftPoint, ...]:
    """Return a station's signals between two instants in so many spans; those without a report are left out."""
    span = (until - since) / points
    columns = (DriftReportRow.opened, DriftReportRow.artifact, DriftReportRow.passed, DriftReportRow.report)
    # Made once: to put it together takes longer than an answer from the index.
    query = (
        select(*columns)
        .where(
            DriftReportRow.line == line,
            DriftReportRow.station == station,
            DriftReportRow.closed >= bindparam("begin"),
            DriftReportRow.closed < bindparam("end"),
        )
        .order_by(DriftReportRow.closed)
        .limit(PER_POINT)
    )
    found = []
    for place in range(points):
        begin = since + place * span
        rows = session.execute(query, {"begin": begin, "end": begin + span}).all()
        if rows:
            found.append(_point(rows))
    return tuple(found)


def _point(rows: Iterable[Any]) -> DriftPoint:
    """Return windows as one: each signal's mean is weighed by how many parts it is of."""
    held = list(rows)
    sums: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    expected: dict[str, float] = {}
    for _, _, _, report in held:
        for signal, field in SIGNALS.items():
            known = report.get(field)
            if known is not None and known["count"]:
                sums[signal] += known["mean"] * known["count"]
                counts[signal] += known["count"]
        expected |= report.get("expected") or {}
    opened, artifact, *_ = held[0]
    means = {signal: sums[signal] / counts[signal] for signal in SIGNALS if counts[signal]}
    return DriftPoint(opened, len(held), sum(int(row[2]) for row in held), artifact, means, expected)
