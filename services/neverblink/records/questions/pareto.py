"""What is found most often: types of defects, reasons of decisions."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from neverblink.records.part_tables import WordRollupRow
from neverblink.records.questions.rollup_filter import RollupFilter

ParetoOf = Literal["defects", "reasons"]
_KINDS: dict[ParetoOf, str] = {"defects": "defect", "reasons": "reason"}


@dataclass(frozen=True, slots=True)
class ParetoShare:
    """One word, most frequent first. `share` and `cumulative` are of all that was counted, also beyond the limit."""

    word: str
    count: int
    share: float
    cumulative: float


@dataclass(frozen=True, slots=True)
class Pareto:
    """The words and how many there are in all: `counted` is their sum."""

    words: tuple[ParetoShare, ...]
    counted: int


def pareto(
    session: Session, of: ParetoOf, wanted: RollupFilter, *, decision: str | None = None, limit: int = 100
) -> Pareto:
    """Return the most frequent words of parts, or of one station's verdicts; of one decision or of all."""
    count = func.sum(WordRollupRow.count)
    query = (
        select(WordRollupRow.word, count)
        .where(WordRollupRow.kind == _KINDS[of], *wanted.conditions(WordRollupRow))
        .group_by(WordRollupRow.word)
        .having(count > 0)
        .order_by(count.desc(), WordRollupRow.word)
    )
    if decision is not None:
        query = query.where(WordRollupRow.decision == decision)
    rows = [(word, int(number)) for word, number in session.execute(query)]
    counted = sum(number for _, number in rows)
    words, so_far = [], 0
    for word, number in rows[:limit]:
        so_far += number
        words.append(ParetoShare(word, number, number / counted, so_far / counted))
    return Pareto(tuple(words), counted)
