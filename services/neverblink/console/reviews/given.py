"""How many parts each reviewer has judged in the shift: as the records know it, and what they do not know yet."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from neverblink.events import Review

MOST_KEPT: Final = 5000
"""Answers of the last moments, of all reviewers; the ledger keeps them within seconds while it runs."""


class Given:
    """The answers that this console has published."""

    def __init__(self) -> None:
        self._latest: OrderedDict[tuple[str, str], tuple[datetime, bool]] = OrderedDict()

    def note(self, review: Review) -> None:
        """Remember an answer that Kafka has acknowledged."""
        key = (review.reviewer, review.verdict)
        self._latest[key] = (review.at, not review.withdrawn)
        self._latest.move_to_end(key)
        while len(self._latest) > MOST_KEPT:
            self._latest.popitem(last=False)

    def count(self, reviewer: str, since: datetime, kept: Mapping[str, bool]) -> int:
        """Return how many verdicts a reviewer has answered since and not taken back.

        `kept` is what the records know, by verdict: whether the answer stands.
        """
        own = {
            verdict: stands for (who, verdict), (at, stands) in self._latest.items() if who == reviewer and at >= since
        }
        return sum({**kept, **own}.values())
