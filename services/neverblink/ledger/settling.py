"""Which parts the events of a batch belong to, and what is counted anew because of them.

All within the caller's transaction, which holds the lines (`locked_lines`): nobody else changes their parts meanwhile.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, insert, select, text, update

from neverblink.records import rollups
from neverblink.records.columns import table_of
from neverblink.records.part_tables import PartDefectRow, PartRow
from neverblink.records.parts import (
    SLACK,
    STOPPED,
    ActuationFacts,
    Facts,
    Key,
    PartEvents,
    PartRules,
    VerdictFacts,
    clusters,
    judged,
    state_of,
    words_of,
)
from neverblink.records.review_state import ReviewFacts
from neverblink.records.revisions import next_revisions
from neverblink.records.slices import slices
from neverblink.records.tables import ActuationRow, DefectRow, ReviewRow, Row, VerdictRow

_AT_ONCE = 1000
"""Values in one question: far below the 32 766 that SQLite binds."""

_PARTS = table_of(PartRow)
_VERDICTS = table_of(VerdictRow)
_ACTUATIONS = table_of(ActuationRow)
_DEFECTS = table_of(PartDefectRow)

Named = tuple[frozenset[str], datetime]
"""The types of a part's defects, and when it was triggered."""


class ReviewOf(NamedTuple):
    """A review and the verdict that it is about."""

    verdict: str
    line: str
    facts: ReviewFacts


@dataclass(slots=True)
class News:
    """Events that no part has yet: of a batch, or of a ledger from before parts (`in_tables`).

    `parts` are settled again though nothing new is said of them.
    """

    verdicts: list[VerdictFacts] = field(default_factory=list)
    actuations: list[ActuationFacts] = field(default_factory=list)
    reviews: list[ReviewOf] = field(default_factory=list)
    defects: dict[str, list[str]] = field(default_factory=dict)
    in_tables: bool = False
    parts: frozenset[int] = frozenset()


@dataclass(slots=True)
class Settled:
    """What came of it: the part of each new event, by its id, and what people's answers about new verdicts come to."""

    parts: dict[str, int] = field(default_factory=dict)
    judgements: dict[str, str | None] = field(default_factory=dict)
    touched: int = 0


@dataclass(slots=True)
class _Known:
    """What the tables hold of the parts in question."""

    rows: dict[int, Row] = field(default_factory=dict)
    part_of: dict[str, int] = field(default_factory=dict)
    events: dict[int, PartEvents] = field(default_factory=lambda: defaultdict(PartEvents))
    reviews: dict[str, list[ReviewOf]] = field(default_factory=lambda: defaultdict(list))
    defects: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    words: dict[int, Named] = field(default_factory=dict)


def lock_lines(connection: Connection, lines: Iterable[str]) -> None:
    """Hold these lines' parts and counts until the transaction ends, always in the same order.

    Two ledgers that read the same line, as after a rebalance, then follow one another and never wait crosswise. SQLite
    has one writer at a time anyway.
    """
    if connection.dialect.name != "postgresql":
        return
    for number in sorted({_lock_of(line) for line in lines}):
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _lock_of(line: str) -> int:
    return int.from_bytes(sha256(f"neverblink.records/{line}".encode()).digest()[:8], signed=True)


def verdict_facts(row: Mapping[str, Any]) -> VerdictFacts:
    """Return what of a verdict's row counts for its part."""
    return VerdictFacts._make(_VERDICT_VALUES(row))


def actuation_facts(row: Mapping[str, Any]) -> ActuationFacts:
    """Return what of an actuation's row counts for its part."""
    return ActuationFacts._make(_ACTUATION_VALUES(row))


def review_of(row: Mapping[str, Any] | RowMapping) -> ReviewOf:
    """Return what of a review's row counts for its part."""
    facts = ReviewFacts(
        row["id"], row["reviewer"], row["judgement"], row["at"], row["withdrawn"], row["round"], row["counted"]
    )
    return ReviewOf(row["verdict"], row["line"], facts)


_VERDICT_VALUES = itemgetter(*VerdictFacts._fields)
_ACTUATION_VALUES = itemgetter(*ActuationFacts._fields)
_VERDICT_COLUMNS = [_VERDICTS.c[name] for name in VerdictFacts._fields]
_ACTUATION_COLUMNS = [_ACTUATIONS.c[name] for name in ActuationFacts._fields]


def settle(connection: Connection, news: News, rules: PartRules, now: datetime) -> Settled:
    """Bring parts and counts to what all events say, those of `news` too."""
    known = _known(connection, news)
    for one in news.reviews:
        known.reviews[one.verdict].append(one)
    for name, words in news.defects.items():
        known.defects[name] = words

    by_key: dict[Key, list[Facts]] = defaultdict(list)
    for events in known.events.values():
        for verdict in events.verdicts:
            by_key[verdict.key].append(verdict)
        for actuation in events.actuations:
            by_key[actuation.key].append(actuation)
    new: list[Facts] = [*news.verdicts, *news.actuations]
    for fact in new:
        by_key[fact.key].append(fact)

    changes = _Changes(now)
    for row_id, row in known.rows.items():
        changes.difference.add(rollups.contribution_of(row, known.events[row_id]), -1)
    for facts in by_key.values():
        _settle_key(facts, known, rules, changes)
    changes.gone += sorted(known.rows.keys() - known.events.keys())
    settled = changes.write(connection, known, news)
    rollups.apply(connection, changes.difference)
    return settled


@dataclass(slots=True)
class _Made:
    """A part that there was none of before."""

    state: Row
    members: list[Facts]
    words: frozenset[str]


class _Changes:
    """What is to be written of parts."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self.difference = rollups.Contribution()
        self.made: list[_Made] = []
        self.changed: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        self.gone: list[int] = []
        self.moved: dict[str, int] = {}
        self.judged: dict[str, str | None] = {}
        self.words: dict[int, Named] = {}
        self.touched = 0

    def write(self, connection: Connection, known: _Known, news: News) -> Settled:
        """Write them, and return the part of each new event."""
        parts = dict(self.moved)
        count = len(self.made) + sum(map(len, self.changed.values()))
        revisions = iter(next_revisions(connection, count) if count else ())
        if self.made:
            rows = []
            for number, one in zip(_numbers(connection, len(self.made)), self.made, strict=True):
                rows.append({"id": number, **one.state, "changed": self._now, "revision": next(revisions)})
                parts |= {member.id: number for member in one.members}
                self.words[number] = one.words, one.state["triggered"]
            connection.execute(insert(_PARTS), rows)
        for names, changed in sorted(self.changed.items()):
            values: dict[str, Any] = {name: bindparam(name) for name in (*names, "changed", "revision")}
            statement = update(_PARTS).where(_PARTS.c.id == bindparam("part_number")).values(values)
            connection.execute(
                statement, [{**row, "changed": self._now, "revision": next(revisions)} for row in changed]
            )
        in_tables = {name for name, part in known.part_of.items() if parts.get(name, part) != part}
        if news.in_tables:
            in_tables |= {one.id for one in news.verdicts} | {one.id for one in news.actuations}
        self._move(connection, {name: parts[name] for name in sorted(in_tables)})
        new = set() if news.in_tables else {one.id for one in news.verdicts}
        self._judge(connection, {name: said for name, said in self.judged.items() if name not in new})
        for some in slices(self.gone, _AT_ONCE):
            connection.execute(delete(_PARTS).where(_PARTS.c.id.in_(some)))
        self._name_defects(connection, known)
        return Settled(parts, {name: said for name, said in self.judged.items() if name in new}, self.touched)

    def _name_defects(self, connection: Connection, known: _Known) -> None:
        """Bring the types of defects of each part to what its stations saw."""
        stale = [number for number, was in known.words.items() if self.words.get(number) != was]
        for some in slices(stale, _AT_ONCE):
            connection.execute(delete(_DEFECTS).where(_DEFECTS.c.part_id.in_(some)))
        rows = [
            {"type": word, "triggered": triggered, "part_id": number}
            for number, (words, triggered) in sorted(self.words.items())
            if known.words.get(number) != (words, triggered)
            for word in sorted(words)
        ]
        if rows:
            connection.execute(insert(_DEFECTS), rows)

    @staticmethod
    def _move(connection: Connection, parts: Mapping[str, int]) -> None:
        rows = [{"event_id": name, "new_part": part} for name, part in parts.items()]
        for table in (_VERDICTS, _ACTUATIONS) if rows else ():
            connection.execute(
                update(table).where(table.c.id == bindparam("event_id")).values(part_id=bindparam("new_part")), rows
            )

    @staticmethod
    def _judge(connection: Connection, judged: Mapping[str, str | None]) -> None:
        if judged:
            statement = update(_VERDICTS).where(_VERDICTS.c.id == bindparam("event_id"))
            rows = [{"event_id": name, "said": said} for name, said in sorted(judged.items())]
            connection.execute(statement.values(judgement=bindparam("said")), rows)


def _settle_key(facts: Sequence[Facts], known: _Known, rules: PartRules, changes: _Changes) -> None:
    """Divide what has one name into parts. Rows of parts are used again in the order of time."""
    before = {known.part_of[fact.id] for fact in facts if fact.id in known.part_of}
    free = set(before)
    for members in clusters(facts):
        events = _events_of(members, known)
        for verdict, old in zip(
            events.verdicts, (one for one in members if isinstance(one, VerdictFacts)), strict=True
        ):
            if verdict.judgement != old.judgement:
                changes.judged[verdict.id] = verdict.judgement
        state = state_of(events, rules.shift_at)
        mine = {known.part_of[one.id] for one in members if one.id in known.part_of} & free
        words = words_of(events)
        changes.touched += 1
        if not mine:
            changes.made.append(_Made(state, members, words))
        else:
            number = min(mine)
            free.discard(number)
            row = known.rows[number]
            if row["triggered"] == state["triggered"]:
                state["shift"] = row["shift"]  # as the plan was when the part was made
            names = tuple(name for name, value in state.items() if row[name] != value)
            if names:
                changes.changed[names].append({"part_number": number, **{name: state[name] for name in names}})
            changes.words[number] = words, state["triggered"]
            changes.moved |= {one.id: number for one in members}
        changes.difference.add(rollups.contribution_of(state, events))
    changes.gone += sorted(free)


def _events_of(members: Sequence[Facts], known: _Known, *, judge: bool = True) -> PartEvents:
    verdicts = [one for one in members if isinstance(one, VerdictFacts)]
    lines = {one.id: one.line for one in verdicts}
    # A review that names another line is not of this verdict, whatever id it states.
    reviews = {
        name: [one.facts for one in known.reviews[name] if one.line == line]
        for name, line in lines.items()
        if name in known.reviews
    }
    defects = {name: known.defects[name] for name in lines if name in known.defects}
    actuations = [one for one in members if isinstance(one, ActuationFacts)]
    events = PartEvents(verdicts, actuations, reviews, defects)
    return judged(events) if judge else events


def _known(connection: Connection, news: News) -> _Known:
    rows = {row["id"]: row for row in (*_parts_near(connection, news), *_parts_named(connection, news))}
    new = [verdict.id for verdict in news.verdicts]
    return _read(connection, rows, reviewed=new, defective=new if news.in_tables else [])


def events_of_parts(connection: Connection, rows: Iterable[Row]) -> dict[int, PartEvents]:
    """Return all that the tables say of these parts, by their numbers; none of a part of which nothing is said."""
    known = _read(connection, {row["id"]: row for row in rows})
    return {
        number: _events_of([*events.verdicts, *events.actuations], known, judge=False)
        for number, events in known.events.items()
    }


def _read(
    connection: Connection, rows: dict[int, Row], reviewed: Sequence[str] = (), defective: Sequence[str] = ()
) -> _Known:
    """Read what the tables hold of parts, and of these verdicts that have none yet."""
    known = _Known(rows)
    for some in slices(sorted(rows), _AT_ONCE):
        of_these = select(_VERDICTS.c.part_id, *_VERDICT_COLUMNS).where(_VERDICTS.c.part_id.in_(some))
        for number, *values in connection.execute(of_these):
            verdict = VerdictFacts._make(values)
            known.part_of[verdict.id] = number
            known.events[number].verdicts.append(verdict)
        of_these = select(_ACTUATIONS.c.part_id, *_ACTUATION_COLUMNS).where(_ACTUATIONS.c.part_id.in_(some))
        for number, *values in connection.execute(of_these):
            actuation = ActuationFacts._make(values)
            known.part_of[actuation.id] = number
            known.events[number].actuations.append(actuation)
    old = [verdict.id for events in known.events.values() for verdict in events.verdicts]
    for names in slices([*old, *reviewed], _AT_ONCE):
        for found in connection.execute(select(table_of(ReviewRow)).where(ReviewRow.verdict.in_(names))).mappings():
            review = review_of(found)
            known.reviews[review.verdict].append(review)
    for names in slices([*old, *defective], _AT_ONCE):
        for name, word in connection.execute(
            select(DefectRow.verdict_id, DefectRow.type).where(DefectRow.verdict_id.in_(names))
        ):
            known.defects[name].append(word)
    for number, events in known.events.items():
        events.defects = {one.id: known.defects[one.id] for one in events.verdicts if one.id in known.defects}
        known.words[number] = words_of(events), known.rows[number]["triggered"]
    return known


def _parts_near(connection: Connection, news: News) -> Iterator[Row]:
    """Yield the parts of the same names whose time touches that of the new events."""
    spans: dict[tuple[str, int | None], list[Facts]] = defaultdict(list)
    facts: list[Facts] = [*news.verdicts, *news.actuations]
    for fact in facts:
        spans[fact.line, fact.key.epoch].append(fact)
    for (line, epoch), group in sorted(spans.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        # No gate acts on what no PLC counts; of the others a gate may be hours after its part.
        within = SLACK if epoch is None else SLACK + STOPPED
        begin = min(fact.span[0] for fact in group) - within
        end = max(fact.span[1] for fact in group) + within
        named = _PARTS.c.epoch.is_(None) if epoch is None else _PARTS.c.epoch == epoch
        near = and_(_PARTS.c.line == line, named, _PARTS.c.opened <= end, _PARTS.c.closed >= begin)
        column = _PARTS.c.part if epoch is None else _PARTS.c.number
        names = {fact.key.part if epoch is None else fact.key.number for fact in group}
        for some in slices(sorted(names, key=str), _AT_ONCE):
            for row in connection.execute(select(_PARTS).where(near, column.in_(some))).mappings():
                yield dict(row)


def _parts_named(connection: Connection, news: News) -> Iterator[Row]:
    """Yield the parts whose verdicts have new reviews, and those that are settled again."""
    lines = {one.verdict: one.line for one in news.reviews}
    numbers = set(news.parts)
    for some in slices(sorted(lines), _AT_ONCE):
        found = select(_VERDICTS.c.id, _VERDICTS.c.line, _VERDICTS.c.part_id).where(_VERDICTS.c.id.in_(some))
        numbers |= {part for name, line, part in connection.execute(found) if part is not None and lines[name] == line}
    for chosen in slices(sorted(numbers), _AT_ONCE):
        for row in connection.execute(select(_PARTS).where(_PARTS.c.id.in_(chosen))).mappings():
            yield dict(row)


def _numbers(connection: Connection, count: int) -> list[int]:
    """Return so many numbers that no part has had."""
    if connection.dialect.name == "postgresql":
        return list(
            connection.scalars(text("SELECT nextval('parts_id_seq') FROM generate_series(1, :count)"), {"count": count})
        )
    last = connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'parts'")) or 0
    return list(range(last + 1, last + 1 + count))
