"""The pictures that people have judged: what a retraining learns from and is tried on. Frozen rows out."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select, tuple_
from sqlalchemy.orm import Session

from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.reading import ReadOnlyRecords
from neverblink.records.review_state import DISPUTED, ReviewFacts, counting
from neverblink.records.tables import ReviewRow, VerdictRow

MOST_ROWS = 1000
"""Of one page."""


@dataclass(frozen=True, slots=True)
class ConfirmedPicture:
    """A frame whose part people have judged, or had and took it back.

    `judgement` is normal, defect or inconclusive; None where answers were taken back, disagree, or a second look is
    waited for. `digest` finds the picture in the evidence store, None where it is not there.
    """

    verdict: str
    frame_id: str
    line: str
    station: str
    product: str
    captured: datetime
    decision: str
    holdout: bool
    challenge: bool
    judgement: str | None
    defect_type: str | None
    digest: str | None
    content_type: str | None

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return f"{self.line}/{self.station}"


def confirmed_images(
    session: Session,
    stations: Sequence[tuple[str, str]],
    since: datetime,
    after: ConfirmedPicture | None = None,
    most: int = MOST_ROWS,
) -> list[ConfirmedPicture]:
    """Return the reviewed frames of these (line, station) that were captured from `since` on, oldest first.

    `after` is the last one of the page before, None for the first; a page that is not full is the last.
    """
    v, f = VerdictRow, EvidenceFileRow
    # People judge a part after it was captured, and they judge few: so the reviews lead to the verdicts.
    answered = select(ReviewRow.verdict).where(ReviewRow.at >= since).distinct().subquery()
    query = (
        select(
            v.id, v.frame_id, v.line, v.station, v.product, v.captured, v.decision, v.holdout, v.challenge, v.judgement,
            f.digest, f.content_type,
        )
        .join(answered, answered.c.verdict == v.id)
        .outerjoin(f, and_(f.verdict_id == v.id, f.kind == "frame", f.deleted.is_(None)))
        .where(v.captured >= since, tuple_(v.line, v.station).in_(list(stations)))
        .order_by(v.captured, v.id)
        .limit(most)
    )  # fmt: skip
    if after is not None:
        query = query.where(or_(v.captured > after.captured, and_(v.captured == after.captured, v.id > after.verdict)))
    rows: list[Any] = list(session.execute(query))
    types = _defect_types(session, {row.id: row.judgement for row in rows})
    return [
        ConfirmedPicture(
            row.id, row.frame_id, row.line, row.station, row.product, row.captured, row.decision, row.holdout,
            row.challenge, None if row.judgement == DISPUTED else row.judgement, types.get(row.id), row.digest,
            row.content_type,
        )
        for row in rows
    ]  # fmt: skip


def pages_of_confirmed(
    records: ReadOnlyRecords, stations: Sequence[tuple[str, str]], since: datetime
) -> Iterator[list[ConfirmedPicture]]:
    """Yield all of `confirmed_images`, a page a question. Raises LedgerError."""
    last: ConfirmedPicture | None = None
    while True:
        with records.asking() as session:
            page = confirmed_images(session, stations, since, last)
        yield page
        if len(page) < MOST_ROWS:
            return
        last = page[-1]


def _defect_types(session: Session, judgements: dict[str, str | None]) -> dict[str, str]:
    """Return the type of defect that the newest answer names of those that say what holds, by verdict."""
    r = ReviewRow
    query = select(
        r.verdict, r.id, r.reviewer, r.judgement, r.at, r.withdrawn, r.round, r.counted, r.defect_type
    ).where(r.verdict.in_(list(judgements)))
    reviews: dict[str, list[ReviewFacts]] = defaultdict(list)
    named: dict[str, str | None] = {}
    rows: list[Any] = list(session.execute(query))
    for verdict, *facts, defect_type in rows:
        review = ReviewFacts(*facts)
        reviews[verdict].append(review)
        named[review.id] = defect_type
    found: dict[str, str] = {}
    for verdict, said in reviews.items():
        for review in counting(said):
            kind = named[review.id]
            if kind is not None and review.judgement == judgements[verdict]:
                found[verdict] = kind
    return found
