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
_OF_THE_PLANT = "the plant file's artifact"


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


@dataclass(frozen=True, slots=True)
class SlotChange:
    """What became of a station's models. `kind` is model, threshold or shadow.

    `new` and `old` name artifacts: None where there is none, of a model the plant file's artifact. `is_first` says that
    nothing is known of what was before. A threshold of None is the artifact's own.
    """

    at: datetime
    kind: str
    station: str
    product: str
    new: str | None
    old: str | None
    threshold: float | None
    old_threshold: float | None
    is_first: bool
    by: str
    why: str | None

    @property
    def what(self) -> str:
        """Return it in a sentence."""
        who = f" by {self.by}" + (f": {self.why}" if self.why else "")
        new = self.new or _OF_THE_PLANT
        if self.kind == "model":
            instead = "" if self.is_first else f" instead of {self.old or _OF_THE_PLANT}"
            return f"{self.product} is scored by {new}{instead},{who}"
        if self.kind == "threshold":
            return f"threshold of {new} {_shown(self.threshold)} instead of {_shown(self.old_threshold)},{who}"
        says = "no model is in shadow any more" if self.new is None else f"{new} is in shadow"
        return f"{says},{who}"


def changes_of(session: Session, line: str, since: datetime, until: datetime) -> tuple[Change, ...]:
    """Return what changed on a line, at most 200 of a kind."""
    found = [
        *(Change(one.at, one.kind, one.station, one.what) for one in slot_changes(session, line, since, until)),
        *drift_alerts_raised(session, line, since, until),
        *_alarms(session, line, since, until),
    ]
    return tuple(sorted(found, key=lambda one: (one.at, one.kind, one.what)))


def slot_changes(session: Session, line: str, since: datetime, until: datetime) -> list[SlotChange]:
    """Compare each state of a station's models with the one before, back to the last before the period; newest last."""
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


def _compared(before: ModelChangeRow | None, row: ModelChangeRow) -> list[SlotChange]:
    old, new = before.active if before else None, row.active
    shadow = before.shadow if before else None

    def change(kind: str, now: dict[str, Any] | None, then: dict[str, Any] | None) -> SlotChange:
        return SlotChange(
            row.at, kind, row.station, row.product, _name(now), _name(then), _threshold(now), _threshold(then),
            before is None, row.by, row.why,
        )  # fmt: skip

    found = []
    if _digest(old) != _digest(new) or before is None:
        found.append(change("model", new, old))
    elif _threshold(old) != _threshold(new):
        found.append(change("threshold", new, old))
    if _digest(shadow) != _digest(row.shadow):
        found.append(change("shadow", row.shadow, shadow))
    return found


def drift_alerts_raised(session: Session, line: str, since: datetime, until: datetime) -> list[Change]:
    """Return the alerts that were raised, each as it stands now."""
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


def _name(slot: dict[str, Any] | None) -> str | None:
    return f"{slot['artifact']['name']} {slot['artifact']['version']}" if slot else None


def _shown(threshold: float | None) -> str:
    return "its own" if threshold is None else f"{threshold:.4g}"
