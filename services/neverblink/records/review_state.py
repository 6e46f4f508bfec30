"""What all answers about one verdict come to: which of them count, whether they agree, what holds.

The order in which answers arrive cannot matter: each is placed by its own instant, then by its id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

Round = Literal["first", "second", "final"]

FIRST: Round = "first"
SECOND: Round = "second"
FINAL: Round = "final"
ROUNDS: tuple[Round, ...] = (FIRST, SECOND, FINAL)
DISPUTED = "disputed"
"""The judgement of a verdict about which two reviewers disagree, until a third settles it."""


class ReviewState(StrEnum):
    """Where the answers about a verdict stand."""

    OPEN = "open"
    ANSWERED = "answered"
    NEEDS_SECOND = "needs-second"
    AGREED = "agreed"
    DISPUTED = "disputed"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class ReviewFacts:
    """What of a review its verdict's state depends on. `counted` is False for one whose reviewer is not on the list."""

    id: str
    reviewer: str
    judgement: str
    at: datetime
    withdrawn: bool = False
    round: str | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a verdict stands. `answers` are those that count, one a reviewer, oldest first.

    `judgement` is normal, defect, inconclusive or disputed; None while nobody has judged, and while a second reviewer
    is waited for, so that no figure and no page tells the second what the first has said. `wants` is the next look.
    """

    state: ReviewState
    judgement: str | None
    answers: tuple[ReviewFacts, ...]
    wants: Round | None


def counting(reviews: Iterable[ReviewFacts]) -> tuple[ReviewFacts, ...]:
    """Return the answers that count, oldest first: each listed reviewer's latest, unless that took the word back."""
    latest: dict[str, ReviewFacts] = {}
    for review in reviews:
        known = latest.get(review.reviewer)
        if review.counted and (known is None or _when(known) < _when(review)):
            latest[review.reviewer] = review
    return tuple(sorted((one for one in latest.values() if not one.withdrawn), key=_when))


def standing_of(reviews: Iterable[ReviewFacts], second_wanted: bool = False) -> Standing:
    """Return what all reviews of one verdict come to.

    A second look is wanted where an answer says which round it was, or with `second_wanted`; elsewhere the latest
    answer holds, whosever it is. A final answer settles what two others have judged; without two it is an answer like
    others.
    """
    answers = counting(reviews)
    if not answers:
        return Standing(ReviewState.OPEN, None, (), FIRST)
    if not (second_wanted or any(one.round in ROUNDS for one in answers)):
        return Standing(ReviewState.ANSWERED, answers[-1].judgement, answers, None)
    if len(answers) == 1:
        return Standing(ReviewState.NEEDS_SECOND, None, answers, SECOND)
    finals = [one for one in answers if one.round == FINAL]
    if finals and len(answers) >= 3:
        return Standing(ReviewState.SETTLED, finals[-1].judgement, answers, None)
    if len({one.judgement for one in answers}) == 1:
        return Standing(ReviewState.AGREED, answers[0].judgement, answers, None)
    return Standing(ReviewState.DISPUTED, DISPUTED, answers, FINAL)


def judgement_of(reviews: Sequence[ReviewFacts], second_wanted: bool = False) -> str | None:
    """Return the judgement that holds: normal, defect, inconclusive, disputed, or None while there is none yet."""
    return standing_of(reviews, second_wanted).judgement


def round_of(reviewer: str, reviews: Iterable[ReviewFacts], second_wanted: bool) -> Round | None:
    """Return which round an answer of this reviewer would be now; None where the latest answer holds.

    A reviewer who answers again stays in the round of the earlier answer.
    """
    standing = standing_of(reviews, second_wanted)
    others = [one for one in standing.answers if one.reviewer != reviewer]
    own = next((one.round for one in standing.answers if one.reviewer == reviewer), None)
    earlier = next((known for known in ROUNDS if known == own), None)
    if earlier is not None:
        return earlier
    if standing.state is ReviewState.ANSWERED or (standing.state is ReviewState.OPEN and not second_wanted):
        return None
    return FIRST if not others else SECOND if len(others) == 1 else FINAL


def shown_to(reviewer: str | None, standing: Standing) -> tuple[ReviewFacts, ...]:
    """Return the answers that this person may see: while a second look is waited for, the person's own alone."""
    if standing.state is not ReviewState.NEEDS_SECOND:
        return standing.answers
    return tuple(one for one in standing.answers if one.reviewer == reviewer)


def _when(review: ReviewFacts) -> tuple[datetime, str]:
    return review.at, review.id
