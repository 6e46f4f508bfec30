"""Keeps the queue of what waits for a person in step with verdicts, shadow models and answers.

A verdict's row in the queue follows from its other rows alone, so the order in which events arrive cannot matter, and
`refresh` may be called as often as one likes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.dialects import postgresql, sqlite

from neverblink.events.identity import verdict_id
from neverblink.ledger.settling import lock_lines
from neverblink.records.columns import Table
from neverblink.records.database import Database
from neverblink.records.part_tables import LedgerStateRow, ReviewQueueRow
from neverblink.records.review_severity import GOOD_REFERENCES, Severity, VerdictFacts, severity_of
from neverblink.records.review_state import ReviewFacts, standing_of
from neverblink.records.slices import slices
from neverblink.records.tables import ReviewRow, Row, ShadowVerdictRow, VerdictRow

_AT_ONCE = 500
MOST_ANSWERS = 200
"""Answers about one verdict that are looked at, the newest: whoever writes without end costs no more than that."""

_VERDICT = (
    VerdictRow.id, VerdictRow.frame_id, VerdictRow.line, VerdictRow.station, VerdictRow.product, VerdictRow.captured,
    VerdictRow.decision, VerdictRow.unsure, VerdictRow.holdout, VerdictRow.challenge, VerdictRow.audited,
    VerdictRow.reference,
)  # fmt: skip


def touched(new: Mapping[type[Table], Mapping[str, Row]]) -> set[str]:
    """Return the ids of the verdicts whose place in the queue may have changed with these rows, by table and id."""
    scored = new.get(ShadowVerdictRow, {}).values()
    return (
        set(new.get(VerdictRow, ()))
        | {row["verdict"] for row in new.get(ReviewRow, {}).values()}
        | {verdict_id(row["frame_id"]) for row in scored if row["cause"] == "shadow-model"}
    )


def refresh(connection: Connection, verdicts: Iterable[str]) -> None:
    """Bring these verdicts' rows of the queue up to date, within the caller's transaction."""
    for some in slices(sorted(set(verdicts)), _AT_ONCE):
        wanted = _rows(connection, some)
        gone = [identity for identity in some if identity not in wanted]
        if gone:
            connection.execute(delete(ReviewQueueRow).where(ReviewQueueRow.verdict_id.in_(gone)))
        if wanted:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            insert = dialect.insert(ReviewQueueRow)
            # The row keeps its number: a page that was read up to it goes on behind it.
            changed = {name: insert.excluded[name] for name in ("severity", "wants", "answered_by")}
            upsert = insert.on_conflict_do_update(index_elements=["verdict_id"], set_=changed)
            connection.execute(upsert, list(wanted.values()))


def mended(database: Database, *, repair: bool) -> int:
    """Return how many rows of the queue are not what verdicts and answers say, and with `repair` bring them up to date.

    Raises LedgerError when the database is at fault.
    """
    wrong, last = 0, ""
    while True:
        with database.asking() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            page = select(VerdictRow.id, VerdictRow.line).where(VerdictRow.id > last).order_by(VerdictRow.id)
            lines = {name: line for name, line in connection.execute(page.limit(_AT_ONCE))}  # noqa: C416 - rows are no pairs
            if not lines:
                return wrong
            wanted = _rows(connection, list(lines))
            columns = [column for column in ReviewQueueRow.__table__.columns if column.name != "place"]
            kept = {
                row["verdict_id"]: dict(row)
                for row in connection.execute(
                    select(*columns).where(ReviewQueueRow.verdict_id.in_(list(lines)))
                ).mappings()
            }
        differing = [name for name in lines if wanted.get(name) != kept.get(name)]
        if differing and repair:
            with database.writing() as connection:
                lock_lines(connection, {lines[name] for name in differing})
                refresh(connection, differing)
        wrong += len(differing)
        last = next(reversed(lines))


def _rows(connection: Connection, verdicts: Sequence[str]) -> dict[str, Row]:
    """Return the rows of the queue that these verdicts should have, by verdict."""
    known = connection.execute(select(*_VERDICT).where(VerdictRow.id.in_(verdicts))).all()
    shadows: defaultdict[str, list[str]] = defaultdict(list)
    scored = select(ShadowVerdictRow.frame_id, ShadowVerdictRow.decision).where(
        ShadowVerdictRow.frame_id.in_([one.frame_id for one in known]), ShadowVerdictRow.cause == "shadow-model"
    )
    for frame, decision in connection.execute(scored):
        shadows[frame].append(decision)
    answers = answers_about(connection, verdicts)
    good = _good_references(connection) if any(one.reference is not None for one in known) else ()
    found = {}
    for one in known:
        facts = VerdictFacts(
            one.decision, one.unsure, one.holdout, one.challenge, shadows[one.frame_id], one.audited,
            known_good=one.reference in good,
        )  # fmt: skip
        severity, standing = severity_of(facts), standing_of(answers.get(one.id, ()))
        if standing.wants is None or (severity is None and not standing.answers):
            continue
        found[one.id] = {
            "verdict_id": one.id,
            "line": one.line,
            "station": one.station,
            "product": one.product,
            "captured": one.captured,
            "severity": int(Severity.SECOND_LOOK if severity is None else severity),
            "wants": standing.wants,
            "answered_by": "".join(f"\n{one.reviewer}\n" for one in standing.answers),
        }
    return found


def _good_references(connection: Connection) -> Collection[str]:
    state = connection.scalar(select(LedgerStateRow.value).where(LedgerStateRow.name == GOOD_REFERENCES))
    return frozenset(() if state is None else state["ids"])


def answers_about(connection: Connection, verdicts: Sequence[str]) -> dict[str, list[ReviewFacts]]:
    """Return what people answered about these verdicts, by verdict, at most MOST_ANSWERS each."""
    query = (
        select(
            ReviewRow.verdict, ReviewRow.id, ReviewRow.reviewer, ReviewRow.judgement, ReviewRow.at,
            ReviewRow.withdrawn, ReviewRow.round, ReviewRow.counted,
        )
        .where(ReviewRow.verdict.in_(verdicts))
        .order_by(ReviewRow.verdict, ReviewRow.at.desc(), ReviewRow.id.desc())
    )  # fmt: skip
    found: defaultdict[str, list[ReviewFacts]] = defaultdict(list)
    for row in connection.execute(query):
        if len(found[row.verdict]) < MOST_ANSWERS:
            found[row.verdict].append(ReviewFacts(*row[1:]))
    return found
