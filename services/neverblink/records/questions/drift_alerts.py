"""Drift alerts as they stand: of each its last stage, and whether it has ended."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from neverblink.records.tables import DriftAlertRow

MOST_ALERTS = 1000
_CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class KnownAlert:
    """One alert. `severity` is the highest that it had, the sentences are of its last stage; `cleared` is its end."""

    alert: str
    line: str
    station: str
    signal: str
    severity: str
    since: datetime
    raised: datetime
    cleared: datetime | None
    change: str
    cause: str
    next_step: str


def drift_alerts(session: Session, lines: Collection[str], *, cleared_since: datetime) -> list[KnownAlert]:
    """Return these lines' alerts that are open or have ended since then, the newest first, MOST_ALERTS at most."""
    ended = aliased(DriftAlertRow)
    end = select(ended.at).where(ended.id == DriftAlertRow.id, ended.stage == _CLEARED).scalar_subquery()
    query = (
        select(DriftAlertRow, end)
        .where(
            DriftAlertRow.line.in_(sorted(lines)),
            DriftAlertRow.stage != _CLEARED,
            end.is_(None) | (end >= cleared_since),
        )
        .order_by(DriftAlertRow.at.desc())
        .limit(MOST_ALERTS)
    )
    found: dict[str, KnownAlert] = {}
    for row, cleared in session.execute(query):
        before = found.get(row.id)
        worst = "act" if before is not None and before.severity == "act" else row.severity
        told = row if before is None else before  # the newest stage comes first
        found[row.id] = KnownAlert(
            row.id, row.line, row.station, row.signal, worst, row.since, row.raised, cleared,
            told.change, told.cause, told.next_step,
        )  # fmt: skip
    return list(found.values())
