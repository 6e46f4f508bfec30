"""The reference parts that came down the lines, and what was decided about each."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from neverblink.events import Decision
from neverblink.records.part_tables import ChallengeRow, PartRow
from neverblink.records.slices import slices
from neverblink.records.tables import DefectRow, VerdictRow

MOST_PARTS = 2000
"""Of one answer: the newest."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ChallengePart:
    """A part that was marked as a reference part.

    `decision` is the worst of the stations that it was marked at; `settles` when all of them must have answered, or at
    once where one has rejected it. `verdict` is the id of its first verdict.
    """

    part_id: int
    line: str
    product: str
    reference: str
    part: str
    epoch: int | None
    number: int | None
    triggered: datetime
    decision: str
    reason: str | None
    ratio: float | None
    artifact: str | None
    defects: tuple[str, ...]
    settles: datetime
    verdict: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """What was said of a reference part that comes."""

    id: str
    line: str
    station: str | None
    reference: str
    by: str
    at: datetime
    expires: datetime
    epoch: int | None
    number: int | None


_COLUMNS = (
    VerdictRow.part_id, VerdictRow.id, VerdictRow.line, VerdictRow.product, VerdictRow.reference, VerdictRow.part,
    VerdictRow.epoch, VerdictRow.number, VerdictRow.captured, VerdictRow.deadline, VerdictRow.emitted,
    VerdictRow.decision, VerdictRow.reason, VerdictRow.ratio, VerdictRow.artifact_name, VerdictRow.artifact_version,
)  # fmt: skip
_WORST = (Decision.REJECT, Decision.UNSCORED, Decision.PASS)


def challenge_ids(
    session: Session | Connection, lines: Collection[str], since: datetime, reference: str | None = None
) -> dict[int, int]:
    """Return id and revision of the reference parts that were triggered since then on these lines, the newest first."""
    found: list[tuple[datetime, int, int]] = []
    for line in sorted(lines):
        query = select(PartRow.triggered, PartRow.id, PartRow.revision).where(
            PartRow.line == line, PartRow.challenge, PartRow.reference.is_not(None), PartRow.triggered >= since
        )
        if reference is not None:
            query = query.where(PartRow.reference == reference)
        newest = query.order_by(PartRow.triggered.desc(), PartRow.id.desc()).limit(MOST_PARTS)
        found += [(triggered, number, revision) for triggered, number, revision in session.execute(newest)]
    found.sort(reverse=True)
    return {number: revision for _, number, revision in found[:MOST_PARTS]}


def challenge_parts(session: Session | Connection, numbers: Iterable[int]) -> list[ChallengePart]:
    """Return the reference parts of these ids, the oldest first. One that no verdict marks is none."""
    verdicts: dict[int, list[Any]] = {}
    for some in slices(sorted(numbers), _AT_ONCE):
        marked = select(*_COLUMNS).where(
            VerdictRow.part_id.in_(some), VerdictRow.challenge, VerdictRow.reference.is_not(None)
        )
        for row in session.execute(marked):
            verdicts.setdefault(row.part_id, []).append(row)
    types: dict[str, set[str]] = {}
    for names in slices([row.id for rows in verdicts.values() for row in rows], _AT_ONCE):
        seen = select(DefectRow.verdict_id, DefectRow.type).where(DefectRow.verdict_id.in_(names))
        for name, word in session.execute(seen):
            types.setdefault(name, set()).add(word)
    return sorted(
        (_part(rows, types) for rows in verdicts.values()), key=lambda part: (part.triggered, part.line, part.part_id)
    )


def announcements(session: Session | Connection, lines: Collection[str], since: datetime) -> list[Announcement]:
    """Return what was announced on these lines and had to come after that instant, in the order of its end."""
    columns = [getattr(ChallengeRow, name) for name in Announcement.__slots__]
    query = select(*columns).where(ChallengeRow.line.in_(sorted(lines)), ChallengeRow.expires >= since)
    rows = session.execute(query.order_by(ChallengeRow.expires.desc(), ChallengeRow.id).limit(MOST_PARTS))
    return [Announcement(*row) for row in rows][::-1]


def _part(rows: Sequence[Any], types: dict[str, set[str]]) -> ChallengePart:
    first = min(rows, key=lambda row: (row.captured, row.id))
    worst = min(rows, key=lambda row: (_WORST.index(row.decision), row.captured, row.id))
    ratios = [row.ratio for row in rows if row.ratio is not None]
    rejected = worst.decision == Decision.REJECT
    return ChallengePart(
        part_id=first.part_id,
        line=first.line,
        product=worst.product,
        reference=first.reference,
        part=first.part,
        epoch=first.epoch,
        number=first.number,
        triggered=first.captured,
        decision=worst.decision,
        reason=worst.reason,
        ratio=max(ratios, default=None),
        artifact=None if worst.artifact_name is None else f"{worst.artifact_name} {worst.artifact_version}",
        defects=tuple(sorted({word for row in rows for word in types.get(row.id, ())})),
        settles=(worst.emitted or worst.captured) if rejected else max(row.deadline for row in rows),
        verdict=first.id,
    )
