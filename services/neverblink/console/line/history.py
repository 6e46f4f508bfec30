"""A part's score among those of the parts before it at the same station, as it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from neverblink.records.questions.parts_before import ScoreOf

FEWEST: Final = 10
"""Fewer scores before a part say nothing about it."""

_TOP: Final = 2.0
"""Scores beyond twice the threshold are drawn at the upper edge."""

_OWN: Final = 0.985


@dataclass(frozen=True, slots=True)
class Dot:
    """One part, at shares (0..1) of the width and of the height from below."""

    x: float
    y: float
    rejected: bool


@dataclass(frozen=True, slots=True)
class History:
    """The dots of the parts before, and the part's own; `threshold` is the height at which parts are rejected.

    `below` is how many of them scored less than the part itself.
    """

    dots: tuple[Dot, ...]
    own: Dot
    threshold: float
    count: int
    below: int
    rejected: int
    since: datetime
    ratio: float


def history_of(before: Sequence[ScoreOf], ratio: float | None, *, rejected: bool) -> History | None:
    """Return the drawing, the oldest on the left and the part itself at the right; None where too little is known."""
    if ratio is None or len(before) < FEWEST:
        return None
    width = _OWN / len(before)
    dots = tuple(Dot(round((n + 0.5) * width, 4), _height(one.ratio), one.rejected) for n, one in enumerate(before))
    return History(
        dots,
        Dot(_OWN, _height(ratio), rejected),
        _height(1.0),
        len(before),
        sum(one.ratio < ratio for one in before),
        sum(one.rejected for one in before),
        before[0].captured,
        ratio,
    )


def _height(ratio: float) -> float:
    return round(min(max(ratio, 0.0), _TOP) / _TOP, 4)
