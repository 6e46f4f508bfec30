"""Events become rows, parts and counts: a batch is one transaction, and of one id the first stands."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from neverblink.events import Decision, DriftReport, Event, Verdict
from neverblink.events.identity import audit_place
from neverblink.ledger import review_queue
from neverblink.ledger.settling import (
    News,
    actuation_facts,
    lock_lines,
    review_of,
    settle,
    verdict_facts,
)
from neverblink.records.columns import Table, table_of
from neverblink.records.database import Database
from neverblink.records.parts import PartRules
from neverblink.records.slices import slices
from neverblink.records.tables import (
    ActuationRow,
    DefectRow,
    DriftAlertRow,
    ReviewRow,
    Row,
    VerdictRow,
    alert_rows,
    defect_rows,
    row_of,
)

_AT_ONCE = 1000


@dataclass(slots=True)
class _Batch:
    """The rows of a batch, the first of each id."""

    rows: dict[type[Table], dict[str, Row]] = field(default_factory=lambda: defaultdict(dict))
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    reports: dict[str, DriftReport] = field(default_factory=dict)


def keep(
    database: Database,
    events: Sequence[Event],
    recorded: datetime,
    rules: PartRules | None = None,
    traces: Mapping[str, str] | None = None,
) -> int:
    """Write events in one transaction, bring parts and counts to what they say, and return how many were new.

    Of one id the first stands; `traces` are the events' trace ids by their own ids. Raises UnkeepableError when the
    database refuses a value of an event, LedgerError when the database is at fault.
    """
    batch = _batch(events, recorded, traces or {})
    with database.writing() as connection:
        lock_lines(connection, {row.get("line", "") for by_id in batch.rows.values() for row in by_id.values()})
        new = {table: _unknown(connection, table, by_id) for table, by_id in batch.rows.items()}
        _settle(connection, new, batch, rules or PartRules(), recorded)
        for table, rows in new.items():
            if rows:
                connection.execute(insert(table_of(table)), list(rows.values()))
        defects = [row for name in new.get(VerdictRow, ()) for row in defect_rows(batch.verdicts[name])]
        if defects:
            connection.execute(insert(table_of(DefectRow)), defects)
        alerts = [row for name, report in batch.reports.items() for row in alert_rows(report)]
        _add_alerts(connection, alerts)
        review_queue.refresh(connection, review_queue.touched(new))
    return sum(len(rows) for rows in new.values())


def _batch(events: Iterable[Event], recorded: datetime, traces: Mapping[str, str]) -> _Batch:
    batch = _Batch()
    for item in events:
        table, row = row_of(item, recorded, traces.get(item.id))
        batch.rows[table].setdefault(item.id, row)
        if isinstance(item, Verdict):
            batch.verdicts.setdefault(item.id, item)
        elif isinstance(item, DriftReport) and item.alerts:
            batch.reports.setdefault(item.id, item)
    return batch


def _unknown(connection: Connection, table: type[Table], by_id: dict[str, Row]) -> dict[str, Row]:
    """Return the rows whose id is not kept yet. Whoever could add one meanwhile waits for the line."""
    column = table_of(table).c.id
    names = list(by_id)
    known: set[str] = set()
    for some in slices(names, _AT_ONCE):
        known |= set(connection.scalars(select(column).where(column.in_(some))))
    return {name: row for name, row in by_id.items() if name not in known}


def _settle(
    connection: Connection, new: Mapping[type[Table], dict[str, Row]], batch: _Batch, rules: PartRules, now: datetime
) -> None:
    """Find the parts of new events, and put their numbers into the rows that will be written."""
    for row in new.get(ReviewRow, {}).values():
        row["counted"] = rules.counts(row["reviewer"], row["line"], row["at"])
    verdicts, actuations = new.get(VerdictRow, {}), new.get(ActuationRow, {})
    _audit(verdicts.values(), rules)
    news = News(
        [verdict_facts(row) for row in verdicts.values()],
        [actuation_facts(row) for row in actuations.values()],
        [review_of(row) for row in new.get(ReviewRow, {}).values()],
        {name: words for name in verdicts if (words := [one.type for one in batch.verdicts[name].defects])},
    )
    if not (news.verdicts or news.actuations or news.reviews):
        return
    settled = settle(connection, news, rules, now)
    for rows in (verdicts, actuations):
        for name, row in rows.items():
            row["part_id"] = settled.parts[name]
    for name, judgement in settled.judgements.items():
        verdicts[name]["judgement"] = judgement


def _audit(verdicts: Iterable[Row], rules: PartRules) -> None:
    """Say of rejects whether people are asked to judge them: a part's place among all says it, at every station."""
    for row in verdicts:
        if row["decision"] != Decision.REJECT or row["challenge"]:
            continue
        share = rules.audit_share(row["product"])
        if share < 1:
            place = audit_place(row["line"], row["epoch"], row["number"], row["part"])
            row["audit_share"], row["audited"] = share, place < share


def _add_alerts(connection: Connection, alerts: list[Row]) -> None:
    """Insert the stages of alerts that are not there yet; a later report repeats those that still stand."""
    if alerts:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(DriftAlertRow).on_conflict_do_nothing(index_elements=("id", "stage"))
        connection.execute(statement, alerts)
