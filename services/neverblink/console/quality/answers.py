"""What the page of figures asks the records, in one look at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from sqlalchemy.orm import Session

from neverblink.plant.shifts import ShiftPlan
from neverblink.records.questions.figures import Figures, figures
from neverblink.records.questions.lots import within_lot
from neverblink.records.questions.pareto import Pareto, pareto
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.proof.changes import Change, SlotChange, drift_alerts_raised, slot_changes
from neverblink.records.questions.proof.shift_chart import ShiftChart, shift_chart
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.questions.yields import YieldBy, YieldOf, yields

MOST_WORDS = 8
MOST_ROWS = 7


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of a period; `slots` and `alerts` are what changed on its one line, empty of several lines."""

    figures: Figures
    proof: Proof
    chart: ShiftChart
    defects: Pareto
    reasons: Pareto
    yields: dict[YieldBy, tuple[YieldOf, ...]]
    slots: tuple[SlotChange, ...]
    alerts: tuple[Change, ...]


def quality_of(
    session: Session, wanted: RollupFilter, plan: ShiftPlan, zone: tzinfo, now: datetime, tables: Sequence[YieldBy]
) -> Quality:
    """Return what is known of the parts that fit."""
    proof = proof_of(session, wanted)
    wanted = within_lot(session, wanted)
    slots, alerts = changes_in(session, wanted, now)
    return Quality(
        figures=figures(session, wanted),
        proof=proof,
        chart=shift_chart(session, wanted, plan),
        defects=pareto(session, "defects", wanted, decision="reject", limit=MOST_WORDS),
        reasons=pareto(session, "reasons", wanted, limit=MOST_WORDS),
        yields={by: yields(session, by, wanted, zone=zone, limit=MOST_ROWS) for by in tables},
        slots=slots,
        alerts=alerts,
    )


def changes_in(
    session: Session, wanted: RollupFilter, now: datetime
) -> tuple[tuple[SlotChange, ...], tuple[Change, ...]]:
    """Return which models and thresholds changed on the one line of a filter, and which drift alerts were raised."""
    if wanted.lines is None or len(wanted.lines) != 1:
        return (), ()
    (line,), until = wanted.lines, wanted.until or now + timedelta(hours=1)
    since = wanted.since or until - timedelta(days=366)
    slots = tuple(one for one in slot_changes(session, line, since, until) if one.kind != "shadow")
    return slots, tuple(drift_alerts_raised(session, line, since, until))
