"""A week of a site: each line's figures beside those of the week before, what changed, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from neverblink.plant.shifts import ShiftPlan
from neverblink.records.questions.pareto import Pareto, pareto
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.proof.changes import Change, changes_of
from neverblink.records.questions.proof.estimates import Exactness
from neverblink.records.questions.proof.next_steps import next_steps
from neverblink.records.questions.proof.shift_chart import ShiftChart, shift_chart
from neverblink.records.questions.rollup_filter import RollupFilter

_WEEK = timedelta(days=7)
MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class LineWeek:
    """One line's week. `before` are the figures of the week before it."""

    line: str
    proof: Proof
    before: Proof
    chart: ShiftChart
    defects: Pareto
    changes: tuple[Change, ...]
    next_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weekly:
    """A week of a site, from Monday's midnight to the next in the plant's zone, or as far as it has come."""

    site: str
    week: str
    since: datetime
    until: datetime
    asked: datetime
    zone: str
    product: str | None
    lines: tuple[LineWeek, ...]


def week_of(day: date, zone: str) -> tuple[datetime, datetime]:
    """Return the begin and the end of the week that a day is in."""
    monday = day - timedelta(days=day.weekday())
    begin, end = (datetime.combine(one, time(), ZoneInfo(zone)) for one in (monday, monday + _WEEK))
    return begin, end


def weekly_of(
    session: Session,
    site: str,
    lines: Sequence[str],
    day: date,
    plan: ShiftPlan,
    zone: str,
    now: datetime,
    *,
    product: str | None = None,
    exactness: Exactness | None = None,
) -> Weekly:
    """Return the week that a day is in, of these lines; a line without parts in it is left out."""
    since, until = week_of(day, zone)
    before = week_of(day - _WEEK, zone)
    found = []
    for line in lines:
        wanted = RollupFilter((line,), None, product, None, since, until)
        proof = proof_of(session, wanted, exactness)
        if not proof.parts:
            continue
        earlier = proof_of(session, RollupFilter((line,), None, product, None, *before), exactness)
        chart = shift_chart(session, wanted, plan)
        changes = changes_of(session, line, since, until)
        defects = pareto(session, "defects", wanted, decision="reject", limit=MOST_WORDS)
        steps = next_steps(line, proof, earlier, chart, changes)
        found.append(LineWeek(line, proof, earlier, chart, defects, changes, steps))
    year, week, _ = since.isocalendar()
    return Weekly(site, f"{year}-W{week:02d}", since, until, now, zone, product, tuple(found))
