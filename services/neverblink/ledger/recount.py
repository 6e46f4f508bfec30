"""All parts and counts made anew from the rows of events, and what differs from those that are kept.

Nothing stops meanwhile. What is wrong with parts is mended batch by batch, as if their events had come again. The
counts are then compared in one snapshot of the whole database, and their difference is added: whatever the ledger adds
and subtracts after that snapshot stays right, because sums can be added in any order. So it may be killed and begun
again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, func, select, text, tuple_

from neverblink.ledger import review_queue
from neverblink.ledger.settling import (
    News,
    actuation_facts,
    events_of_parts,
    lock_lines,
    settle,
    verdict_facts,
)
from neverblink.records import rollups
from neverblink.records.columns import Table, table_of
from neverblink.records.database import Database
from neverblink.records.part_tables import PartRow
from neverblink.records.parts import SLACK, STOPPED, PartRules, judged, state_of
from neverblink.records.slices import slices
from neverblink.records.tables import ActuationRow, VerdictRow

_AT_ONCE = 1000
_TELL_EVERY = 50_000

_PARTS = table_of(PartRow)
_SHOWN = 20

Tell = Callable[[str], None]


@dataclass(slots=True)
class Recount:
    """What was counted and what differed. `told` are the first differences, in words."""

    parts: int = 0
    built: int = 0
    wrong_parts: list[int] = field(default_factory=list)
    wrong_counts: int = 0
    wrong_waiting: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        """Say whether what was kept is what the events say."""
        return not (self.built or self.wrong_parts or self.wrong_counts or self.wrong_waiting)


def without_part(database: Database) -> int:
    """Return how many events have no part yet: those of a ledger from before parts. Raises LedgerError."""
    with database.asking() as connection:
        return sum(
            connection.scalar(select(func.count()).select_from(table).where(table.part_id.is_(None))) or 0
            for table in (VerdictRow, ActuationRow)
        )


def build_some(database: Database, rules: PartRules, now: datetime, most: int = _AT_ONCE) -> int:
    """Give some events that have no part theirs, in one transaction, and return how many; 0: none is left.

    Raises LedgerError.
    """
    with database.writing() as connection:
        verdicts = _partless(connection, VerdictRow, most)
        actuations = _told_of(connection, verdicts) if verdicts else _partless(connection, ActuationRow, most)
        if not (verdicts or actuations):
            return 0
        lock_lines(connection, {row["line"] for row in (*verdicts, *actuations)})
        # Another ledger may have had the line before us.
        verdicts, actuations = (
            _still_partless(connection, table, rows)
            for table, rows in ((VerdictRow, verdicts), (ActuationRow, actuations))
        )
        news = News([verdict_facts(row) for row in verdicts], [actuation_facts(row) for row in actuations])
        news.in_tables = True
        settle(connection, news, rules, now)
        review_queue.refresh(connection, [row["id"] for row in verdicts])
        return max(1, len(verdicts) + len(actuations))


def recount(database: Database, rules: PartRules, now: datetime, *, repair: bool, tell: Tell) -> Recount:
    """Compare, and with `repair` mend. Raises LedgerError when the database is at fault."""
    found = Recount()
    found.built = without_part(database)
    if found.built:
        found.told.append(f"{found.built} events belonged to no part")
    if repair:
        done = 0
        while some := build_some(database, rules, now):
            done += some
            tell(f"{done} of {found.built} events have their part")
    expected, kept = _compared(database, found, tell)
    if repair and found.wrong_parts:
        for numbers in slices(found.wrong_parts, _AT_ONCE):
            _mend(database, numbers, rules, now)
        tell(f"{len(found.wrong_parts)} parts are mended")
        expected, kept = _compared(database, Recount(), tell)
    difference = rollups.Contribution()
    difference.add(expected)
    difference.add(kept, -1)
    difference = difference.whole()
    found.wrong_counts = len(difference.counts) + len(difference.words)
    found.told += [
        f"{key.hour:%Y-%m-%d %H:%M} {key.line}/{key.station or '*'} {key.product} {key.shift} {key.lot}: "
        + ", ".join(f"{name} {number:+d}" for name, number in sorted(counts.items()))
        for key, counts in sorted(difference.counts.items())[:_SHOWN]
    ]
    if repair and found.wrong_counts:
        with database.writing() as connection:
            lock_lines(connection, {key.line for key in difference.counts} | {w.key.line for w in difference.words})
            rollups.apply(connection, difference, tidy=True)
    found.wrong_waiting = review_queue.mended(database, repair=repair)
    if found.wrong_waiting:
        found.told.append(f"{found.wrong_waiting} verdicts wait for a person and should not, or the other way round")
    return found


def _compared(database: Database, found: Recount, tell: Tell) -> tuple[rollups.Contribution, rollups.Contribution]:
    """Return what the events come to and what is kept, both of one instant; notes parts that are wrong."""
    expected = rollups.Contribution()
    with database.asking() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        count = connection.scalar(select(func.count()).select_from(PartRow)) or 0
        wrong: set[int] = set()
        for rows in _pages(connection):
            for number, why in _checked(connection, rows, expected):
                wrong.add(number)
                if len(found.told) < _SHOWN:
                    found.told.append(f"part {number}: {why}")
            found.parts += len(rows)
            if found.parts % _TELL_EVERY < len(rows):
                tell(f"{found.parts} of {count} parts are counted")
        wrong |= set(_touching(connection))
        found.wrong_parts = sorted(wrong)
        return expected, rollups.stored(connection)


def _pages(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    last = 0
    while True:
        page = select(_PARTS).where(_PARTS.c.id > last).order_by(_PARTS.c.id).limit(_AT_ONCE)
        rows = [dict(row) for row in connection.execute(page).mappings()]
        if not rows:
            return
        yield rows
        last = rows[-1]["id"]


def _checked(
    connection: Connection, rows: Sequence[dict[str, Any]], expected: rollups.Contribution
) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with parts, and add what each counts for."""
    events = events_of_parts(connection, rows)
    for row in rows:
        said = events.get(row["id"])
        if said is None:
            yield row["id"], "no event speaks of it"
            continue
        now = judged(said)
        # The plan of shifts may have changed since; what it was is kept.
        shift: str = row["shift"]
        state = state_of(now, lambda _, kept=shift: kept)  # type: ignore[misc]
        names = [name for name, value in state.items() if row[name] != value]
        if names:
            yield row["id"], f"{', '.join(names)} differ"
        elif now.verdicts != said.verdicts:
            yield row["id"], "what people's answers come to differs"
        expected.add(rollups.contribution_of(state, now))


class _Before(NamedTuple):
    """The part before, in the order of names and times."""

    name: tuple[Any, ...]
    opened: datetime
    closed: datetime
    number: int
    gate_alone: bool


def _touching(connection: Connection) -> Iterator[int]:
    """Yield parts of one name whose times touch, and a gate's beside the part that it acted on: they are one."""
    c = _PARTS.c
    before: _Before | None = None
    gate_alone = and_(c.decision.is_(None), c.told_outcome.is_(None), c.gate.is_not(None))
    called = case((c.epoch.is_(None), c.part))  # the PLC's count is a name by itself
    query = select(
        c.line, c.epoch, c.number, called.label("called"), c.opened, c.closed, c.id, gate_alone.label("gate_alone")
    ).order_by(c.line, c.epoch, c.number, called, c.opened, c.id)
    for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
        name = (row.line, row.epoch, row.number, row.called)
        here = _Before(name, row.opened, row.closed, row.id, row.gate_alone)
        if before is None or before.name != name:
            before = here
        elif here.opened - before.closed <= SLACK:
            yield from (before.number, here.number)
            before = before._replace(closed=max(before.closed, here.closed), number=here.number)
        elif here.gate_alone and not before.gate_alone and here.opened - before.opened <= STOPPED:
            yield from (before.number, here.number)
        else:
            before = here


def _mend(database: Database, numbers: Sequence[int], rules: PartRules, now: datetime) -> None:
    with database.writing() as connection:
        lines = connection.scalars(select(_PARTS.c.line).distinct().where(_PARTS.c.id.in_(numbers))).all()
        lock_lines(connection, lines)
        settle(connection, News(parts=frozenset(numbers)), rules, now)


def _partless(connection: Connection, table: type[Table], most: int) -> list[dict[str, Any]]:
    of = table_of(table)
    found = select(of).where(of.c.part_id.is_(None)).limit(most)
    return [dict(row) for row in connection.execute(found).mappings()]


def _still_partless(connection: Connection, table: type[Table], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if connection.dialect.name == "sqlite" or not rows:
        return list(rows)
    of = table_of(table)
    named = select(of).where(of.c.id.in_([row["id"] for row in rows]), of.c.part_id.is_(None))
    return [dict(row) for row in connection.execute(named).mappings()]


def _told_of(connection: Connection, verdicts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the PLC was told of these parts, so that each is made once and not again for every event."""
    of = table_of(ActuationRow)
    places = sorted({(row["line"], row["epoch"], row["number"]) for row in verdicts if row["epoch"] is not None})
    found: list[dict[str, Any]] = []
    for some in slices(places, 300):
        named = select(of).where(tuple_(of.c.line, of.c.epoch, of.c.number).in_(some), of.c.part_id.is_(None))
        found += [dict(row) for row in connection.execute(named).mappings()]
    return found
