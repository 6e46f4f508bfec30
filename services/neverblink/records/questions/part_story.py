"""Everything about one part: what was decided, what the PLC was told, what the gate did, what people found."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from neverblink.records.columns import Table
from neverblink.records.part_tables import EvidenceFileRow, PartRow
from neverblink.records.questions.parts import PART_COLUMNS, Part, with_regions
from neverblink.records.tables import ActuationRow, DefectRow, ReviewRow, VerdictRow

MOST_ROWS = 1000
"""Verdicts, actuations, reviews and pictures of one part at most; a part has a few."""


@dataclass(frozen=True, slots=True)
class DefectOf:
    """One region that does not look right, in pixels of the frame."""

    verdict_id: str
    position: int
    type: str
    taxonomy: str | None
    x: int
    y: int
    width: int
    height: int
    area_px: int
    area_mm2: float | None
    confidence: float | None
    peak: float | None
    source: str | None
    region: str | None


@dataclass(frozen=True, slots=True)
class RegionOf:
    """What one named region of the part scored; `state` is a presence check's."""

    name: str
    kind: str
    score: float
    threshold: float
    ratio: float
    state: str | None = None


@dataclass(frozen=True, slots=True)
class VerdictOf:
    """The verdict of one station on its frame of the part.

    `heeded` says whether the PLC was told of the part with it: not a verdict that came late or after another station's
    reject. None while the PLC was told nothing.
    """

    id: str
    frame_id: str
    station: str
    product: str
    seq: int
    decision: str
    reason: str | None
    detail: str | None
    score: float | None
    threshold: float | None
    ratio: float | None
    artifact_name: str | None
    artifact_version: str | None
    artifact_digest: str | None
    captured: datetime
    scored: datetime | None
    emitted: datetime | None
    deadline: datetime
    late: bool
    holdout: bool
    challenge: bool
    unsure: bool
    trace_id: str | None
    frame_partition: int | None
    frame_offset: int | None
    regions: tuple[RegionOf, ...] = ()
    defects: tuple[DefectOf, ...] = ()
    heeded: bool | None = None


@dataclass(frozen=True, slots=True)
class ActuationOf:
    """What the PLC was told (`told`), or what its gate did (`gate`)."""

    id: str
    stage: str
    decision: str | None
    code: int | None
    outcome: str | None
    gate: str | None
    at: datetime
    deadline: datetime | None
    slack_ms: float | None
    trigger_to_told_ms: float | None
    attempts: int
    incident: bool
    detail: str | None


@dataclass(frozen=True, slots=True)
class ReviewOf:
    """One answer of one reviewer; all of them are kept, also those that were taken back."""

    id: str
    verdict: str
    station: str
    judgement: str
    defect_type: str | None
    reviewer: str
    comment: str | None
    at: datetime
    withdrawn: bool
    round: str | None


PHOTOGRAPHS = ("image/jpeg", "image/png", "image/webp")
"""Kinds of pictures that every browser shows."""


@dataclass(frozen=True, slots=True)
class PictureOf:
    """A picture in the evidence store, by its digest; `deleted` says since when it is no longer there."""

    digest: str
    kind: str
    verdict_id: str
    station: str
    bytes: int
    content_type: str
    why: str
    captured: datetime
    kept: datetime
    deleted: datetime | None


@dataclass(frozen=True, slots=True)
class PartStory:
    """One part and all that is kept of it, each in the order of time."""

    part: Part
    verdicts: tuple[VerdictOf, ...]
    actuations: tuple[ActuationOf, ...]
    reviews: tuple[ReviewOf, ...]
    pictures: tuple[PictureOf, ...]


def story_of(session: Session, number: int, lines: tuple[str, ...] | None = None) -> PartStory | None:
    """Return everything about the part of that id; None when there is none, or not on one of these lines."""
    found = session.execute(select(*PART_COLUMNS).where(PartRow.id == number)).first()
    if found is None or (lines is not None and found.line not in lines):
        return None
    verdicts = _rows(session, VerdictOf, VerdictRow, VerdictRow.part_id == number, VerdictRow.captured)
    ids = [verdict["id"] for verdict in verdicts]
    defects: dict[str, list[DefectOf]] = {}
    for row in _rows(session, DefectOf, DefectRow, DefectRow.verdict_id.in_(ids), DefectRow.position):
        defects.setdefault(row["verdict_id"], []).append(DefectOf(**row))
    actuations = _rows(session, ActuationOf, ActuationRow, ActuationRow.part_id == number, ActuationRow.at)
    told = session.scalar(
        select(ActuationRow.verdicts).where(ActuationRow.part_id == number, ActuationRow.stage == "told").limit(1)
    )
    reviews = _rows(session, ReviewOf, ReviewRow, ReviewRow.verdict.in_(ids), ReviewRow.at)
    pictures = _rows(session, PictureOf, EvidenceFileRow, EvidenceFileRow.verdict_id.in_(ids), EvidenceFileRow.captured)
    return PartStory(
        with_regions(session, [Part(*found)])[0],
        tuple(
            VerdictOf(
                **row | {"regions": _regions(row["regions"])},
                defects=tuple(defects.get(row["id"], ())),
                heeded=None if told is None else row["id"] in told,
            )
            for row in verdicts
        ),
        tuple(ActuationOf(**row) for row in actuations),
        tuple(ReviewOf(**row) for row in reviews),
        tuple(PictureOf(**row) for row in pictures),
    )


def part_of_verdict(session: Session, verdict: str, lines: tuple[str, ...] | None = None) -> int | None:
    """Return the id of the part that a verdict is of; None when it is not kept yet, or not on one of these lines."""
    row = session.execute(select(VerdictRow.part_id, VerdictRow.line).where(VerdictRow.id == verdict)).first()
    if row is None or (lines is not None and row.line not in lines):
        return None
    found: int | None = row.part_id
    return found


def picture_of(session: Session, digest: str, lines: tuple[str, ...] | None = None) -> PictureOf | None:
    """Return the picture of that digest that is still there; None when there is none, or not of one of these lines."""
    wanted = and_(EvidenceFileRow.digest == digest, EvidenceFileRow.deleted.is_(None))
    if lines is not None:
        wanted = and_(wanted, EvidenceFileRow.line.in_(lines))
    found = _rows(session, PictureOf, EvidenceFileRow, wanted, EvidenceFileRow.captured)
    return PictureOf(**found[0]) if found else None


def pictures_of(session: Session, verdict: str) -> list[PictureOf]:
    """Return the pictures of one verdict that are still there."""
    wanted = and_(EvidenceFileRow.verdict_id == verdict, EvidenceFileRow.deleted.is_(None))
    found = _rows(session, PictureOf, EvidenceFileRow, wanted, EvidenceFileRow.captured)
    return [PictureOf(**row) for row in found]


def _regions(kept: list[dict[str, Any]] | None) -> tuple[RegionOf, ...]:
    known = {field.name for field in fields(RegionOf)}
    return tuple(RegionOf(**{name: value for name, value in one.items() if name in known}) for one in kept or ())


_MADE_HERE = ("defects", "heeded")


def _rows(session: Session, kind: type[Any], table: type[Table], wanted: Any, order: Any) -> list[dict[str, Any]]:
    names = [field.name for field in fields(kind) if field.name not in _MADE_HERE]
    query = select(*(getattr(table, name) for name in names)).where(wanted).order_by(order).limit(MOST_ROWS)
    return [dict(zip(names, row, strict=True)) for row in session.execute(query)]
