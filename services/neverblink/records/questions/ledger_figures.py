"""Questions to the ledger. Each returns frozen rows, so a table, a page and a test read the same."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from neverblink.events import Decision, GateAction
from neverblink.events.actuation import HELD_CODE
from neverblink.records.tables import (
    ActuationRow,
    DeadLetterRow,
    DefectRow,
    DriftAlertRow,
    DriftReportRow,
    ReviewRow,
    ShadowVerdictRow,
    VerdictRow,
)

Grouping = Literal["line", "station", "product"]

_GROUPS: dict[Grouping, tuple[InstrumentedAttribute[str], ...]] = {
    "line": (VerdictRow.line,),
    "station": (VerdictRow.line, VerdictRow.station),
    "product": (VerdictRow.product,),
}


@dataclass(frozen=True, slots=True)
class Yield:
    """Verdicts of one group. `good_share` is passed / verdicts."""

    group: str
    verdicts: int
    passed: int
    rejected: int
    unscored: int
    late: int

    @property
    def good_share(self) -> float:
        """Return the share of passed verdicts."""
        return self.passed / self.verdicts if self.verdicts else math.nan


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How often a decision was taken for a reason."""

    decision: str
    reason: str | None
    count: int


@dataclass(frozen=True, slots=True)
class ParetoRow:
    """One defect type, most frequent first. `cumulative` is the share of this type and all before it."""

    type: str
    count: int
    share: float
    cumulative: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Trigger to confirmed in the PLC, per line, in milliseconds (nearest rank), and the least time left."""

    line: str
    count: int
    p50_ms: float
    p99_ms: float
    least_slack_ms: float | None


@dataclass(frozen=True, slots=True)
class GateCount:
    """What a line's gate did."""

    line: str
    action: str
    count: int


@dataclass(frozen=True, slots=True)
class GateAgreement:
    """The gate's actions against our verdicts, per line, over parts of which both are known.

    `escaped`: a part that had no clean pass went through. `lost`: a part that passed at every station was
    thrown out. `lost_fail_safe`: those of `lost` that the PLC rejected by itself, for want of a word in time. Parts
    that were rejected because their line was on hold are not compared.
    """

    line: str
    parts: int
    agreed: int
    escaped: int
    lost: int
    lost_fail_safe: int


@dataclass(frozen=True, slots=True)
class Unheeded:
    """Verdicts of a line that had no effect, because their part was told without them.

    `superseded`: another station had rejected the part before. `late`: the deadline had passed, or the line was held.
    """

    line: str
    superseded: int
    late: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Rows of each table."""

    verdicts: int
    shadow_verdicts: int
    actuations: int
    reviews: int
    drift_reports: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class LatestVerdict:
    """One verdict for the eye, with what the PLC was told and what the gate did, where known."""

    id: str
    recorded: datetime
    captured: datetime
    line: str
    station: str
    product: str
    part: str
    decision: str
    reason: str | None
    ratio: float | None
    outcome: str | None
    gate: str | None
    trigger_to_told_ms: float | None


def totals(session: Session) -> Totals:
    """Return how much the ledger holds."""
    return Totals(
        *(
            session.scalar(select(func.count()).select_from(table)) or 0
            for table in (
                VerdictRow, ShadowVerdictRow, ActuationRow, ReviewRow, DriftReportRow, DeadLetterRow,
            )
        )
    )  # fmt: skip


def yield_by(session: Session, group: Grouping, since: datetime | None = None) -> list[Yield]:
    """Return the yield per line, station (`line/station`) or product of parts captured since then."""
    columns = _GROUPS[group]
    query = (
        select(
            *columns,
            func.count(),
            *(_number_of(VerdictRow.decision == decision) for decision in Decision),
            _number_of(VerdictRow.late.is_(True)),
        )
        .group_by(*columns)
        .order_by(*columns)
    )
    rows: list[list[Any]] = [list(row) for row in session.execute(query.where(_captured_since(since)))]
    width = len(columns)
    return [Yield("/".join(row[:width]), *row[width:]) for row in rows]


def reasons(session: Session, since: datetime | None = None) -> list[ReasonCount]:
    """Return how often each decision was taken for each reason, most frequent first."""
    count = func.count()
    query = (
        select(VerdictRow.decision, VerdictRow.reason, count)
        .group_by(VerdictRow.decision, VerdictRow.reason)
        .order_by(count.desc(), VerdictRow.decision, VerdictRow.reason)
    )
    return [ReasonCount(*row) for row in session.execute(query.where(_captured_since(since)))]


def defect_pareto(session: Session, since: datetime | None = None) -> list[ParetoRow]:
    """Return the defects of rejected parts by type, most frequent first."""
    count = func.count()
    query = (
        select(DefectRow.type, count)
        .join(VerdictRow, VerdictRow.id == DefectRow.verdict_id)
        .where(VerdictRow.decision == Decision.REJECT)
        .group_by(DefectRow.type)
        .order_by(count.desc(), DefectRow.type)
    )
    found = session.execute(query.where(_captured_since(since))).all()
    all_defects = sum(number for _, number in found)
    rows, so_far = [], 0
    for kind, number in found:
        so_far += number
        rows.append(ParetoRow(kind, number, number / all_defects, so_far / all_defects))
    return rows


def latency(session: Session, since: datetime | None = None) -> list[Latency]:
    """Return how long it took from trigger to told, per line."""
    told = and_(ActuationRow.stage == "told", ActuationRow.trigger_to_told_ms.is_not(None), _acted_since(since))
    query = (
        select(ActuationRow.line, func.count(), func.min(ActuationRow.slack_ms))
        .where(told)
        .group_by(ActuationRow.line)
        .order_by(ActuationRow.line)
    )
    found = []
    for line, count, slack in session.execute(query).all():
        ordered = (
            select(ActuationRow.trigger_to_told_ms)
            .where(told, ActuationRow.line == line)
            .order_by(ActuationRow.trigger_to_told_ms)
        )
        p50, p99 = (_rank(session, ordered, count, share) for share in (0.5, 0.99))
        found.append(Latency(line, count, p50, p99, slack))
    return found


def gate_actions(session: Session, since: datetime | None = None) -> list[GateCount]:
    """Return what each line's gate did, how often; fail-safe and stale are the PLC's own rejects."""
    query = (
        select(ActuationRow.line, ActuationRow.gate, func.count())
        .where(ActuationRow.stage == "gate", ActuationRow.gate.is_not(None), _acted_since(since))
        .group_by(ActuationRow.line, ActuationRow.gate)
        .order_by(ActuationRow.line, ActuationRow.gate)
    )
    return [GateCount(line, str(gate), count) for line, gate, count in session.execute(query)]


def gate_agreement(session: Session, since: datetime | None = None) -> list[GateAgreement]:
    """Compare the gate with the verdicts, part by part: a number that was counted anew is of another part."""
    bad = _number_of(VerdictRow.decision != Decision.PASS).label("bad")
    parts = (
        select(VerdictRow.part_id, bad)
        .where(VerdictRow.part_id.is_not(None), VerdictRow.epoch.is_not(None))
        .group_by(VerdictRow.part_id)
        .subquery()
    )
    passed = ActuationRow.gate == GateAction.PASSED
    clean = parts.c.bad == 0
    by_itself = ActuationRow.gate.in_((GateAction.FAIL_SAFE, GateAction.STALE))
    query = (
        select(
            ActuationRow.line,
            func.count(),
            _number_of(passed == clean),
            _number_of(and_(passed, ~clean)),
            _number_of(and_(~passed, clean)),
            _number_of(and_(by_itself, clean)),
        )
        .join(parts, parts.c.part_id == ActuationRow.part_id)
        .where(ActuationRow.stage == "gate", ActuationRow.gate.is_not(None), _acted_since(since))
        .where(or_(passed, ActuationRow.code.is_(None), ActuationRow.code != HELD_CODE))
        .group_by(ActuationRow.line)
        .order_by(ActuationRow.line)
    )
    return [GateAgreement(*row) for row in session.execute(query)]


def unheeded(session: Session, since: datetime | None = None) -> list[Unheeded]:
    """Return how many verdicts the PLC heard nothing of, per line; only lines that have such."""
    spoken = (
        select(VerdictRow.part_id, func.count().label("number"))
        .where(VerdictRow.part_id.is_not(None), VerdictRow.epoch.is_not(None), _captured_since(since))
        .group_by(VerdictRow.part_id)
        .subquery()
    )
    more = spoken.c.number - func.json_array_length(ActuationRow.verdicts)
    rejected = and_(ActuationRow.decision == Decision.REJECT, func.json_array_length(ActuationRow.verdicts) > 0)
    query = (
        select(ActuationRow.line, func.sum(case((rejected, more), else_=0)), func.sum(case((rejected, 0), else_=more)))
        .join(spoken, spoken.c.part_id == ActuationRow.part_id)
        .where(ActuationRow.stage == "told", more > 0)
        .group_by(ActuationRow.line)
        .order_by(ActuationRow.line)
    )
    return [Unheeded(line, int(superseded), int(late)) for line, superseded, late in session.execute(query)]


def drift_alerts(session: Session, since: datetime | None = None, *, line: str | None = None) -> list[DriftAlertRow]:
    """Return the stages of drift alerts since then, oldest first; of one line or of all."""
    query = select(DriftAlertRow).order_by(DriftAlertRow.at, DriftAlertRow.id, DriftAlertRow.stage)
    if since is not None:
        query = query.where(DriftAlertRow.at >= since)
    if line is not None:
        query = query.where(DriftAlertRow.line == line)
    return list(session.scalars(query))


def latest_verdicts(session: Session, limit: int, recorded_since: datetime | None = None) -> list[LatestVerdict]:
    """Return the last verdicts in the order they were recorded, oldest first."""
    told, gate = (select(ActuationRow).where(ActuationRow.stage == stage).subquery() for stage in ("told", "gate"))
    query = (
        select(
            VerdictRow.id, VerdictRow.recorded, VerdictRow.captured, VerdictRow.line, VerdictRow.station,
            VerdictRow.product, VerdictRow.part, VerdictRow.decision, VerdictRow.reason, VerdictRow.ratio,
            told.c.outcome, gate.c.gate, told.c.trigger_to_told_ms,
        )
        .outerjoin(told, _same_part(told.c))
        .outerjoin(gate, _same_part(gate.c))
        .order_by(VerdictRow.recorded.desc(), VerdictRow.captured.desc(), VerdictRow.id)
        .limit(limit)
    )  # fmt: skip
    if recorded_since is not None:
        query = query.where(VerdictRow.recorded >= recorded_since)
    rows: list[list[Any]] = [list(row) for row in session.execute(query)]
    return [LatestVerdict(*row) for row in reversed(rows)]


def _same_part(columns: Any) -> ColumnElement[bool]:
    same: ColumnElement[bool] = columns.part_id == VerdictRow.part_id
    return same


def _number_of(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _captured_since(since: datetime | None) -> ColumnElement[bool]:
    return VerdictRow.captured >= since if since is not None else true()


def _acted_since(since: datetime | None) -> ColumnElement[bool]:
    return ActuationRow.at >= since if since is not None else true()


def _rank(session: Session, ordered: "Select[float | None]", count: int, share: float) -> float:
    position = max(0, math.ceil(share * count) - 1)
    value = session.scalars(ordered.limit(1).offset(position)).one()
    assert value is not None
    return value
