"""For how long lines were on hold and in bypass, from what people and PLCs said of them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink.events.hold import BYPASS, PLC, RELEASED
from neverblink.records.part_tables import HoldRow

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class TimeHeld:
    """Seconds of a period, of several lines together.

    `bypass_s` is None unless the PLC of each line has said from the period's begin on whether its gate is in bypass.
    """

    hold_s: float
    bypass_s: float | None


def time_held(session: Session, lines: Collection[str], since: datetime, until: datetime) -> TimeHeld:
    """Return for how long these lines were on hold and in bypass from `since` to `until`."""
    query = select(HoldRow).where(HoldRow.line.in_(sorted(lines)), HoldRow.at < until)
    said: dict[tuple[str, str], list[HoldRow]] = defaultdict(list)
    for row in session.scalars(query.order_by(HoldRow.at, HoldRow.recorded, HoldRow.id)):
        said[row.line, row.source].append(row)
    hold_s, bypass_s, known = 0.0, 0.0, bool(lines)
    for line in lines:
        held = [
            span
            for (name, _), rows in said.items()
            if name == line
            for span in _spans(rows, until, lambda state: state not in (BYPASS, RELEASED))
        ]
        hold_s += _length(held, since)
        plc = said.get((line, PLC), [])
        known = known and bool(plc) and plc[0].at <= since
        bypass_s += _length(_spans(plc, until, lambda state: state == BYPASS), since)
    return TimeHeld(hold_s, bypass_s if known else None)


def _spans(rows: Sequence[HoldRow], until: datetime, counts: Callable[[str], bool]) -> Iterable[Span]:
    """Yield the spans of one side's word that count; what it said last holds on."""
    ends = [*(later.at for _, later in pairwise(rows)), until]
    return [(row.at, end) for row, end in zip(rows, ends, strict=False) if counts(row.state)]


def _length(spans: Iterable[Span], since: datetime) -> float:
    """Return the seconds that the spans cover together, from `since` on."""
    total, reached = timedelta(0), since
    for begin, end in sorted(spans):
        if end > reached:
            total += end - max(begin, reached)
            reached = end
    return total.total_seconds()
