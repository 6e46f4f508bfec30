"""What waits for a person, who holds it, and what was said of it. Frozen rows out.

Which people may be told of an answer is `records.review_state.shown_to`'s to say; what waits says nothing of answers.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select, tuple_, union_all
from sqlalchemy.orm import Session

from neverblink.events import BoundingBox, Identity
from neverblink.records.claims import ClaimFacts, holders
from neverblink.records.part_tables import ClaimRow, PartRow, ReviewQueueRow
from neverblink.records.questions.cursor import cursor_of, mark_of, place_in
from neverblink.records.review_severity import Severity
from neverblink.records.review_state import ReviewFacts
from neverblink.records.tables import DefectRow, ReviewRow, VerdictRow

MOST_ROWS = 500
"""Of one page."""
MOST_COUNTED = 2000
"""Of one severity: a count of more says so and stops."""
_MOST_REVIEWS = 200
_MOST_CLAIMS = 2000
_MOST_ANSWERS = 20_000


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which of what waits. `since` is the oldest capture; `reviewer` leaves out what that person answered already."""

    since: datetime
    lines: tuple[str, ...] = ()
    station: tuple[str, str] | None = None
    product: str | None = None
    reviewer: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict as a reviewer needs it, and as an answer about it must name it."""

    verdict: str
    frame_id: str
    line: str
    station: str
    product: str
    part: str
    decision: str
    reason: str | None
    ratio: float | None
    captured: datetime
    part_id: int | None
    identity: Identity | None

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return f"{self.line}/{self.station}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A verdict that waits for a person: why, for which look, and who holds it until when."""

    judged: Judged
    severity: Severity
    wants: str
    held_by: str | None = None
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Some of what waits, the worst first and the oldest first within; `cursor` goes on behind it."""

    rows: tuple[Waiting, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class WaitingCount:
    """How many wait for one reason, whoever may answer; `more` says that these are only the first."""

    severity: Severity
    count: int
    more: bool


@dataclass(frozen=True, slots=True)
class Said:
    """One answer with all that it said."""

    facts: ReviewFacts
    defect_type: str | None
    regions: tuple[BoundingBox, ...]
    comment: str | None


@dataclass(frozen=True, slots=True)
class DefectSeen:
    """A region that the model does not like."""

    type: str
    box: BoundingBox
    confidence: float | None


class _Place(NamedTuple):
    """A row of the queue."""

    verdict_id: str
    severity: int
    captured: datetime
    place: int
    wants: str


_PLACE = [getattr(ReviewQueueRow, name) for name in _Place._fields]
_VERDICT = (
    VerdictRow.id, VerdictRow.frame_id, VerdictRow.line, VerdictRow.station, VerdictRow.product, VerdictRow.part,
    VerdictRow.decision, VerdictRow.reason, VerdictRow.ratio, VerdictRow.captured, VerdictRow.part_id,
    VerdictRow.order_no, VerdictRow.lot, VerdictRow.serial, VerdictRow.recipe, VerdictRow.carrier,
    VerdictRow.attributes,
)  # fmt: skip


def waiting(session: Session, wanted: QueueFilter, limit: int, now: datetime, after: str | None = None) -> QueuePage:
    """Return the first `limit` that wait, or those behind a cursor. Raises CursorError."""
    limit = min(limit, MOST_ROWS)
    mark = mark_of("review-queue", {"lines": wanted.lines, "station": wanted.station, "product": wanted.product})
    begin = place_in(after, mark, 3) if after is not None else None
    found: list[_Place] = []
    for severity in Severity:
        if begin is None or severity >= begin[0]:
            behind = (_instant(begin[1]), begin[2]) if begin is not None and severity == begin[0] else None
            found += _of_severity(session, severity, wanted, limit + 1 - len(found), behind)
        if len(found) > limit:
            break
    page = found[:limit]
    cursor = None
    if len(found) > limit:
        last = page[-1]
        cursor = cursor_of(mark, (last.severity, _micros(last.captured), last.place))
    known = verdicts_of(session, [row.verdict_id for row in page])
    held = holders(claims_on(session, list(known)), now)
    return QueuePage(tuple(_shown(row, known[row.verdict_id], held) for row in page if row.verdict_id in known), cursor)


def counts(session: Session, wanted: QueueFilter) -> tuple[WaitingCount, ...]:
    """Return how many wait for each reason, those that have any, the worst first."""
    found = []
    for severity in Severity:
        anybody = replace(wanted, reviewer=None)  # what somebody answered is not in the index
        rows = _asked(select(ReviewQueueRow.place), severity, anybody).limit(MOST_COUNTED + 1).subquery()
        count = session.scalar(select(func.count()).select_from(rows)) or 0
        if count:
            found.append(WaitingCount(severity, min(count, MOST_COUNTED), count > MOST_COUNTED))
    return tuple(found)


def place_of(session: Session, verdict: str) -> tuple[Severity, str] | None:
    """Return why a verdict waits and for which look, None when it does not."""
    row = session.scalar(select(ReviewQueueRow).where(ReviewQueueRow.verdict_id == verdict))
    return None if row is None else (Severity(row.severity), row.wants)


def verdicts_of(session: Session, verdicts: Sequence[str]) -> dict[str, Judged]:
    """Return these verdicts, those that the ledger has, by id."""
    rows = session.execute(select(*_VERDICT).where(VerdictRow.id.in_(verdicts)))
    return {row.id: _judged(row) for row in rows}


def verdicts_named(session: Session, named: str, lines: Sequence[str]) -> list[Judged]:
    """Return the verdicts that a text may mean: a verdict's id, else a serial number, else a part's name on `lines`.

    At most 20 of them.
    """
    by_id = verdicts_of(session, [named])
    if by_id:
        return list(by_id.values())
    serial = select(PartRow.id).where(PartRow.serial == named).order_by(PartRow.id.desc()).limit(20)
    part = (
        select(PartRow.id).where(PartRow.line.in_(lines), PartRow.part == named).order_by(PartRow.id.desc()).limit(20)
    )
    for question in (serial, part):
        parts = list(session.scalars(question))
        if parts:
            rows = select(*_VERDICT).where(VerdictRow.part_id.in_(parts))
            return [_judged(row) for row in session.execute(rows.order_by(VerdictRow.captured.desc()).limit(20))]
    return []


def said_about(session: Session, verdicts: Sequence[str]) -> dict[str, list[Said]]:
    """Return all answers about these verdicts, by verdict, newest first and at most 200 each."""
    rows = session.scalars(
        select(ReviewRow)
        .where(ReviewRow.verdict.in_(verdicts))
        .order_by(ReviewRow.verdict, ReviewRow.at.desc(), ReviewRow.id.desc())
    )
    found: defaultdict[str, list[Said]] = defaultdict(list)
    for row in rows:
        if len(found[row.verdict]) < _MOST_REVIEWS:
            found[row.verdict].append(_said(row))
    return dict(found)


def answered_since(session: Session, reviewer: str, since: datetime) -> dict[str, bool]:
    """Return the verdicts that a reviewer has answered since, and whether the latest word was not taken back.

    At most 20,000, the latest.
    """
    rows = session.execute(
        select(ReviewRow.verdict, ReviewRow.withdrawn)
        .where(ReviewRow.reviewer == reviewer, ReviewRow.at >= since)
        .order_by(ReviewRow.at.desc(), ReviewRow.id.desc())
        .limit(_MOST_ANSWERS)
    )
    found: dict[str, bool] = {}
    for verdict, withdrawn in rows:
        found.setdefault(verdict, not withdrawn)
    return found


def claims_on(session: Session, verdicts: Sequence[str]) -> list[ClaimFacts]:
    """Return the claims on these verdicts, in the order of their partition, the newest where there are very many."""
    query = select(ClaimRow).where(ClaimRow.verdict.in_(verdicts)).order_by(ClaimRow.place.desc()).limit(_MOST_CLAIMS)
    return [
        ClaimFacts(row.id, row.verdict, row.reviewer, row.at, row.until, row.released)
        for row in reversed(session.scalars(query).all())
    ]


def defects_of(session: Session, verdict: str) -> list[DefectSeen]:
    """Return what the model found, in its order, at most 50."""
    rows = session.scalars(
        select(DefectRow).where(DefectRow.verdict_id == verdict).order_by(DefectRow.position).limit(50)
    )
    return [
        DefectSeen(row.type, BoundingBox(x=row.x, y=row.y, width=row.width, height=row.height), row.confidence)
        for row in rows
    ]


def _of_severity(
    session: Session, severity: Severity, wanted: QueueFilter, limit: int, behind: tuple[datetime, int] | None
) -> list[_Place]:
    """Return the oldest of one severity. Each line is asked for itself, so that an index gives it in order."""
    queue = ReviewQueueRow
    asked = []
    for line in wanted.lines or (None,):
        query = _asked(select(*_PLACE), severity, wanted, line)
        if behind is not None:
            query = query.where(tuple_(queue.captured, queue.place) > tuple_(*behind))
        asked.append(query.order_by(queue.captured, queue.place).limit(limit))
    if len(asked) == 1:
        return list(map(_Place._make, session.execute(asked[0])))
    found = union_all(*(select(query.subquery()) for query in asked))
    rows = map(_Place._make, session.execute(found))
    return sorted(rows, key=lambda row: (row.captured, row.place))[:limit]


def _asked(query: Select[Any], severity: Severity, wanted: QueueFilter, line: str | None = None) -> Select[Any]:
    queue = ReviewQueueRow
    query = query.where(queue.severity == int(severity), queue.captured >= wanted.since)
    if wanted.station is not None:
        query = query.where(queue.line == wanted.station[0], queue.station == wanted.station[1])
    if line is not None:
        query = query.where(queue.line == line)
    elif wanted.lines:
        query = query.where(queue.line.in_(wanted.lines))
    if wanted.product is not None:
        query = query.where(queue.product == wanted.product)
    if wanted.reviewer is not None:
        query = query.where(_not_answered_by(wanted.reviewer))
    return query


def _not_answered_by(reviewer: str) -> ColumnElement[bool]:
    # Both databases have REPLACE, and it minds the case of letters, which LIKE does on one of them alone. Compared by
    # length: PostgreSQL takes an equality for rare, and would sort all rows of a product to find a few.
    column = ReviewQueueRow.answered_by
    return func.length(func.replace(column, f"\n{reviewer}\n", "")) >= func.length(column)


def _shown(row: _Place, judged: Judged, held: dict[str, ClaimFacts]) -> Waiting:
    claim = held.get(row.verdict_id)
    return Waiting(
        judged,
        Severity(row.severity),
        row.wants,
        None if claim is None else claim.reviewer,
        None if claim is None else claim.until,
    )


def _judged(row: Any) -> Judged:
    return Judged(
        row.id, row.frame_id, row.line, row.station, row.product, row.part, row.decision, row.reason, row.ratio,
        row.captured, row.part_id, _identity(row),
    )  # fmt: skip


def _identity(row: Any) -> Identity | None:
    found = {
        "order": row.order_no, "lot": row.lot, "serial": row.serial, "recipe": row.recipe, "carrier": row.carrier,
        "attributes": row.attributes or {},
    }  # fmt: skip
    return Identity.model_validate(found) if any(found.values()) else None


def _said(row: ReviewRow) -> Said:
    facts = ReviewFacts(row.id, row.reviewer, row.judgement, row.at, row.withdrawn, row.round, row.counted)
    regions = tuple(BoundingBox.model_validate(box) for box in row.regions)
    return Said(facts, row.defect_type, regions, row.comment)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
