"""What the evidence store holds, by why it was kept, and what was lost. Frozen rows out."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from neverblink.records.part_tables import EvidenceFileRow, EvidenceWantedRow
from neverblink.records.tables import VerdictRow


@dataclass(frozen=True, slots=True)
class EvidenceCount:
    """Frames by why they were kept: how many are there, with all their pictures' bytes, and what became of the others.

    `unreviewed` are those of `frames` that nobody has judged. `lost` counts by word why frames could not be had.
    """

    why: str
    wanted: int
    frames: int
    bytes: int
    unreviewed: int
    deleted: int
    lost: dict[str, int]


def evidence_counts(session: Session) -> list[EvidenceCount]:
    """Return the counts of every kind that there is, by name."""
    f, v, w = EvidenceFileRow, VerdictRow, EvidenceWantedRow
    frame, there = f.kind == "frame", f.deleted.is_(None)
    query = (
        select(
            f.why,
            _number(and_(frame, there)),
            func.sum(case((there, f.bytes), else_=0)),
            _number(and_(frame, there, v.judgement.is_(None))),
            _number(and_(frame, ~there)),
        )
        .outerjoin(v, v.id == f.verdict_id)
        .group_by(f.why)
    )
    held: list[Any] = list(session.execute(query))
    found = {why: tuple(int(each) for each in rest) for why, *rest in held}
    lost: dict[str, dict[str, int]] = {}
    waiting: dict[str, int] = {}
    rows: list[Any] = list(session.execute(select(w.why, w.lost, func.count()).group_by(w.why, w.lost)))
    for why, word, count in rows:
        if word is None:
            waiting[why] = count
        else:
            lost.setdefault(why, {})[word] = count
    counts = []
    for why in sorted(found.keys() | lost.keys() | waiting.keys()):
        frames, bytes_, unreviewed, deleted = found.get(why, (0, 0, 0, 0))
        counts.append(EvidenceCount(why, waiting.get(why, 0), frames, bytes_, unreviewed, deleted, lost.get(why, {})))
    return counts


def _number(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))
