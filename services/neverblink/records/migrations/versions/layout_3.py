"""The tables of events, as the version before parts wrote them."""

import sqlalchemy as sa
from alembic import op

from neverblink.records.migrations.column_kinds import (
    INSTANT,
    INTEGER,
    NUMBER,
    STRUCTURE,
    TEXT,
    TRUTH,
    optional,
    required,
)

revision = "0001"
down_revision = None

_INDEXES = (
    ("actuations_line_at", "actuations", ("line", "at")),
    ("actuations_tracking", "actuations", ("line", "epoch", "number", "stage")),
    ("drift_reports_station_closed", "drift_reports", ("line", "station", "closed")),
    ("reviews_verdict_at", "reviews", ("verdict", "at")),
    ("ix_shadow_verdicts_recorded", "shadow_verdicts", ("recorded",)),
    ("verdicts_line_captured", "verdicts", ("line", "captured")),
    ("ix_verdicts_recorded", "verdicts", ("recorded",)),
    ("verdicts_tracking", "verdicts", ("line", "epoch", "number")),
)


def upgrade() -> None:
    """Make the tables of an empty database."""
    _decisions()
    _gates_and_people()
    drift_alerts()
    for name, table, columns in _INDEXES:
        op.create_index(name, table, list(columns))
    version = op.create_table("ledger_version", *required(INTEGER, "version"), sa.PrimaryKeyConstraint("version"))
    op.bulk_insert(version, [{"version": 3}])


def drift_alerts() -> None:
    """Make the one table that some databases of layout 3 lack: it came without a new number."""
    op.create_table(
        "drift_alerts",
        *required(sa.String(64), "id"),
        *required(sa.String(32), "stage"),
        *required(TEXT, "report", "line", "station", "product", "artifact", "signal", "severity"),
        *required(INSTANT, "since", "raised", "at"),
        *required(NUMBER, "expected", "found", "level"),
        *required(TEXT, "change", "cause", "next_step"),
        sa.PrimaryKeyConstraint("id", "stage"),
    )
    op.create_index("drift_alerts_station_at", "drift_alerts", ["line", "station", "at"])


def _decisions() -> None:
    for table, own in (
        ("verdicts", required(STRUCTURE, "evidence")),
        ("shadow_verdicts", [*required(TEXT, "cause"), *required(STRUCTURE, "defects")]),
    ):
        op.create_table(
            table,
            *required(sa.String(64), "id"),
            *required(TEXT, "frame_id", "line", "station", "product", "part"),
            *required(INTEGER, "seq"),
            *optional(INTEGER, "epoch", "number"),
            *required(TEXT, "decision"),
            *optional(TEXT, "reason", "detail"),
            *optional(NUMBER, "score", "threshold", "ratio"),
            *optional(TEXT, "artifact_name", "artifact_version", "artifact_digest"),
            *optional(NUMBER, "brightness", "contrast", "sharpness", "saturation"),
            *required(INSTANT, "captured"),
            *optional(INSTANT, "published", "received", "batched", "scored", "emitted"),
            *required(INSTANT, "deadline"),
            *required(TRUTH, "late", "holdout", "challenge", "unsure"),
            *required(INSTANT, "recorded"),
            *own,
            sa.PrimaryKeyConstraint("id"),
        )
    op.create_table(
        "defects",
        *required(sa.String(64), "verdict_id"),
        *required(INTEGER, "position"),
        *required(TEXT, "type"),
        *optional(TEXT, "taxonomy"),
        *required(INTEGER, "x", "y", "width", "height", "area_px"),
        *optional(NUMBER, "area_mm2", "confidence", "peak"),
        *optional(TEXT, "source"),
        *required(STRUCTURE, "seen_by"),
        sa.PrimaryKeyConstraint("verdict_id", "position"),
    )


def _gates_and_people() -> None:
    op.create_table(
        "actuations",
        *required(sa.String(64), "id"),
        *required(TEXT, "line"),
        *optional(TEXT, "part"),
        *required(INTEGER, "epoch", "number"),
        *required(TEXT, "stage"),
        *required(STRUCTURE, "verdicts"),
        *optional(TEXT, "decision"),
        *optional(INTEGER, "code"),
        *optional(TEXT, "outcome", "gate"),
        *required(INSTANT, "at"),
        *optional(INSTANT, "deadline"),
        *optional(NUMBER, "slack_ms", "trigger_to_told_ms"),
        *required(INTEGER, "attempts"),
        *required(TRUTH, "incident"),
        *optional(TEXT, "detail"),
        *required(INSTANT, "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "reviews",
        *required(sa.String(64), "id"),
        *required(TEXT, "verdict", "frame_id", "line", "station", "product", "part", "judgement"),
        *optional(TEXT, "defect_type"),
        *required(STRUCTURE, "regions"),
        *required(TEXT, "reviewer"),
        *optional(TEXT, "comment"),
        *required(INSTANT, "at", "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "drift_reports",
        *required(sa.String(64), "id"),
        *required(TEXT, "line", "station", "product", "artifact"),
        *required(INSTANT, "opened", "closed"),
        *required(INTEGER, "passed", "rejected"),
        *required(TEXT, "state"),
        *required(STRUCTURE, "report"),
        *required(INSTANT, "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "dead_letters",
        *required(sa.String(64), "id"),
        *required(TEXT, "topic"),
        *required(INTEGER, "partition", "offset"),
        *required(TEXT, "record_key", "service", "why"),
        *required(INSTANT, "at", "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
