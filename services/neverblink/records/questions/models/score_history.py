"""What a model scored of a station's last parts: what a threshold would make of them can be counted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.questions.part_story import PHOTOGRAPHS
from neverblink.records.tables import VerdictRow

MOST: Final = 50_000
"""Verdicts of a line that one answer looks at."""

_PICTURES = ("thumbnail", "frame")


class ScoredPart(NamedTuple):
    """A part of the production as a station's model scored it, and what people found. `reason` is a reject's.

    `holdout_share` and `audit_share` are with what share it was drawn, see the verdicts' columns.
    """

    verdict: str
    score: float
    decision: str
    reason: str | None
    unsure: bool
    holdout: bool
    holdout_share: float | None
    audited: bool
    audit_share: float | None
    judgement: str | None


@dataclass(frozen=True, slots=True)
class ScoreHistory:
    """The parts of a station, the newest first, that one model scored, among the line's last `looked_at` verdicts.

    `unscored`, `references` and `by_others` count the station's other parts there. `first` and `last` are when the
    oldest and the newest of `parts` were captured, None where there is none.
    """

    parts: tuple[ScoredPart, ...]
    looked_at: int
    unscored: int
    references: int
    by_others: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class PartToLookAt:
    """A part that can be opened: `picture` is the digest of a small one, None where none is kept."""

    verdict: str
    part_id: int | None
    label: str
    captured: datetime
    picture: str | None = None


def score_history(
    session: Session, line: str, station: str, artifact: str, *, last: int, stations: int = 1
) -> ScoreHistory:
    """Return what the artifact of that digest scored of a station's last parts: of about `last`, where the line has
    `stations` stations. No more than MOST verdicts of the line are looked at.
    """
    row = VerdictRow
    names = (*ScoredPart._fields[1:], "artifact_digest", "challenge")
    columns = (row.id, *(getattr(row, name) for name in names))
    looked = (
        select(row.station, row.captured, *columns)
        .where(row.line == line)
        .order_by(row.captured.desc())
        .limit(min(last * max(stations, 1), MOST))
        .subquery()
    )
    own = select(*(looked.c[column.key] for column in columns)).where(looked.c.station == station)
    rows = session.execute(own.order_by(looked.c.captured.desc())).all()
    parts: list[ScoredPart] = []
    unscored = references = by_others = 0
    for *values, digest, challenge in rows:
        if challenge:
            references += 1
        elif values[1] is None:
            unscored += 1
        elif digest != artifact:
            by_others += 1
        else:
            parts.append(ScoredPart(*values))
    ends = [parts[-1].verdict, parts[0].verdict] if parts else []
    times = dict(session.execute(select(row.id, row.captured).where(row.id.in_(ends))).all())
    first, newest = (times.get(one) for one in ends) if ends else (None, None)
    return ScoreHistory(tuple(parts), len(rows), unscored, references, by_others, first, newest)


def parts_to_look_at(session: Session, verdicts: Sequence[str]) -> tuple[PartToLookAt, ...]:
    """Return these verdicts' parts in the order given, each with a small picture where one is kept."""
    row, file = VerdictRow, EvidenceFileRow
    query = select(row.id, row.part_id, row.serial, row.part, row.captured).where(row.id.in_(verdicts))
    found = {
        verdict: PartToLookAt(verdict, part_id, serial or part, captured)
        for verdict, part_id, serial, part, captured in session.execute(query)
    }
    kept = select(file.verdict_id, file.kind, file.digest).where(
        file.verdict_id.in_(verdicts),
        file.deleted.is_(None),
        file.kind.in_(_PICTURES),
        file.content_type.in_(PHOTOGRAPHS),
    )
    for verdict, digest in _smallest(session.execute(kept)):
        if verdict in found:
            found[verdict] = replace(found[verdict], picture=digest)
    return tuple(found[verdict] for verdict in verdicts if verdict in found)


def _smallest(kept: Iterable[tuple[str, str, str]]) -> Iterable[tuple[str, str]]:
    """Yield a digest a verdict: the later one counts, and a small picture comes later than a frame."""
    for verdict, _, digest in sorted(kept, key=lambda one: -_PICTURES.index(one[1])):
        yield verdict, digest
