"""The tables of events, and how an event becomes rows of them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from neverblink.events import (
    Actuation,
    Alarm,
    Challenge,
    Claim,
    ContextChange,
    DeadLetter,
    DriftReport,
    Event,
    Hold,
    ModelSlots,
    Review,
    ShadowVerdict,
    Verdict,
)
from neverblink.events.parts import Quality, Tracking
from neverblink.records.columns import IdentityColumns, Table, TraceColumn
from neverblink.records.part_tables import AlarmRow, ChallengeRow, ClaimRow, ContextRow, HoldRow, ModelChangeRow

SCHEMA_VERSION = 6
"""The layout of tables that this program writes; `migrations` leads to it from layout 3."""


class LedgerVersion(Table):
    """Which layout of the tables this database has: one row."""

    __tablename__ = "ledger_version"

    version: Mapped[int] = mapped_column(primary_key=True)


class RevisionRow(Table):
    """Which of Alembic's revisions made this database: one row."""

    __tablename__ = "alembic_version"

    version_num: Mapped[str] = mapped_column(String(32), primary_key=True)


class _ScoredRow(IdentityColumns, TraceColumn):
    """The columns of everything that a scorer says about a frame. The frame's place is where its topic held it."""

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    frame_id: Mapped[str]
    line: Mapped[str]
    station: Mapped[str]
    product: Mapped[str]
    part: Mapped[str]
    seq: Mapped[int]
    epoch: Mapped[int | None]
    number: Mapped[int | None]
    decision: Mapped[str]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    score: Mapped[float | None]
    threshold: Mapped[float | None]
    ratio: Mapped[float | None]
    artifact_name: Mapped[str | None]
    artifact_version: Mapped[str | None]
    artifact_digest: Mapped[str | None]
    brightness: Mapped[float | None]
    contrast: Mapped[float | None]
    sharpness: Mapped[float | None]
    saturation: Mapped[float | None]
    captured: Mapped[datetime]
    published: Mapped[datetime | None]
    received: Mapped[datetime | None]
    batched: Mapped[datetime | None]
    scored: Mapped[datetime | None]
    emitted: Mapped[datetime | None]
    deadline: Mapped[datetime]
    late: Mapped[bool]
    holdout: Mapped[bool]
    challenge: Mapped[bool]
    holdout_share: Mapped[float | None]
    reference: Mapped[str | None] = mapped_column(String(64))
    unsure: Mapped[bool]
    frame_partition: Mapped[int | None]
    frame_offset: Mapped[int | None]
    recorded: Mapped[datetime] = mapped_column(index=True)


class VerdictRow(_ScoredRow, Table):
    """The one decision about a frame. `judgement` is what people's answers about it come to.

    Of a rejected part `audit_share` is with what share people are asked to judge its like, None where all of them are,
    and `audited` whether they are asked to judge this one. `regions` are the scores of the model's named regions, None
    where it has none.
    """

    __tablename__ = "verdicts"
    __table_args__ = (
        Index("verdicts_line_captured", "line", "captured"),
        Index("verdicts_tracking", "line", "epoch", "number"),
        Index("verdicts_part_id", "part_id"),
    )

    part_id: Mapped[int | None]
    audit_share: Mapped[float | None]
    audited: Mapped[bool] = mapped_column(server_default=true())
    judgement: Mapped[str | None] = mapped_column(String(16))
    evidence: Mapped[list[Any]]
    regions: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))


class ShadowVerdictRow(_ScoredRow, Table):
    """A score that did not act."""

    __tablename__ = "shadow_verdicts"
    __table_args__ = (Index("shadow_verdicts_frame", "frame_id"),)

    cause: Mapped[str]
    defects: Mapped[list[Any]]


class DefectRow(Table):
    """One region of a verdict that does not look right."""

    __tablename__ = "defects"

    verdict_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    taxonomy: Mapped[str | None]
    x: Mapped[int]
    y: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    area_px: Mapped[int]
    area_mm2: Mapped[float | None]
    confidence: Mapped[float | None]
    peak: Mapped[float | None]
    source: Mapped[str | None]
    seen_by: Mapped[list[Any]]
    region: Mapped[str | None] = mapped_column(String(64))


class ActuationRow(IdentityColumns, TraceColumn, Table):
    """What the PLC was told about a part, or what its gate did with it."""

    __tablename__ = "actuations"
    __table_args__ = (
        Index("actuations_tracking", "line", "epoch", "number", "stage"),
        Index("actuations_line_at", "line", "at"),
        Index("actuations_part_id", "part_id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    part_id: Mapped[int | None]
    line: Mapped[str]
    part: Mapped[str | None]
    epoch: Mapped[int]
    number: Mapped[int]
    stage: Mapped[str]
    verdicts: Mapped[list[Any]]
    decision: Mapped[str | None]
    code: Mapped[int | None]
    outcome: Mapped[str | None]
    gate: Mapped[str | None]
    at: Mapped[datetime]
    deadline: Mapped[datetime | None]
    slack_ms: Mapped[float | None]
    trigger_to_told_ms: Mapped[float | None]
    attempts: Mapped[int]
    incident: Mapped[bool]
    detail: Mapped[str | None]
    recorded: Mapped[datetime]


SECOND_LOOK = "round = 'second'"


class ReviewRow(IdentityColumns, TraceColumn, Table):
    """A person's word on a verdict; which count, says `records.review_state`.

    `counted` is false where the reviewer was not on the plant file's list when the ledger kept it.
    """

    __tablename__ = "reviews"
    __table_args__ = (
        Index("reviews_verdict_at", "verdict", "at"),
        Index("reviews_reviewer_at", "reviewer", "at"),
        Index("reviews_second_looks", "at", sqlite_where=text(SECOND_LOOK), postgresql_where=text(SECOND_LOOK)),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    verdict: Mapped[str]
    frame_id: Mapped[str]
    line: Mapped[str]
    station: Mapped[str]
    product: Mapped[str]
    part: Mapped[str]
    judgement: Mapped[str]
    defect_type: Mapped[str | None]
    regions: Mapped[list[Any]]
    reviewer: Mapped[str]
    comment: Mapped[str | None]
    withdrawn: Mapped[bool] = mapped_column(server_default=false())
    round: Mapped[str | None]
    counted: Mapped[bool] = mapped_column(server_default=true())
    at: Mapped[datetime]
    recorded: Mapped[datetime]


class DriftReportRow(Table):
    """One closed window of a station; `report` is the whole event."""

    __tablename__ = "drift_reports"
    __table_args__ = (Index("drift_reports_station_closed", "line", "station", "closed"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    line: Mapped[str]
    station: Mapped[str]
    product: Mapped[str]
    artifact: Mapped[str]
    opened: Mapped[datetime]
    closed: Mapped[datetime]
    passed: Mapped[int]
    rejected: Mapped[int]
    state: Mapped[str]
    report: Mapped[dict[str, Any]]
    recorded: Mapped[datetime]


class DriftAlertRow(Table):
    """One stage of an alert (raised, escalated, cleared), with the report that told it."""

    __tablename__ = "drift_alerts"
    __table_args__ = (Index("drift_alerts_station_at", "line", "station", "at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    stage: Mapped[str] = mapped_column(String(32), primary_key=True)
    report: Mapped[str]
    line: Mapped[str]
    station: Mapped[str]
    product: Mapped[str]
    artifact: Mapped[str]
    signal: Mapped[str]
    severity: Mapped[str]
    since: Mapped[datetime]
    raised: Mapped[datetime]
    at: Mapped[datetime]
    expected: Mapped[float]
    found: Mapped[float]
    level: Mapped[float]
    change: Mapped[str]
    cause: Mapped[str]
    next_step: Mapped[str]


class DeadLetterRow(Table):
    """Where a poison record came from and why it could not be read. Its bytes stay on the topic."""

    __tablename__ = "dead_letters"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    topic: Mapped[str]
    partition: Mapped[int]
    offset: Mapped[int]
    record_key: Mapped[str]
    service: Mapped[str]
    why: Mapped[str]
    at: Mapped[datetime]
    recorded: Mapped[datetime]


Row = dict[str, Any]

# What a column holds where the event has no such field.
_ABSENT: Row = {"withdrawn": False, "counted": True, "audited": True}

KEPT: tuple[type[Event], ...] = (
    Verdict, ShadowVerdict, Actuation, Review, DriftReport, DeadLetter, Claim, ContextChange, Challenge,
    Alarm, ModelSlots, Hold,
)  # fmt: skip
"""The events that the ledger keeps."""


def row_of(event: Event, recorded: datetime, trace_id: str | None = None) -> tuple[type[Table], Row]:
    """Return the table of an event and its row. Raises TypeError for an event that is not in KEPT."""
    fields = event.model_dump()
    match event:
        case Verdict():
            table: type[Table] = VerdictRow
            regions = [region.model_dump(mode="json") for region in event.regions]
            fields |= _scored(event) | {"evidence": list(event.evidence), "regions": regions or None}
        case ShadowVerdict():
            table = ShadowVerdictRow
            fields |= _scored(event) | {"defects": [defect.model_dump(mode="json") for defect in event.defects]}
        case Actuation():
            table = ActuationRow
            fields |= _tracking(event.tracking) | {"verdicts": list(event.verdicts)}
        case Review():
            table = ReviewRow
            fields |= {"regions": [box.model_dump(mode="json") for box in event.regions]}
        case Claim():
            table = ClaimRow
        case DriftReport():
            table = DriftReportRow
            fields |= {"report": event.model_dump(mode="json")}
        case ContextChange():
            table = ContextRow
            fields |= _context(event)
        case ModelSlots():
            table = ModelChangeRow
            fields |= _slots(event)
        case Challenge():
            table = ChallengeRow
        case Hold():
            table = HoldRow
        case Alarm():
            table = AlarmRow
            fields |= {"sent": recorded}
        case DeadLetter():
            table = DeadLetterRow
            fields |= {"record_key": event.recordkey}
        case _:
            raise TypeError(f"the ledger does not keep {type(event).__name__}")
    fields |= _identity(fields.get("identity")) | {"recorded": recorded, "trace_id": trace_id}
    # An event's newer optional fields have no column until a new layout gives them one, and a row's own number is
    # the database's to give.
    columns = [column.name for column in table.__table__.columns if column.autoincrement is not True]
    return table, {name: fields.get(name, _ABSENT.get(name)) for name in columns}


def defect_rows(verdict: Verdict) -> Iterator[Row]:
    """Yield a verdict's defects as rows, in their order."""
    for position, defect in enumerate(verdict.defects):
        yield {
            "verdict_id": verdict.id,
            "position": position,
            **defect.model_dump(exclude={"bbox"}, mode="json"),
            **defect.bbox.model_dump(),
        }


def alert_rows(report: DriftReport) -> Iterator[Row]:
    """Yield a report's alerts as rows, in their order."""
    for alert in report.alerts:
        place = {"report": report.id, "line": report.line, "station": report.station, "product": report.product}
        yield {**place, **alert.model_dump(exclude={"stage", "severity"}), "stage": alert.stage.value} | {
            "severity": alert.severity.value
        }


def _scored(event: Verdict | ShadowVerdict) -> Row:
    artifact = event.artifact
    return {
        **_tracking(event.tracking),
        "artifact_name": artifact.name if artifact else None,
        "artifact_version": artifact.version if artifact else None,
        "artifact_digest": artifact.digest if artifact else None,
        **{name: getattr(event.quality, name, None) for name in Quality.model_fields},
        **event.times.model_dump(),
    }


def _identity(identity: Row | None) -> Row:
    """Return what an event says of its part's identity. SQL takes `order` for a word of its own."""
    if identity is None:
        return {}
    names = {"order_no" if name == "order" else name: value for name, value in identity.items()}
    return {**names, "attributes": names["attributes"] or None}


def _slots(event: ModelSlots) -> Row:
    slots = (("active", event.active), ("shadow", event.shadow))
    return {name: slot and slot.model_dump(mode="json", exclude_none=True) for name, slot in slots}


def _context(event: ContextChange) -> Row:
    values, first = event.values, event.values.from_part
    return {
        "context": values.model_dump(mode="json", exclude_defaults=True),
        "valid_from": values.since,
        "valid_epoch": first.epoch if first else None,
        "valid_number": first.number if first else None,
    }


def _tracking(tracking: Tracking | None) -> Row:
    return {
        "epoch": tracking.epoch if tracking else None,
        "number": tracking.number if tracking else None,
    }
