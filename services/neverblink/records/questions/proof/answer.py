"""The figures of a period with everything that must be said beside them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session, aliased

from neverblink.confidence.intervals import share_interval
from neverblink.records.part_tables import RollupRow
from neverblink.records.questions.holds import TimeHeld, time_held
from neverblink.records.questions.lots import within_lot
from neverblink.records.questions.proof.counting import Span, sample_of, span_of
from neverblink.records.questions.proof.estimates import Estimates, Exactness, estimates_of
from neverblink.records.questions.proof.samples import Drawn, Reference, together
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.review_state import FIRST, SECOND
from neverblink.records.tables import ReviewRow


@dataclass(frozen=True, slots=True)
class Counted:
    """So many of a sample were so; `low` and `high` are the exact interval of their share, None of an empty sample."""

    count: int
    sample: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved of a period. Reference parts are in `references` alone, parts without a score in no estimate.

    `since` and `until` are the period asked for in whole hours, `first` and `last` the hours in which a part came.
    `held_out`, `unsure_passes` and `judged_rejects` are what was drawn, with what has no answer yet. `beyond`: parts
    that people judged although nobody drew them, which are in no estimate. `first_pass` are passed parts of all.
    `two_people`: second looks that said what the first had said. `bypass_s` is the time for which the lines' gates
    passed parts without asking, None where their PLCs did not say all the time, and `hold_s` the time on hold.
    """

    since: datetime | None
    until: datetime | None
    first: datetime | None
    last: datetime | None
    parts: int
    passed: int
    rejected: int
    unscored: int
    first_pass: Counted
    estimates: Estimates
    held_out: Drawn
    unsure_passes: Drawn
    judged_rejects: Drawn
    beyond: int
    references: tuple[Reference, ...]
    two_people: Counted
    bypass_s: float | None = None
    hold_s: float = 0.0


def proof_of(
    session: Session, wanted: RollupFilter, exactness: Exactness | None = None, *, now: datetime | None = None
) -> Proof:
    """Return what is proved of the parts that fit, as wholes: the station of `wanted` is not asked for."""
    whole = wanted.of_parts()
    narrow = within_lot(session, whole)
    sample, span, hours = sample_of(session, narrow), span_of(session, narrow), whole.in_hours()
    passed = sample.passes.pool + sample.unsure.pool
    held = _time_held(session, narrow, span, now or datetime.now(UTC))
    held_out = [*sample.passes.groups, *sample.unsure_holdouts]
    return Proof(
        since=hours.since,
        until=hours.until,
        first=span.first,
        last=span.last,
        parts=sample.parts,
        passed=passed,
        rejected=sample.rejects.pool,
        unscored=sample.unscored,
        first_pass=_counted(passed, sample.parts),
        estimates=estimates_of(sample, exactness),
        held_out=together(held_out),
        unsure_passes=sample.unsure.sample,
        judged_rejects=sample.rejects.sample,
        beyond=sample.beyond,
        references=sample.references,
        two_people=_second_looks(session, whole),
        bypass_s=held.bypass_s,
        hold_s=held.hold_s,
    )


def _time_held(session: Session, wanted: RollupFilter, span: Span, now: datetime) -> TimeHeld:
    """Return how long the lines were on hold and in bypass: in the period asked for, else while parts came."""
    if span.first is None or span.last is None:
        return TimeHeld(0.0, None)
    hours = wanted.in_hours()
    rows = select(RollupRow.line).where(*wanted.conditions(RollupRow)).distinct()
    until = min(hours.until or span.last + timedelta(hours=1), now)
    return time_held(session, set(session.scalars(rows)), hours.since or span.first, until)


def _second_looks(session: Session, wanted: RollupFilter) -> Counted:
    """Count second looks that were given in the period; rounds of one verdict by their first answers that count."""
    first, second = aliased(ReviewRow), aliased(ReviewRow)
    same = func.count().filter(first.judgement == second.judgement)
    query = (
        select(func.count(), same)
        .select_from(second)
        .join(first, (first.verdict == second.verdict) & (first.reviewer != second.reviewer))
        .where(first.round == FIRST, second.round == literal(SECOND, literal_execute=True))  # so its index is read
    )
    for one in (first, second):
        query = query.where(one.counted.is_(True), one.withdrawn.is_(False))
    for column, value in ((second.product, wanted.product), (second.lot, wanted.lot)):
        query = query if value is None else query.where(column == value)
    if wanted.lines is not None:
        query = query.where(second.line.in_(wanted.lines))
    if wanted.since is not None:
        query = query.where(second.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(second.at < wanted.until)
    all_looks, agreed = session.execute(query).one()
    return _counted(int(agreed or 0), int(all_looks))


def _counted(count: int, sample: int) -> Counted:
    return Counted(count, sample, *(share_interval(count, sample) if sample else (None, None)))
