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


def drift_alerts(
    session: Session, lines: Collection[str], *, cleared_since: datetime | None = None, limit: int = MOST_ALERTS
) -> list[KnownAlert]:
    """Return these lines' open alerts, and those that have ended since an instant, the newest first.

    So many stages of them are looked at; of None no ended one.
    """
    ended = aliased(DriftAlertRow)
    end = select(ended.at).where(ended.id == DriftAlertRow.id, ended.stage == _CLEARED).scalar_subquery()
    query = (
        select(DriftAlertRow, end)
        .where(
            DriftAlertRow.line.in_(sorted(lines)),
            DriftAlertRow.stage != _CLEARED,
            end.is_(None) if cleared_since is None else end.is_(None) | (end >= cleared_since),
        )
        .order_by(DriftAlertRow.at.desc())
        .limit(limit)
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
