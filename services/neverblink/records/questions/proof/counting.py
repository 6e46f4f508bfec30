"""How many parts were drawn, and what people found in them: read from the records."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from neverblink.events import Decision, Judgement
from neverblink.records.part_tables import AUDITED, CHALLENGE, HOLDOUT, JUDGED, PartRow, RollupRow
from neverblink.records.questions.proof.samples import Drawn, Reference, Sample, Stratum
from neverblink.records.questions.rollup_filter import RollupFilter


class _Kind(NamedTuple):
    """Parts that are counted together."""

    decision: str
    unsure: bool
    holdout: bool
    holdout_share: float | None
    audited: bool
    audit_share: float | None

    @property
    def share(self) -> float:
        """Return with what share a held-out part was drawn; 1 where the frame did not say."""
        return self.holdout_share or 1.0

    @property
    def judged_share(self) -> float:
        """Return with what share a reject is judged: as one of the audit, or as a holdout."""
        return 1 - (1 - (1.0 if self.audit_share is None else self.audit_share)) * (1 - (self.holdout_share or 0.0))


_KIND = [getattr(PartRow, name) for name in _Kind._fields]


class Span(NamedTuple):
    """The first and the last hour in which a part was triggered, None where there is none."""

    first: datetime | None
    last: datetime | None


def sample_of(session: Session, wanted: RollupFilter) -> Sample:
    """Return the counts of the parts that fit; as counts are kept by the hour, of whole hours."""
    span = wanted.in_hours()
    if span.lines is None:  # indexes of few parts begin with the line
        lines = session.scalars(select(RollupRow.line).where(*wanted.of_parts().conditions(RollupRow)).distinct())
        span = replace(span, lines=tuple(lines))
    references = _references(session, span)
    totals = _totals(session, span, references)
    found = _found(session, span)
    passes: defaultdict[float, Counter[str]] = defaultdict(Counter)
    unsure_held: defaultdict[float, Counter[str]] = defaultdict(Counter)
    rejects: defaultdict[float, Counter[str]] = defaultdict(Counter)
    unsure: Counter[str] = Counter()
    beyond = 0
    for kind, answers in found.items():
        if kind.decision == Decision.REJECT:
            if kind.audited or kind.holdout:
                rejects[kind.judged_share] += answers
            else:
                beyond += answers.total()
        elif kind.decision == Decision.PASS:
            if kind.unsure:
                unsure += answers
            if kind.holdout:
                (unsure_held if kind.unsure else passes)[kind.share] += answers
            elif not kind.unsure:
                beyond += answers.total()
    drawn = _drawn(session, span)
    _wait(passes, drawn.held)
    _wait(unsure_held, drawn.held_unsure)
    _wait(rejects, _all_rejects(session, span, totals["rejected"]))
    unsure["waiting"] = max(0, totals["unsure"] - unsure.total())
    sure = totals["passed"] - totals["unsure"]
    return Sample(
        parts=totals["parts"],
        unscored=totals["unscored"],
        passes=Stratum(sure, _groups(passes)),
        unsure=Stratum(totals["unsure"], _groups({1.0: unsure})),
        unsure_holdouts=_groups(unsure_held),
        rejects=Stratum(totals["rejected"], _groups(rejects)),
        beyond=beyond,
        references=references,
    )


def span_of(session: Session, wanted: RollupFilter) -> Span:
    """Return in which hours the parts that fit were triggered."""
    hours = select(func.min(RollupRow.hour), func.max(RollupRow.hour)).where(*wanted.conditions(RollupRow))
    first, last = session.execute(hours).one()
    return Span(first, last)


class _Drawn(NamedTuple):
    held: Counter[float]
    held_unsure: Counter[float]


def _totals(session: Session, span: RollupFilter, references: Iterable[Reference]) -> dict[str, int]:
    """Return how many parts were passed, rejected, not scored and unsure, less the reference parts."""
    names = ("parts", "passed", "rejected", "unscored", "unsure")
    query = select(*(func.coalesce(func.sum(getattr(RollupRow, name)), 0) for name in names))
    row = session.execute(query.where(*span.conditions(RollupRow))).one()
    found = {name: int(value) for name, value in zip(names, row, strict=True)}
    for one in references:
        for name, count in (("passed", one.passed), ("rejected", one.rejected), ("unscored", one.unscored)):
            found[name] -= count
        found["parts"] -= one.passed + one.rejected + one.unscored
        found["unsure"] -= one.unsure
    return found


def _references(session: Session, span: RollupFilter) -> tuple[Reference, ...]:
    query = (
        select(PartRow.reference, PartRow.decision, PartRow.unsure, func.count())
        .where(text(f"parts.{CHALLENGE}"), *_fits(span))
        .group_by(PartRow.reference, PartRow.decision, PartRow.unsure)
    )
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for reference, decision, unsure, count in session.execute(query):
        found[reference or ""][str(decision)] += int(count)
        if unsure:
            found[reference or ""]["unsure"] += int(count)
    return tuple(
        Reference(name, counts["reject"], counts["pass"], counts["unscored"], counts["unsure"])
        for name, counts in sorted(found.items())
    )


def _found(session: Session, span: RollupFilter) -> dict[_Kind, Counter[str]]:
    """Return what people found, by kind of part: answered once all its verdicts that wait are, or one is a defect."""
    query = (
        select(*_KIND, PartRow.judgement, PartRow.partly_judged, func.count())
        .where(text(f"parts.{JUDGED}"), PartRow.challenge.is_(False), *_fits(span))
        .group_by(*_KIND, PartRow.judgement, PartRow.partly_judged)
    )
    found: defaultdict[_Kind, Counter[str]] = defaultdict(Counter)
    for row in session.execute(query):
        *kind, judgement, is_open, count = row
        if judgement == Judgement.DEFECT:
            found[_Kind(*kind)]["defective"] += int(count)
        elif not is_open:
            found[_Kind(*kind)]["good" if judgement == Judgement.NORMAL else "undecided"] += int(count)
    return dict(found)


def _drawn(session: Session, span: RollupFilter) -> _Drawn:
    query = (
        select(PartRow.unsure, PartRow.holdout_share, func.count())
        .where(text(f"parts.{HOLDOUT}"), PartRow.decision == Decision.PASS, PartRow.challenge.is_(False), *_fits(span))
        .group_by(PartRow.unsure, PartRow.holdout_share)
    )
    found = _Drawn(Counter(), Counter())
    for unsure, share, count in session.execute(query):
        (found.held_unsure if unsure else found.held)[share or 1.0] += int(count)
    return found


def _all_rejects(session: Session, span: RollupFilter, rejected: int) -> Counter[float]:
    """Return how many rejects were drawn with each share; those of products whose rejects are all judged with 1."""
    columns = (PartRow.holdout, PartRow.holdout_share, PartRow.audited, PartRow.audit_share)
    query = (
        select(*columns, func.count())
        .where(text(f"parts.{AUDITED}"), PartRow.decision == Decision.REJECT, PartRow.challenge.is_(False))
        .where(*_fits(span))
        .group_by(*columns)
    )
    found: Counter[float] = Counter()
    for holdout, holdout_share, is_audited, audit_share, count in session.execute(query):
        rejected -= int(count)
        if is_audited or holdout:
            kind = _Kind(Decision.REJECT, False, holdout, holdout_share, is_audited, audit_share)
            found[kind.judged_share] += int(count)
    found[1.0] += rejected
    return found


def _wait(groups: defaultdict[float, Counter[str]], drawn: Counter[float]) -> None:
    for share, count in drawn.items():
        groups[share]["waiting"] = max(0, count - groups[share].total())


def _groups(found: "dict[float, Counter[str]] | defaultdict[float, Counter[str]]") -> tuple[Drawn, ...]:
    return tuple(
        Drawn(share, counts["defective"], counts["good"], counts["undecided"], counts["waiting"])
        for share, counts in sorted(found.items())
        if counts.total()
    )


def _fits(span: RollupFilter) -> list[ColumnElement[bool]]:
    """Return what a part must fulfil; its product and lot in words that no index serves, so that the line's is read."""
    found: list[ColumnElement[bool]] = []
    named: list[tuple[Any, str | None]] = [(PartRow.product, span.product), (PartRow.lot, span.lot)]
    found += [column.op("||")("") == value for column, value in named if value is not None]
    if span.shift is not None:
        found.append(PartRow.shift == span.shift)
    if span.lines is not None:
        found.append(PartRow.line == span.lines[0] if len(span.lines) == 1 else PartRow.line.in_(span.lines))
    if span.since is not None:
        found.append(PartRow.triggered >= span.since)
    if span.until is not None:
        found.append(PartRow.triggered < span.until)
    return found
