"""What the watch reads of the records and writes into them; all state is there."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from neverblink.events import Alarm
from neverblink.ledger.challenges.findings import KINDS, Situation
from neverblink.ledger.challenges.owed import announced, scheduled, shifts_between
from neverblink.ledger.settling import lock_lines
from neverblink.plant import Plant
from neverblink.plant.references import References
from neverblink.records.columns import table_of
from neverblink.records.database import Database
from neverblink.records.part_tables import AlarmRow, LedgerStateRow, PartRow
from neverblink.records.questions.alarms import alarms
from neverblink.records.questions.challenges import ChallengePart, announcements, challenge_ids, challenge_parts
from neverblink.records.review_severity import GOOD_REFERENCES

LOOKED_BACK = timedelta(hours=48)
"""What is older has been told, or the ledger was away for longer than anybody waits for an alarm."""
_ALARMS_BACK = timedelta(days=60)
_SCHEDULE = "scheduled-references"
_LATE_PARTS = timedelta(hours=1)

_ALARMS = table_of(AlarmRow)
_STATE = table_of(LedgerStateRow)


class ChallengeBook:
    """For one thread. Between two looks it remembers what cannot change any more."""

    def __init__(self, database: Database, plant: Plant) -> None:
        self._database = database
        self._lines = tuple(line.name for line in plant.lines)
        self._settings = plant.proof.challenges
        self._plan = plant.shift_plan()
        self._parts: dict[int, tuple[int, ChallengePart | None]] = {}
        self._ran: dict[tuple[str, datetime, datetime], datetime | None] = {}
        self._known_good: list[str] | None = None

    def note_references(self, references: References, now: datetime) -> None:
        """Keep which reference parts are good: one that passes waits for nobody. Raises LedgerError."""
        good = sorted(one.id for one in references.references if one.is_good)
        if good != self._known_good:
            with self._database.writing() as connection:
                _remember(connection, GOOD_REFERENCES, {"ids": good}, now)
            self._known_good = good

    def situation(self, references: References, now: datetime, *, caught_up: bool) -> Situation:
        """Return what is known now. Raises LedgerError."""
        since = now - LOOKED_BACK
        with self._database.asking() as connection:
            parts = self._came(connection, since)
            told = alarms(connection, self._lines, kinds=KINDS, raised_since=now - _ALARMS_BACK)
            wanted = list(announced(announcements(connection, self._lines, since)))
            known_since = _remembered(connection, _SCHEDULE)
            wanted += self._scheduled(connection, known_since, since, now)
        self._follow_schedule(known_since, now)
        grace = timedelta(seconds=self._settings.grace_s)
        return Situation(references, parts, wanted, told, now, grace, caught_up)

    def add(self, found: Iterable[Alarm], now: datetime) -> list[Alarm]:
        """Keep these stages, and return those that nobody has kept before. Raises LedgerError."""
        by_id = {alarm.id: alarm for alarm in found}
        if not by_id:
            return []
        with self._database.writing() as connection:
            lock_lines(connection, {alarm.line for alarm in by_id.values()})
            known = set(connection.scalars(select(_ALARMS.c.id).where(_ALARMS.c.id.in_(list(by_id)))))
            new = [alarm for name, alarm in by_id.items() if name not in known]
            if new:
                rows = [{**alarm.model_dump(), "sent": None, "recorded": now} for alarm in new]
                connection.execute(insert(_ALARMS), rows)
        return new

    def unsent(self, before: datetime, own: Collection[str]) -> list[Alarm]:
        """Return what is not on the topic: of `own`, and what whoever found it has not sent in time."""
        waiting = select(_ALARMS).where(_ALARMS.c.sent.is_(None), _ALARMS.c.line.in_(self._lines))
        with self._database.asking() as connection:
            rows = connection.execute(waiting.order_by(_ALARMS.c.at, _ALARMS.c.id)).mappings().all()
        names = Alarm.model_fields
        return [
            Alarm.model_validate({name: row[name] for name in names})
            for row in rows
            if row["id"] in own or row["recorded"] < before
        ]

    def sent(self, name: str, now: datetime) -> None:
        """Keep that a stage is on the topic."""
        with self._database.writing() as connection:
            connection.execute(update(_ALARMS).where(_ALARMS.c.id == name).values(sent=now))

    def _came(self, connection: Connection, since: datetime) -> list[ChallengePart]:
        ids = challenge_ids(connection, self._lines, since)
        changed = [number for number, revision in ids.items() if self._parts.get(number, (-1,))[0] != revision]
        found = {part.part_id: part for part in challenge_parts(connection, changed)}
        known = {number: self._parts[number] for number in ids if number in self._parts}
        self._parts = known | {number: (ids[number], found.get(number)) for number in changed}
        return [part for _, part in self._parts.values() if part is not None]

    def _scheduled(
        self, connection: Connection, known_since: dict[str, Any], since: datetime, now: datetime
    ) -> list[Any]:
        self._ran = {key: first for key, first in self._ran.items() if key[2] >= since}

        def ran(line: str, begin: datetime, end: datetime) -> datetime | None:
            key = line, begin, end
            if key in self._ran:
                return self._ran[key]
            first = connection.scalar(
                select(func.min(PartRow.triggered)).where(
                    PartRow.line == line, PartRow.triggered >= begin, PartRow.triggered < end
                )
            )
            if first is not None or end + _LATE_PARTS < now:
                self._ran[key] = first
            return first

        def known(line: str, reference: str) -> datetime:
            stated = known_since.get(_key(line, reference))
            return now if stated is None else datetime.fromisoformat(stated)

        shifts = shifts_between(self._plan, since, now) if self._settings.schedule else ()
        return list(scheduled(self._settings.schedule, list(shifts), known, ran))

    def _follow_schedule(self, known_since: dict[str, Any], now: datetime) -> None:
        """Keep since when each part is scheduled, and forget those that are no longer."""
        wanted = {_key(one.line, reference) for one in self._settings.schedule for reference in one.references}
        if wanted == known_since.keys():
            return
        value = {key: known_since.get(key, now.isoformat()) for key in sorted(wanted)}
        with self._database.writing() as connection:
            _remember(connection, _SCHEDULE, value, now)


def _key(line: str, reference: str) -> str:
    return f"{line}/{reference}"


def _remembered(connection: Connection, name: str) -> dict[str, Any]:
    return connection.scalar(select(_STATE.c.value).where(_STATE.c.name == name)) or {}


def _remember(connection: Connection, name: str, value: dict[str, Any], now: datetime) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = dialect.insert(_STATE).values(name=name, value=value, at=now)
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": value, "at": now}))
