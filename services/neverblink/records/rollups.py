"""What is counted of parts, by hour, shift, line, station, product, artifact and lot.

Each part is counted once, under keys of its own. When it changes, what it counted for is subtracted and what it counts
for now is added, so the counts are sums of what the parts come to, in whatever order their events arrived.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from neverblink.events import Decision, GateAction, Outcome
from neverblink.events.actuation import HELD_CODE
from neverblink.records.columns import Table, table_of
from neverblink.records.part_tables import RollupRow, WordRollupRow
from neverblink.records.parts import PartEvents, VerdictFacts, judged_together, shortened, worst_of
from neverblink.records.tables import Row

WHOLE = ""
"""The station of a count that is of the part as a whole."""

COUNTS = tuple(column.name for column in table_of(RollupRow).columns if not column.primary_key)
_DECIDED = {
    Decision.PASS.value: "passed",
    Decision.REJECT.value: "rejected",
    Decision.UNSCORED.value: "unscored",
}
_TOLD = {outcome.value: f"told_{outcome.value}" for outcome in Outcome}
_GATE = {action.value: f"gate_{action.value.replace('-', '_')}" for action in GateAction}
_JUDGED = {"normal": "judged_normal", "defect": "judged_defect", "inconclusive": "judged_inconclusive"}
_PASS = Decision.PASS.value


class RollupKey(NamedTuple):
    """What is counted under. An empty word: not known, and of `station` the part as a whole."""

    hour: datetime
    shift: str
    line: str
    station: str
    product: str
    artifact_digest: str
    lot: str


class WordKey(NamedTuple):
    """A word within a key: `kind` is reason or defect."""

    key: RollupKey
    kind: str
    decision: str
    word: str


@dataclass(slots=True)
class Contribution:
    """What parts count for, and the difference between two such sums."""

    counts: dict[RollupKey, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    words: Counter[WordKey] = field(default_factory=Counter)

    def add(self, other: "Contribution", times: int = 1) -> None:
        """Add another one, or with -1 subtract it."""
        for key, counts in other.counts.items():
            mine = self.counts[key]
            for name, number in counts.items():
                mine[name] += times * number
        for word, number in other.words.items():
            self.words[word] += times * number

    def whole(self) -> "Contribution":
        """Return the same without what is nought."""
        counts = {key: Counter({name: n for name, n in found.items() if n}) for key, found in self.counts.items()}
        return Contribution(
            {key: found for key, found in counts.items() if found},
            Counter({word: number for word, number in self.words.items() if number}),
        )


def contribution_of(state: Mapping[str, Any], events: PartEvents) -> Contribution:
    """Return what one part counts for as a whole, and at each of its stations.

    It depends on nothing but rows: the part's own, its verdicts' with the types of their defects. What the plant file
    says (shifts, who may review) is in them, as it was when they were written.
    """
    found = Contribution()
    hour = state["triggered"].replace(minute=0, second=0, microsecond=0)
    place = (hour, state["shift"], state["line"])
    lot = state["lot"] or ""
    whole = RollupKey(*place, WHOLE, state["product"] or "", state["artifact_digest"] or "", lot)
    found.counts[whole] = _of_the_part(state)
    _say(found, whole, events.verdicts, events, state["decision"], state["reason"])
    by_station = sorted(events.verdicts, key=lambda one: (one.station, one.captured, one.id))
    for station, group in groupby(by_station, key=lambda one: one.station):
        verdicts = list(group)
        worst = worst_of(verdicts)
        key = RollupKey(*place, station, worst.product, worst.artifact_digest or "", lot)
        found.counts[key] = _of_a_station(worst, verdicts)
        _say(found, key, verdicts, events, worst.decision, shortened(worst.reason))
    return found


def _of_the_part(state: Mapping[str, Any]) -> Counter[str]:
    decision, gate, told = state["decision"], state["gate"], state["told_outcome"]
    counts = _counted(state, decision, state["judgement"])
    # A part of a line on hold is nobody's trouble: nobody waited for its word, and its reject was asked for.
    held = state["told_code"] == HELD_CODE
    if told in _TOLD and not (held and told != Outcome.CONFIRMED):
        counts[_TOLD[told]] = 1
    if gate in _GATE:
        counts[_GATE[gate]] = 1
        if decision is not None and (gate == GateAction.PASSED) != (decision == _PASS):
            if gate == GateAction.PASSED:
                counts["escaped"] = 1
            elif not held:
                counts["lost"] = 1
    return counts


def _of_a_station(worst: VerdictFacts, verdicts: list[VerdictFacts]) -> Counter[str]:
    flags = {
        "late": any(one.late for one in verdicts),
        "unsure": worst.decision == _PASS and any(one.unsure for one in verdicts),
        "holdout": any(one.holdout for one in verdicts),
        "challenge": any(one.challenge for one in verdicts),
    }
    return _counted(flags, worst.decision, judged_together(one.judgement for one in verdicts))


def _counted(flags: Mapping[str, Any], decision: str | None, judgement: str | None) -> Counter[str]:
    counts = Counter({"parts": 1})
    if decision in _DECIDED:
        counts[_DECIDED[decision]] = 1
    for flag, name in (("late", "late"), ("unsure", "unsure"), ("holdout", "holdouts"), ("challenge", "challenges")):
        if flags[flag]:
            counts[name] = 1
    if judgement is not None:
        counts["reviewed"] = 1
        if judgement in _JUDGED:
            counts[_JUDGED[judgement]] = 1
        if judgement == "normal" and decision == Decision.REJECT:
            counts["false_rejects"] = 1
        if judgement == "defect" and decision == _PASS:
            counts["escapes"] = 1
        if judgement in ("normal", "defect") and decision in (_PASS, Decision.REJECT):
            counts["passes_judged" if decision == _PASS else "rejects_judged"] = 1
    return counts


def _say(
    found: Contribution,
    key: RollupKey,
    verdicts: list[VerdictFacts],
    events: PartEvents,
    decision: str | None,
    reason: str | None,
) -> None:
    if decision is not None and reason is not None:
        found.words[WordKey(key, "reason", decision, reason)] += 1
    for verdict in verdicts:
        for word in events.defects.get(verdict.id, ()):
            found.words[WordKey(key, "defect", verdict.decision, shortened(word) or "")] += 1


_KEY = tuple(RollupKey._fields)
_WORD_KEY = (*_KEY, "kind", "decision", "word")


def apply(connection: Connection, difference: Contribution, *, tidy: bool = False) -> None:
    """Add a difference to the counts, one statement a table, in the order of the keys.

    Counts that have come to nothing are taken away, so that the tables hold what there is; with `tidy` also where
    the difference takes nothing away.
    """
    changed = difference.whole()
    rows = [{**key._asdict(), **dict.fromkeys(COUNTS, 0), **counts} for key, counts in sorted(changed.counts.items())]
    words = [_word_row(word, number) for word, number in sorted(changed.words.items())]
    _add(connection, RollupRow, _KEY, COUNTS, rows)
    _add(connection, WordRollupRow, _WORD_KEY, ("count",), words)
    if rows and (tidy or any(row["parts"] < 0 for row in rows)):
        connection.execute(delete(RollupRow).where(*_is_nothing(RollupRow, COUNTS, rows)))
    if words and (tidy or any(row["count"] < 0 for row in words)):
        connection.execute(delete(WordRollupRow).where(*_is_nothing(WordRollupRow, ("count",), words)))


def stored(connection: Connection) -> Contribution:
    """Return all counts as the tables hold them."""
    found = Contribution()
    for row in connection.execute(select(table_of(RollupRow))).mappings():
        key = RollupKey(*(row[name] for name in _KEY))
        found.counts[key] = Counter({name: row[name] for name in COUNTS})
    for row in connection.execute(select(table_of(WordRollupRow))).mappings():
        key = RollupKey(*(row[name] for name in _KEY))
        found.words[WordKey(key, row["kind"], row["decision"], row["word"])] = row["count"]
    return found.whole()


def _word_row(word: WordKey, number: int) -> Row:
    return {**word.key._asdict(), "kind": word.kind, "decision": word.decision, "word": word.word, "count": number}


def _add(
    connection: Connection, table: type[Table], key: tuple[str, ...], numbers: tuple[str, ...], rows: list[Row]
) -> None:
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    columns = table_of(table).c
    together = {name: columns[name] + statement.excluded[name] for name in numbers}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=together), rows)


def _is_nothing(table: type[Table], numbers: tuple[str, ...], rows: list[Row]) -> Iterator[Any]:
    """Yield the conditions of rows of the same hours that count nothing."""
    columns = table_of(table).c
    yield columns.hour.in_(sorted({row["hour"] for row in rows}))
    yield from (columns[name] == 0 for name in numbers)
