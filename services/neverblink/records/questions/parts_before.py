"""How parts before one scored at the same station, and a good one of them to look at beside it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink.events import Decision, Judgement
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.questions.part_story import PHOTOGRAPHS
from neverblink.records.tables import VerdictRow

MOST: Final = 300
"""Scores before the part's own."""

_LOOKED_AT: Final = 3000
"""Verdicts of the line that are looked through for them: a line has a few stations and products."""

_PICTURES: Final = 2000
_BACK: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class ScoreOf:
    """One part's score over its threshold, and what was decided."""

    captured: datetime
    ratio: float
    rejected: bool


@dataclass(frozen=True, slots=True)
class GoodExample:
    """A part that passed and whose picture is kept."""

    verdict: str
    digest: str
    captured: datetime


def scores_before(session: Session, line: str, station: str, product: str, at: datetime) -> list[ScoreOf]:
    """Return up to MOST scores of a station and product before an instant, the oldest first."""
    near = (
        select(
            VerdictRow.station, VerdictRow.product, VerdictRow.captured, VerdictRow.ratio, VerdictRow.decision,
            VerdictRow.challenge,
        )
        .where(VerdictRow.line == line, VerdictRow.captured < at, VerdictRow.captured >= at - _BACK)
        .order_by(VerdictRow.captured.desc())
        .limit(_LOOKED_AT)
        .subquery()
    )  # fmt: skip
    query = (
        select(near.c.captured, near.c.ratio, near.c.decision)
        .where(
            near.c.station == station, near.c.product == product, near.c.ratio.is_not(None), near.c.challenge.is_(False)
        )
        .order_by(near.c.captured.desc())
        .limit(MOST)
    )
    found = [ScoreOf(at, float(ratio), word == Decision.REJECT) for at, ratio, word in session.execute(query)]
    return found[::-1]


def good_example(session: Session, line: str, station: str, product: str, at: datetime) -> GoodExample | None:
    """Return the last part before an instant that passed this station for sure and has a picture; None: there is none.

    A part that people found defective, one that is unsure, a reference part, and one that people judge without knowing
    what was decided are no example.
    """
    near = (
        select(EvidenceFileRow.verdict_id, EvidenceFileRow.digest, EvidenceFileRow.captured)
        .add_columns(
            EvidenceFileRow.line, EvidenceFileRow.station, EvidenceFileRow.product, EvidenceFileRow.kind,
            EvidenceFileRow.content_type,
        )
        .where(
            EvidenceFileRow.deleted.is_(None), EvidenceFileRow.captured < at, EvidenceFileRow.captured >= at - _BACK
        )
        .order_by(EvidenceFileRow.captured.desc())
        .limit(_PICTURES)
        .subquery()
    )  # fmt: skip
    query = (
        select(near.c.verdict_id, near.c.digest, near.c.captured)
        .join(VerdictRow, VerdictRow.id == near.c.verdict_id)
        .where(
            near.c.line == line,
            near.c.station == station,
            near.c.product == product,
            near.c.kind == "frame",
            near.c.content_type.in_(PHOTOGRAPHS),
            VerdictRow.decision == Decision.PASS,
            VerdictRow.unsure.is_(False),
            VerdictRow.challenge.is_(False),
            VerdictRow.holdout.is_(False),
            VerdictRow.judgement.is_(None) | (VerdictRow.judgement == Judgement.NORMAL),
        )
        .order_by(near.c.captured.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    return None if row is None else GoodExample(*row)
