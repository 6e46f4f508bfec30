"""The p-chart: which share of each shift's parts was rejected, between limits of what chance alone does."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from neverblink.confidence.control_limits import control_limits
from neverblink.plant.shifts import ShiftPlan
from neverblink.records.part_tables import RollupRow
from neverblink.records.questions.rollup_filter import HOUR, RollupFilter

_LAST = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ShiftPoint:
    """One shift: `rejected` of `parts` that were passed or rejected, between the limits of its own size.

    `artifact` is the digest of the model that decided about most of its parts, None where none is known.
    """

    begins: datetime
    shift: str
    parts: int
    rejected: int
    low: float
    high: float
    artifact: str | None

    @property
    def share(self) -> float:
        """Return the share that was rejected."""
        return self.rejected / self.parts

    @property
    def outside(self) -> bool:
        """Say whether something other than chance was at work."""
        return not self.low <= self.share <= self.high


@dataclass(frozen=True, slots=True)
class ShiftChart:
    """Shifts in the order of time. `centre` is the share of all, `spread` how much more they vary than by chance."""

    points: tuple[ShiftPoint, ...]
    centre: float | None
    spread: float


def shift_chart(session: Session, wanted: RollupFilter, plan: ShiftPlan) -> ShiftChart:
    """Return the p-chart of the parts that fit; parts without a score and hours without parts are in no shift of it."""
    decided = RollupRow.passed + RollupRow.rejected
    query = (
        select(
            RollupRow.hour, RollupRow.shift, RollupRow.artifact_digest, func.sum(decided), func.sum(RollupRow.rejected)
        )
        .where(*wanted.conditions(RollupRow))
        .group_by(RollupRow.hour, RollupRow.shift, RollupRow.artifact_digest)
    )
    counts: defaultdict[tuple[datetime, str], list[int]] = defaultdict(lambda: [0, 0])
    models: defaultdict[tuple[datetime, str], dict[str, int]] = defaultdict(dict)
    for hour, shift, digest, parts, rejected in session.execute(query):
        key = (_begin_of(plan, hour, shift), shift)
        counts[key][0] += int(parts)
        counts[key][1] += int(rejected)
        if digest:
            models[key][digest] = models[key].get(digest, 0) + int(parts)
    held = [(key, parts, rejected) for key, (parts, rejected) in sorted(counts.items()) if parts]
    if not held:
        return ShiftChart((), None, 1.0)
    limits = control_limits([rejected for *_, rejected in held], [parts for _, parts, _ in held])
    points = tuple(
        ShiftPoint(*key, parts, rejected, low, high, _most(models[key]))
        for (key, parts, rejected), low, high in zip(held, limits.low, limits.high, strict=True)
    )
    return ShiftChart(points, limits.centre, limits.spread)


def _begin_of(plan: ShiftPlan, hour: datetime, shift: str) -> datetime:
    """Return when the shift of that name began which the hour belongs to; its day, where the plan has no such shift."""
    hour = hour.astimezone(UTC)
    for moment in (hour, hour + HOUR - _LAST):
        span = plan.span_at(moment)
        if span is not None and span.name == shift:
            return span.begins
    return hour.replace(hour=0)


def _most(models: dict[str, int]) -> str | None:
    return max(models, key=lambda digest: (models[digest], digest)) if models else None
