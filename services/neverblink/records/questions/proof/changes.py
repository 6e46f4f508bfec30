"""What changed on a line in a period: models, thresholds, drift alerts, alarms; newest last."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink.records.part_tables import ModelChangeRow
from neverblink.records.questions.alarms import alarms
from neverblink.records.tables import DriftAlertRow

_MOST = 200


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed, in a sentence. `kind` is model, threshold, shadow, alert or alarm.

    `next_step` is what to do about it, None where nothing is asked for or it was cleared since.
    """

    at: datetime
    kind: str
    station: str | None
    what: str
    next_step: str | None = None


def changes_of(session: Session, line: str, since: datetime, until: datetime) -> tuple[Change, ...]:
    """Return what changed on a line, at most 200 of a kind."""
    found = [
        *_models(session, line, since, until),
        *_alerts(session, line, since, until),
        *_alarms(session, line, since, until),
    ]
    return tuple(sorted(found, key=lambda one: (one.at, one.kind, one.what)))


def _models(session: Session, line: str, since: datetime, until: datetime) -> list[Change]:
    """Compare each state of a station's models with the one before, back to the last before the period."""
    query = (
        select(ModelChangeRow)
        .where(ModelChangeRow.line == line, ModelChangeRow.at < until)
        .order_by(ModelChangeRow.at.desc(), ModelChangeRow.id.desc())
        .limit(_MOST)
    )
    rows = list(session.scalars(query))[::-1]
    before: dict[str, ModelChangeRow] = {}
    found = []
    for row in rows:
        if row.at >= since:
            found += _compared(before.get(row.station), row)
        before[row.station] = row
    return found


def _compared(before: ModelChangeRow | None, row: ModelChangeRow) -> list[Change]:
    old, new = before.active if before else None, row.active
    who = f" by {row.by}" + (f": {row.why}" if row.why else "")
    found = []
    if _digest(old) != _digest(new) or before is None:
        instead = f" instead of {_name(old)}" if before else ""
        found.append(Change(row.at, "model", row.station, f"{row.product} is scored by {_name(new)}{instead},{who}"))
    elif _threshold(old) != _threshold(new):
        edited = f"threshold of {_name(new)} {_shown(_threshold(new))} instead of {_shown(_threshold(old))}"
        found.append(Change(row.at, "threshold", row.station, f"{edited},{who}"))
    shadow = before.shadow if before else None
    if _digest(shadow) != _digest(row.shadow):
        says = "no model is in shadow any more" if row.shadow is None else f"{_name(row.shadow)} is in shadow"
        found.append(Change(row.at, "shadow", row.station, f"{says},{who}"))
    return found


def _alerts(session: Session, line: str, since: datetime, until: datetime) -> list[Change]:
    query = (
        select(DriftAlertRow)
        .where(DriftAlertRow.line == line, DriftAlertRow.raised >= since, DriftAlertRow.raised < until)
        .order_by(DriftAlertRow.at, DriftAlertRow.id)
        .limit(4 * _MOST)
    )
    stages: dict[str, list[DriftAlertRow]] = {}
    for row in session.scalars(query):
        stages.setdefault(row.id, []).append(row)
    found = []
    for rows in stages.values():
        first, last = rows[0], rows[-1]
        cleared = last.stage == "cleared"
        what = f"{last.severity}: {first.change}" + (" (cleared)" if cleared else "")
        found.append(Change(first.raised, "alert", first.station, what, None if cleared else last.next_step))
    return found


def _alarms(session: Session, line: str, since: datetime, until: datetime) -> list[Change]:
    return [
        Change(
            one.raised,
            "alarm",
            one.station,
            f"{one.severity}: {one.what}" + ("" if one.is_open else " (cleared)"),
            one.next_step if one.is_open else None,
        )
        for one in alarms(session, (line,), raised_since=since, limit=_MOST)
        if one.raised < until
    ]


def _digest(slot: dict[str, Any] | None) -> str | None:
    return slot["artifact"]["digest"] if slot else None


def _threshold(slot: dict[str, Any] | None) -> float | None:
    return slot.get("threshold") if slot else None


def _name(slot: dict[str, Any] | None) -> str:
    return f"{slot['artifact']['name']} {slot['artifact']['version']}" if slot else "the plant file's artifact"


def _shown(threshold: float | None) -> str:
    return "its own" if threshold is None else f"{threshold:.4g}"
