"""Where a lot lies in time: counts are kept by the hour, and only parts are found by their lot."""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink.records.part_tables import PartRow
from neverblink.records.questions.rollup_filter import HOUR, RollupFilter

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def within_lot(session: Session, wanted: RollupFilter) -> RollupFilter:
    """Return the filter within the hours in which parts of its lot came; without a lot, as it is.

    What is counted is the same, but no other hour is looked through.
    """
    if wanted.lot is None:
        return wanted
    ends = [
        session.scalar(select(PartRow.triggered).where(PartRow.lot == wanted.lot).order_by(order).limit(1))
        for order in (PartRow.triggered, PartRow.triggered.desc())
    ]
    first, last = ends
    if first is None or last is None:
        return replace(wanted, since=_NEVER, until=_NEVER)
    lot = RollupFilter(since=first, until=last + HOUR).in_hours()
    since = lot.since if wanted.since is None else max(wanted.since, first)
    until = lot.until if wanted.until is None else min(wanted.until, last + HOUR)
    return replace(wanted, since=since, until=until)
