"""Alarms as they stand: what was raised, and what was cleared since."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select
from sqlalchemy.orm import Session, aliased

from neverblink.events.alarm import CLEARED, RAISED
from neverblink.records.part_tables import AlarmRow

MOST_ALARMS = 1000
"""Of one answer: open ones first, then the newest."""


@dataclass(frozen=True, slots=True)
class KnownAlarm:
    """One alarm. `cleared` is when it was, None while it is open; `subject` and the sentences are of its last stage."""

    alarm: str
    line: str
    station: str | None
    kind: str
    severity: str
    since: datetime
    raised: datetime
    cleared: datetime | None
    subject: dict[str, str]
    what: str
    cause: str
    next_step: str

    @property
    def is_open(self) -> bool:
        """Say whether it still stands."""
        return self.cleared is None


def alarms(
    session: Session | Connection,
    lines: Collection[str],
    *,
    kinds: Collection[str] | None = None,
    raised_since: datetime | None = None,
    cleared_since: datetime | None = None,
    limit: int = MOST_ALARMS,
) -> list[KnownAlarm]:
    """Return these lines' alarms, open ones first and then the newest.

    `raised_since` leaves out what was raised before, `cleared_since` what was cleared before.
    """
    raised, cleared = aliased(AlarmRow), aliased(AlarmRow)
    same = (cleared.alarm == raised.alarm) & (cleared.stage == CLEARED)
    query = (
        select(
            raised.alarm, raised.line, raised.station, raised.kind, raised.severity, raised.since, raised.at,
            raised.subject, raised.what, raised.cause, raised.next_step,
            cleared.at, cleared.subject, cleared.what, cleared.cause, cleared.next_step,
        )
        .outerjoin(cleared, same)
        .where(raised.stage == RAISED, raised.line.in_(sorted(lines)))
    )  # fmt: skip
    if kinds is not None:
        query = query.where(raised.kind.in_(sorted(kinds)))
    if raised_since is not None:
        query = query.where(raised.at >= raised_since)
    if cleared_since is not None:
        query = query.where(or_(cleared.id.is_(None), cleared.at >= cleared_since))
    query = query.order_by(cleared.id.is_not(None), raised.at.desc(), raised.alarm)
    found = []
    for row in session.execute(query.limit(min(limit, MOST_ALARMS))):
        subject, what, cause, next_step = row[7:11] if row[11] is None else row[12:16]
        alarm, line, station, kind, severity, began, at = row[:7]
        found.append(
            KnownAlarm(alarm, line, station, kind, severity, began, at, row[11], subject, what, cause, next_step)
        )
    return found
