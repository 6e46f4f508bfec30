"""How each line stands now: what its shift counts so far, and what nobody has mended yet."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from neverblink.records.part_tables import RollupRow
from neverblink.records.questions.alarms import alarms
from neverblink.records.questions.drift_alerts import drift_alerts
from neverblink.records.questions.rollup_filter import RollupFilter

MOST_OPEN = 200
"""Open alarms and alerts that one answer holds of each kind, the newest."""


@dataclass(frozen=True, slots=True)
class LineCounts:
    """What a line counts since an instant, in whole hours. `not_told`: late, failed, or nobody knows."""

    parts: int
    passed: int
    rejected: int
    unscored: int
    late: int
    fail_safe: int
    not_told: int
    escaped: int


@dataclass(frozen=True, slots=True)
class OpenTrouble:
    """Something of a line that was raised and not cleared. `kind` is `drift`, or the alarm's."""

    line: str
    station: str | None
    kind: str
    severity: str
    since: datetime
    what: str
    next_step: str


def counts_by_line(session: Session, since: datetime) -> dict[str, LineCounts]:
    """Return what each line counts since then: of whole parts, from the hour of `since` on."""
    row = RollupRow
    columns = (
        row.parts, row.passed, row.rejected, row.unscored, row.late, row.gate_fail_safe,
        row.told_late + row.told_unknown + row.told_failed, row.escaped,
    )  # fmt: skip
    query = select(row.line, *(func.coalesce(func.sum(one), 0) for one in columns))
    query = query.where(*RollupFilter(since=since).conditions(row)).group_by(row.line)
    return {found[0]: LineCounts(*(int(value) for value in list(found)[1:])) for found in session.execute(query)}


def open_troubles(session: Session, lines: Collection[str]) -> tuple[OpenTrouble, ...]:
    """Return the alarms and drift alerts of these lines that are open, what must be acted on first, then the newest."""
    found = [
        OpenTrouble(one.line, one.station, one.kind, one.severity, one.since, one.what, one.next_step)
        for one in alarms(session, lines, limit=MOST_OPEN)  # open ones come first
        if one.is_open
    ]
    found += [
        OpenTrouble(one.line, one.station, "drift", one.severity, one.since, one.change, one.next_step)
        for one in drift_alerts(session, lines, limit=MOST_OPEN)
    ]
    return tuple(sorted(found, key=lambda one: (one.severity != "act", -one.since.timestamp())))
