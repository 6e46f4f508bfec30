"""How many parts were good: by hour, shift, day, line, station, product, artifact or lot."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from neverblink.records.part_tables import RollupRow
from neverblink.records.questions.rollup_filter import RollupFilter

YieldBy = Literal["hour", "shift", "day", "line", "station", "product", "artifact", "lot"]
MOST_GROUPS = 10_000

_KEYS: dict[YieldBy, tuple[InstrumentedAttribute[Any], ...]] = {
    "hour": (RollupRow.hour,),
    "shift": (RollupRow.shift,),
    "day": (RollupRow.hour,),
    "line": (RollupRow.line,),
    "station": (RollupRow.line, RollupRow.station),
    "product": (RollupRow.product,),
    "artifact": (RollupRow.artifact_digest,),
    "lot": (RollupRow.lot,),
}
_COUNTS = (
    RollupRow.parts, RollupRow.passed, RollupRow.rejected, RollupRow.unscored, RollupRow.late, RollupRow.unsure,
)  # fmt: skip
_IN_TIME = ("hour", "shift", "day")


@dataclass(frozen=True, slots=True)
class YieldOf:
    """The parts of one group. `begins` is the first hour in it; `good_share` is passed / parts, None of no part."""

    group: str
    begins: datetime
    parts: int
    passed: int
    rejected: int
    unscored: int
    late: int
    unsure: int
    good_share: float | None


def yields(
    session: Session, by: YieldBy, wanted: RollupFilter, *, zone: tzinfo = UTC, limit: int = MOST_GROUPS
) -> tuple[YieldOf, ...]:
    """Return the yield of each group, at most `limit` of them.

    Hours, shifts and days come newest first, lots by their first hour, newest first, others by name. Days are those of
    `zone`. By station, and with a station in the filter, a station's verdicts are counted instead of whole parts.
    """
    keys = _KEYS[by]
    by_hour = by in ("hour", "day")
    first = RollupRow.hour if by_hour else func.min(RollupRow.hour)
    query = (
        select(first, *(func.sum(count) for count in _COUNTS), *(() if by_hour else keys))
        .where(*wanted.conditions(RollupRow, of_stations=by == "station"))
        .group_by(*keys)
    )
    newest_first = by in _IN_TIME or by == "lot"
    query = query.order_by(first.desc(), *keys) if newest_first else query.order_by(*keys)
    if by != "day":  # a day is put together of up to 25 hours
        query = query.limit(limit)
    width = 1 + len(_COUNTS)
    begins: dict[str, datetime] = {}
    sums: dict[str, list[int]] = {}
    for row in session.execute(query):
        group = _named(by, row[:1] if by_hour else row[width:], zone)
        counts: list[int] = [int(count) for count in list(row)[1:width]]
        if group not in sums and len(sums) == limit:
            break
        begins[group] = row[0]  # a later row of a day is an earlier hour
        held = sums.get(group, [0] * len(_COUNTS))
        sums[group] = [before + count for before, count in zip(held, counts, strict=True)]
    return tuple(
        YieldOf(
            group,
            begins[group],
            parts,
            passed,
            rejected,
            unscored,
            late,
            unsure,
            passed / parts if parts else None,
        )
        for group, (parts, passed, rejected, unscored, late, unsure) in sums.items()
    )


def _named(by: YieldBy, values: Any, zone: tzinfo) -> str:
    if by == "hour":
        return str(values[0].astimezone(zone).isoformat())
    if by == "day":
        return str(values[0].astimezone(zone).date().isoformat())
    return "/".join(values)
