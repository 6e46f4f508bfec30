"""The parts that fit a filter, page by page, in an order that rows which arrive meanwhile do not disturb."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from neverblink.records.part_tables import PartDefectRow, PartRow, RollupRow
from neverblink.records.questions.cursor import cursor_of, mark_of, place_in
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.rollup_filter import HOUR, RollupFilter
from neverblink.records.slices import slices
from neverblink.records.tables import DefectRow, VerdictRow

Order = Literal["newest", "oldest", "changes"]
"""By trigger time, newest or oldest first; or by when the ledger last changed the part, for whoever follows along."""

LOOKED_AT = 20_000
"""Changes that one page may have to look at, however few of them fit."""

_AT_ONCE = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    """One part, as known when it was asked for.

    `decision` is the worst of its stations; None while no verdict is known. `told_outcome` is what became of telling
    the PLC, `gate` what its gate did. `judgement` is what people found, `disputed` when they do not agree. `revision`
    grows with each change of any part: of two rows of one part the greater one is the newer. `regions` are the named
    regions in which a station saw a defect. A new field is the last one: files have their columns in this order.
    """

    id: int
    line: str
    product: str | None
    epoch: int | None
    number: int | None
    part: str | None
    triggered: datetime
    shift: str
    decision: str | None
    reason: str | None
    late: bool
    unsure: bool
    holdout: bool
    challenge: bool
    ratio: float | None
    stations: int
    artifact_digest: str | None
    told_outcome: str | None
    told_at: datetime | None
    told_code: int | None
    slack_ms: float | None
    trigger_to_told_ms: float | None
    gate: str | None
    gate_at: datetime | None
    incident: bool
    judgement: str | None
    reviewed_at: datetime | None
    order: str | None
    lot: str | None
    serial: str | None
    recipe: str | None
    carrier: str | None
    attributes: dict[str, str] | None
    trace_id: str | None
    changed: datetime
    revision: int
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartsPage:
    """Some parts and where to go on. `next` is None at the end of the answer.

    In the order of changes there is no end: `next` is always there, and `more` says whether changes wait behind it; a
    page of few may come before one of many.
    """

    parts: tuple[Part, ...]
    next: str | None
    more: bool


PART_COLUMNS: tuple[InstrumentedAttribute[Any], ...] = tuple(
    PartRow.order_no if field.name == "order" else getattr(PartRow, field.name)
    for field in fields(Part)
    if field.name != "regions"
)


def parts(
    session: Session, wanted: PartFilter, *, order: Order = "newest", limit: int = 100, cursor: str | None = None
) -> PartsPage:
    """Return at most `limit` parts behind the cursor.

    By trigger time each part comes once, whatever arrives meanwhile; new parts lie before the first page of `newest`
    and behind the last one of `oldest`. A part whose first events are still arriving may yet move by as much as they
    differ. In the order of `changes` every change of a part that was committed is met exactly once: a part comes again
    when it has changed, with a greater `revision`. Raises CursorError.
    """
    mark = mark_of(f"parts {order}", wanted.asked())
    if order == "changes":
        return _changes(session, wanted, limit, cursor, mark)
    narrowed = _narrowed(session, wanted)
    if narrowed is None:
        return PartsPage((), None, False)
    behind = None if cursor is None else place_in(cursor, mark, 2)
    # Of several lines each is read in its own order: no index gives them in one.
    lines = narrowed.lines
    each = [narrowed] if lines is None else [replace(narrowed, lines=(line,)) for line in lines]
    rows = [row for one in each for row in session.execute(_in_time(one, order, behind).limit(limit + 1))]
    found = sorted((Part(*row) for row in rows), key=_place, reverse=order == "newest")
    more = len(found) > limit
    page = with_regions(session, found[:limit])
    return PartsPage(page, cursor_of(mark, _place(page[-1])) if more else None, more)


def _narrowed(session: Session, wanted: PartFilter) -> PartFilter | None:
    """Return the filter within the hours that have such parts, None where there are none.

    No index serves two of line, station and product at once: where few parts or none have both, all of one would be
    looked through. What is counted by the hour says where to look.
    """
    if wanted.station is None and (wanted.lines is None or wanted.product is None):
        return wanted
    product = None if wanted.station is not None else wanted.product
    counted = RollupFilter(wanted.lines, wanted.station, product, None, wanted.since, wanted.until)
    hours = select(func.min(RollupRow.hour), func.max(RollupRow.hour)).where(*counted.conditions(RollupRow))
    span: tuple[Any, ...] = tuple(session.execute(hours).one())
    first, last = span
    if first is None:
        return None
    since = first if wanted.since is None else max(first, wanted.since)
    until = last + HOUR if wanted.until is None else min(last + HOUR, wanted.until)
    return replace(wanted, since=since, until=until)


def _in_time(wanted: PartFilter, order: Order, behind: tuple[int, ...] | None) -> "Select[Any]":
    query = select(*PART_COLUMNS).where(*wanted.conditions())
    triggered: InstrumentedAttribute[datetime] = PartRow.triggered
    number: InstrumentedAttribute[int] = PartRow.id
    if wanted.defect is not None:
        # Few parts have a defect of one type: their own table is read in its order, and each part looked up.
        query = query.join(PartDefectRow, PartDefectRow.part_id == PartRow.id)
        query = query.where(PartDefectRow.type == wanted.defect)
        triggered, number = PartDefectRow.triggered, PartDefectRow.part_id
    if behind is not None:
        last = (_EPOCH + timedelta(microseconds=behind[0]), behind[1])
        place = tuple_(triggered, number)
        query = query.where(place < last if order == "newest" else place > last)
    if order == "newest":
        return query.order_by(triggered.desc(), number.desc())
    return query.order_by(triggered, number)


def _changes(session: Session, wanted: PartFilter, limit: int, cursor: str | None, mark: str) -> PartsPage:
    """Return the next changes. Revisions are given in the order of commits: none can appear behind one that was read.

    At most LOOKED_AT changes are looked at for one page. Where the filter finds less than a page among them, the cursor
    moves to the last one: rows that do not fit are not looked at twice.
    """
    (behind,) = (0,) if cursor is None else place_in(cursor, mark, 1)
    ahead = select(PartRow.revision).where(PartRow.revision > behind).order_by(PartRow.revision)
    last = session.scalar(ahead.offset(LOOKED_AT - 1).limit(1))
    more = last is not None
    if last is None:
        last = max(session.scalar(select(func.max(PartRow.revision))) or 0, behind)
    query = select(*PART_COLUMNS).where(PartRow.revision > behind, PartRow.revision <= last)
    query = query.where(*wanted.conditions(along_revisions=True)).order_by(PartRow.revision)
    rows = session.execute(query.limit(limit + 1)).all()
    found = with_regions(session, [Part(*row) for row in rows[:limit]])
    if len(rows) > limit:
        return PartsPage(found, cursor_of(mark, (found[-1].revision,)), True)
    return PartsPage(found, cursor_of(mark, (last,)), more)


def with_regions(session: Session, parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the parts with the named regions in which their stations saw defects."""
    seen: dict[int, set[str]] = {}
    for some in slices([one.id for one in parts if one.decision is not None], _AT_ONCE):
        query = select(VerdictRow.part_id, DefectRow.region).join(DefectRow, DefectRow.verdict_id == VerdictRow.id)
        found = session.execute(query.where(VerdictRow.part_id.in_(some), DefectRow.region.is_not(None)))
        for part, region in found:
            assert part is not None
            assert region is not None
            seen.setdefault(part, set()).add(region)
    return tuple(replace(one, regions=tuple(sorted(seen[one.id]))) if one.id in seen else one for one in parts)


def _place(part: Part) -> tuple[int, int]:
    return (part.triggered - _EPOCH) // timedelta(microseconds=1), part.id
