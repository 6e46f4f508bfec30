"""Figures as cards: the interval as a bar on an axis, the figure in it, and of how many parts it is."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from neverblink.records.questions.proof.answer import Proof
from neverblink.records.questions.proof.estimates import Estimate, Number
from neverblink.records.questions.proof.words import between, percent

_TOPS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Card:
    """One figure. `low`, `high` and `at` are places on an axis from 0 to `top`; `at` None: it is not known.

    `about` is how many parts of the period that makes, with its interval, rounded outwards.
    """

    key: str
    found: Estimate
    figure: str | None
    interval: str
    top: str
    low: float
    high: float
    at: float | None
    about: tuple[float, int, int] | None


def cards_of(proof: Proof) -> tuple[Card, ...]:
    """Return the four figures that customers and the line feel, those first that hurt most."""
    found = proof.estimates
    return (
        _card("recall", found.recall),
        _card("escapes", found.escapes, found.escaped),
        _card("precision", found.precision),
        _card("false_rejects", found.false_rejects, found.rejected_good),
    )


def _card(key: str, found: Estimate, number: Number | None = None) -> Card:
    top = 1.0 if key in ("recall", "precision") else _top(found.high)
    about = None
    if found.value is not None and number is not None and number.value is not None:
        about = (number.value, int(number.low or 0), ceil(number.high or 0))
    return Card(
        key,
        found,
        None if found.value is None else percent(found.value, found.low, found.high),
        between(found.low, found.high),
        f"{100 * top:g} %",
        min(1.0, found.low / top),
        min(1.0, found.high / top),
        None if found.value is None else min(1.0, found.value / top),
        about,
    )


def _top(share: float) -> float:
    """Return a round share at or above another."""
    return next((step for step in _TOPS if share <= step), 1.0)
