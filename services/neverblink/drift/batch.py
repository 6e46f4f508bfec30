"""The verdicts that were counted and are not kept yet: how many may wait, and for how long."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from faust.types import EventT

from neverblink.drift.stations import Taken
from neverblink.events import DriftReport, Verdict

MOST_VERDICTS = 5_000
MOST_BYTES = 8 * 2**20
"""A verdict may have 1 MiB: what is in hand at once must fit into memory."""

LONGEST_S = 1.0
"""What is not kept at a crash is counted again: no longer than this, and the states of a line that runs are written
once for all that came meanwhile."""


@dataclass(slots=True)
class Batch:
    """Events by partition, in their order, and what they led to."""

    began: float
    events: dict[int, list[EventT[Any]]] = field(default_factory=dict)
    reports: list[DriftReport] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    count: int = 0
    size: int = 0
    _count_before: int = -1

    def read(self, event: EventT[Any], size: int) -> None:
        """Take an event of so many bytes that was looked at, whatever became of it."""
        self.events.setdefault(event.message.partition, []).append(event)
        self.count += 1
        self.size += size

    def took(self, verdict: Verdict, taken: Taken) -> None:
        """Take what a verdict led to."""
        self.reports += taken.reports
        if taken.is_new:
            self.verdicts[verdict.line] += 1
        if taken.late:
            self.late[verdict.line] += taken.late
        if taken.is_second:
            self.duplicates[verdict.line] += 1

    @property
    def is_full(self) -> bool:
        """Say whether it must be kept before another verdict is counted."""
        return self.count >= MOST_VERDICTS or self.size >= MOST_BYTES

    def is_due(self, now: float) -> bool:
        """Say whether it is to be kept now: nothing has come since the last call, or it has waited long enough."""
        due = self.count > 0 and (self.count == self._count_before or now - self.began >= LONGEST_S)
        self._count_before = self.count
        return due
