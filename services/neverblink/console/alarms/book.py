"""Alarms as the console's database keeps them: every look and every hand is one transaction, with what happened in it.

The newest look of whoever watches decides what stands; two consoles over one database tell each thing once.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, desc, insert, or_, select, text, update

from neverblink.console.access.audit import Actor, note
from neverblink.console.access.tables import AlarmRow, AlarmStepRow
from neverblink.console.alarms.condition import Condition, Origin
from neverblink.console.alarms.state import (
    Alarm,
    AlarmError,
    Change,
    Priority,
    Stage,
    State,
    Step,
    acknowledged,
    looked,
    shelved,
    unshelved,
)

KEPT: Final = timedelta(days=400)
"""What happened to alarms is kept for so long."""

MOST_LISTED: Final = 1000
MOST_STEPS: Final = 200
MOST_COUNTED: Final = 50_000
_LOCK = 0x616C61726D73  # "alarms": one look at a time, whoever looks


@dataclass(frozen=True, slots=True)
class Listed:
    """An alarm with all that a page says of it. `line` is None for one of the whole plant."""

    number: int
    tag: str
    kind: str
    line: str | None
    station: str | None
    about: str
    alarm: Alarm
    since: datetime
    returned: datetime | None
    seen_by: str
    reason: str
    what: str
    why: str
    next_step: str
    values: Mapping[str, str]

    @property
    def state(self) -> State:
        """Return how it stands."""
        return self.alarm.state

    @property
    def priority(self) -> Priority:
        """Return how soon somebody must act."""
        return self.alarm.priority


@dataclass(frozen=True, slots=True)
class Happened:
    """A step of an alarm, for whoever is told of it."""

    listed: Listed
    step: Step
    at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """A step as it is kept."""

    number: int
    alarm: int
    stage: str
    calls: bool
    priority: Priority
    at: datetime
    who: str
    reason: str


def look(
    connection: Connection, conditions: Sequence[Condition], known: Collection[Origin], now: datetime
) -> list[Happened]:
    """Take what stands now and return what has happened. It writes only what has changed.

    `known` are the origins that could be asked: what stands of another stays as it was.
    """
    _alone(connection)
    found: dict[str, list[Condition]] = defaultdict(list)
    for condition in conditions:
        found[condition.tag].append(condition)
    rows = {row["tag"]: row for row in _rows(connection, or_(AlarmRow.standing, AlarmRow.tag.in_(list(found))))}
    went = _never_told(connection, [one for one in conditions if one.ended is not None])
    happened: list[Happened] = []
    for tag in sorted({*rows, *found}):
        row, here = rows.get(tag), found.get(tag, [])
        if row is None:
            row = _fresh(here[0])
        before = _alarm_of(row)
        if here or row["origin"] in known:
            stands = {one.cause: one.priority for one in here if one.ended is None}
            gone = {one.cause: one.priority for one in here if one.cause in went}
        else:
            stands, gone = dict.fromkeys(before.causes, before.priority), {}
        change = looked(before, stands, now, gone)
        told = _told(row, here) if here and (stands or gone) else {}
        happened += _put(connection, row, before, change, told, now)
    return happened


def acknowledge(connection: Connection, number: int, rounds: int, actor: Actor, now: datetime) -> list[Happened]:
    """Note that somebody has seen an alarm as it was at `rounds`. Raises AlarmError."""
    return _by_hand(connection, number, actor, now, "alarm.acknowledge", lambda alarm: acknowledged(alarm, rounds))


def shelve(
    connection: Connection, number: int, until: datetime, reason: str, actor: Actor, now: datetime
) -> list[Happened]:
    """Set an alarm aside until then. Raises AlarmError."""
    told = {"until": until.isoformat(), "reason": reason}
    return _by_hand(
        connection, number, actor, now, "alarm.shelve", lambda alarm: shelved(alarm, until, reason, now), told
    )


def unshelve(connection: Connection, number: int, actor: Actor, now: datetime) -> list[Happened]:
    """Take an alarm off the shelf. Raises AlarmError."""
    return _by_hand(connection, number, actor, now, "alarm.unshelve", unshelved)


def listed(connection: Connection) -> tuple[Listed, ...]:
    """Return every alarm that stands, is to be acknowledged or is shelved."""
    return tuple(_listed(row) for row in _rows(connection, AlarmRow.standing, MOST_LISTED))


def one_of(connection: Connection, number: int) -> Listed | None:
    """Return an alarm, whatever its state; None where there is none of that number."""
    return next((_listed(row) for row in _rows(connection, AlarmRow.number == number)), None)


def steps_of(connection: Connection, number: int) -> list[Kept]:
    """Return what happened to an alarm, the newest first."""
    return _kept(connection, AlarmStepRow.alarm == number, MOST_STEPS)


def calls_since(connection: Connection, since: datetime) -> list[tuple[Kept, str | None, str]]:
    """Return what called for somebody since then, the newest first, with its line and kind."""
    query = (
        select(*_STEP, AlarmStepRow.line, AlarmStepRow.kind)
        .where(AlarmStepRow.at >= since, AlarmStepRow.calls)
        .order_by(desc(AlarmStepRow.at))
        .limit(MOST_COUNTED)
    )
    return [(_step_of(row), row.line, row.kind) for row in connection.execute(query)]


def by_number(connection: Connection, numbers: Iterable[int]) -> dict[int, Listed]:
    """Return alarms by their numbers."""
    return {row["number"]: _listed(row) for row in _rows(connection, AlarmRow.number.in_(list(numbers)))}


def last_step(connection: Connection) -> datetime | None:
    """Return when anything last happened to an alarm."""
    return connection.scalar(select(AlarmStepRow.at).order_by(desc(AlarmStepRow.number)).limit(1))


def began(connection: Connection) -> datetime | None:
    """Return since when alarms are watched, or since when what happened to them is kept; None before the first look."""
    return connection.scalar(select(AlarmStepRow.at).order_by(AlarmStepRow.at).limit(1))


def upkeep(connection: Connection, now: datetime) -> None:
    """Note at the first look ever that it is one, and delete what happened before KEPT."""
    if began(connection) is None:
        values = {"alarm": 0, "kind": "", "stage": "watched", "calls": False, "priority": int(Priority.LOW), "at": now}
        connection.execute(insert(AlarmStepRow).values(**values, who="", reason=""))
    connection.execute(delete(AlarmStepRow).where(AlarmStepRow.at < now - KEPT))


_STEP = (
    AlarmStepRow.number, AlarmStepRow.alarm, AlarmStepRow.stage, AlarmStepRow.calls, AlarmStepRow.priority,
    AlarmStepRow.at, AlarmStepRow.who, AlarmStepRow.reason,
)  # fmt: skip

_Row = dict[str, Any]


def _alone(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _by_hand(
    connection: Connection,
    number: int,
    actor: Actor,
    now: datetime,
    action: str,
    change: Any,
    detail: Mapping[str, object] | None = None,
) -> list[Happened]:
    _alone(connection)
    row = next(iter(_rows(connection, AlarmRow.number == number)), None)
    if row is None:
        raise AlarmError("there is no such alarm")
    before = _alarm_of(row)
    after: Change = change(before)
    if not after[1]:
        return []
    note(connection, now, actor, action, row["tag"], {"number": number, **(detail or {})})
    reason = str((detail or {}).get("reason", "")) or actor.meaning
    told = {"seen_by": actor.who, "reason": reason}
    return _put(connection, row, before, after, told, now, who=actor.who, reason=reason)


def _put(
    connection: Connection,
    row: _Row,
    before: Alarm,
    change: Change,
    told: _Row,
    now: datetime,
    *,
    who: str = "",
    reason: str = "",
) -> list[Happened]:
    """Write an alarm and what happened to it, where anything did."""
    alarm, steps = change
    new = {**row, **told}
    if not row["causes"] and alarm.causes:
        new["returned"] = None
    if any(step.stage is Stage.RETURNED for step in steps):
        new["returned"] = now
    new |= {
        "causes": sorted(alarm.causes),
        "acknowledged": alarm.acknowledged,
        "priority": int(alarm.priority),
        "rounds": alarm.rounds,
        "shelved_until": alarm.shelved_until,
        "standing": alarm.state is not State.NORMAL,
    }
    if new == row:
        return []
    values = {name: value for name, value in new.items() if name != "number"}
    if row["number"] is None:
        made = connection.execute(insert(AlarmRow).values(**values)).inserted_primary_key
        assert made is not None
        new["number"] = made[0]
    else:
        connection.execute(update(AlarmRow).where(AlarmRow.number == row["number"]).values(**values))
    place = {"alarm": new["number"], "kind": new["kind"], "line": new["line"], "at": now}
    said = {"who": who, "reason": reason, "priority": int(max(alarm.priority, before.priority))}
    if steps:
        written = [
            {"stage": one.stage.value, "cause": one.source, "calls": one.calls, **place, **said} for one in steps
        ]
        connection.execute(insert(AlarmStepRow), written)
    found = _listed(new)
    return [Happened(found, step, now) for step in steps]


def _never_told(connection: Connection, ended: Sequence[Condition]) -> frozenset[str]:
    """Return the ids of those that came and went with nobody looking."""
    causes = {one.cause for one in ended}
    if not causes:
        return frozenset()
    query = select(AlarmStepRow.cause).where(AlarmStepRow.cause.in_(causes))
    return frozenset(causes - set(connection.scalars(query)))


def _fresh(condition: Condition) -> _Row:
    return {
        "number": None, "tag": condition.tag, "origin": condition.origin.value, "kind": condition.kind,
        "line": condition.line, "station": condition.station, "about": condition.about, "causes": [],
        "acknowledged": True, "priority": int(Priority.LOW), "rounds": 0, "shelved_until": None,
        "since": condition.since, "returned": None, "seen_by": "", "reason": "", "what": "", "why": "",
        "next_step": "", "given": {}, "standing": False,
    }  # fmt: skip


def _told(row: _Row, here: Sequence[Condition]) -> _Row:
    """Return what a page says: of what stands the newest, and since when of the oldest."""
    standing = [one for one in here if one.ended is None] or list(here)
    newest = max(standing, key=lambda one: (one.priority, one.since))
    since = min(one.since for one in standing)
    told: _Row = {
        "what": newest.what, "why": newest.why, "next_step": newest.next_step, "given": dict(newest.values),
        "since": since,
    }  # fmt: skip
    if set(row["causes"]) & {one.cause for one in standing} and newest.cause == row["tag"]:
        told["since"] = row["since"]  # found by the console itself: it began when it was first seen
    return told


def _rows(connection: Connection, where: Any, most: int | None = None) -> list[_Row]:
    query = select(*AlarmRow.__table__.columns).where(where).order_by(AlarmRow.number).limit(most)
    return [dict(row._mapping) for row in connection.execute(query)]


def _kept(connection: Connection, where: Any, most: int) -> list[Kept]:
    query = select(*_STEP).where(where).order_by(desc(AlarmStepRow.number)).limit(most)
    return [_step_of(row) for row in connection.execute(query)]


def _step_of(row: Any) -> Kept:
    return Kept(row.number, row.alarm, row.stage, row.calls, Priority(row.priority), row.at, row.who, row.reason)


def _alarm_of(row: _Row) -> Alarm:
    return Alarm(
        frozenset(row["causes"]), row["acknowledged"], Priority(row["priority"]), row["shelved_until"], row["rounds"]
    )


def _listed(row: _Row) -> Listed:
    names = (
        "number", "tag", "kind", "line", "station", "about", "since", "returned", "seen_by", "reason", "what", "why",
        "next_step",
    )  # fmt: skip
    return Listed(**{name: row[name] for name in names}, alarm=_alarm_of(row), values=row["given"])
