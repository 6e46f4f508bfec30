"""Parts, what is counted of them, the evidence store, claims and contexts; the events' new columns."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from neverblink.records.migrations.column_kinds import (
    INSTANT,
    INTEGER,
    NUMBER,
    ROW_NUMBER,
    STRUCTURE,
    TEXT,
    TRUTH,
    optional,
    required,
)

revision = "0002"
down_revision = "0001"

_INDEXES = (
    ("actuations_part_id", "actuations", ("part_id",)),
    ("alarms_alarm", "alarms", ("alarm",)),
    ("alarms_line_at", "alarms", ("line", "at")),
    ("challenges_line_expires", "challenges", ("line", "expires")),
    ("claims_until", "claims", ("until",)),
    ("claims_verdict", "claims", ("verdict", "place")),
    ("contexts_line_at", "contexts", ("line", "at")),
    ("evidence_files_captured", "evidence_files", ("deleted", "captured")),
    ("evidence_files_digest", "evidence_files", ("digest",)),
    ("evidence_files_verdict", "evidence_files", ("verdict_id",)),
    ("evidence_wanted_next", "evidence_wanted", ("lost", "line", "urgency", "captured")),
    ("evidence_wanted_verdict", "evidence_wanted", ("verdict_id",)),
    ("part_defects_part_id", "part_defects", ("part_id",)),
    ("model_changes_line_at", "model_changes", ("line", "at")),
    ("parts_carrier_triggered", "parts", ("carrier", "triggered")),
    ("parts_line_part", "parts", ("line", "part")),
    ("parts_line_triggered", "parts", ("line", "triggered", "id")),
    ("parts_lot_triggered", "parts", ("lot", "triggered")),
    ("parts_order_triggered", "parts", ("order_no", "triggered")),
    ("parts_product_triggered", "parts", ("product", "triggered", "id")),
    ("parts_revision", "parts", ("revision",)),
    ("parts_serial", "parts", ("serial",)),
    ("parts_tracking", "parts", ("line", "epoch", "number")),
    ("parts_triggered", "parts", ("triggered", "id")),
    ("review_queue_line", "review_queue", ("line", "severity", "captured", "place")),
    ("review_queue_line_product", "review_queue", ("line", "product", "severity", "captured", "place")),
    ("review_queue_product", "review_queue", ("product", "severity", "captured", "place")),
    ("review_queue_station", "review_queue", ("line", "station", "severity", "captured", "place")),
    ("review_queue_waiting", "review_queue", ("severity", "captured", "place")),
    ("reviews_reviewer_at", "reviews", ("reviewer", "at")),
    ("rollups_line_hour", "rollups", ("line", "hour")),
    ("rollups_place", "rollups", ("line", "station", "product", "hour")),
    ("shadow_verdicts_frame", "shadow_verdicts", ("frame_id",)),
    ("verdicts_part_id", "verdicts", ("part_id",)),
    ("word_rollups_line_hour", "word_rollups", ("line", "hour")),
)

_OF_THE_FEW = (
    ("parts_decision_triggered", ("decision",), "decision <> 'pass'"),
    ("parts_judgement_triggered", ("judgement",), "judgement IS NOT NULL"),
    ("parts_line_challenge", ("line",), "challenge"),
    ("parts_line_decision", ("line", "decision"), "decision <> 'pass'"),
    ("parts_line_holdout", ("line",), "holdout"),
    ("parts_product_decision", ("product", "decision"), "decision <> 'pass'"),
    ("parts_reason_triggered", ("reason",), "reason IS NOT NULL"),
)


def upgrade() -> None:
    """Add columns and tables. No row of an event is changed."""
    _new_columns()
    _parts()
    _rollups()
    _beside_parts()
    _reviewing()
    _challenges()
    for name, table, columns in _INDEXES:
        op.create_index(name, table, list(columns))
    for name, columns, which in _OF_THE_FEW:
        where = sa.text(which)
        op.create_index(name, "parts", [*columns, "triggered", "id"], sqlite_where=where, postgresql_where=where)
    op.execute("UPDATE ledger_version SET version = 4")


def _identity() -> "list[sa.Column[Any]]":
    return [
        *optional(sa.String(128), "order_no", "lot", "serial", "recipe", "carrier"),
        *optional(STRUCTURE, "attributes"),
        *optional(sa.String(32), "trace_id"),
    ]


def _proof() -> "list[sa.Column[Any]]":
    return [*optional(NUMBER, "holdout_share"), *optional(sa.String(64), "reference")]


def _audit() -> "list[sa.Column[Any]]":
    audited: sa.Column[bool] = sa.Column("audited", TRUTH, nullable=False, server_default=sa.true())
    return [*optional(NUMBER, "audit_share"), audited]


def _new_columns() -> None:
    withdrawn: sa.Column[bool] = sa.Column("withdrawn", TRUTH, nullable=False, server_default=sa.false())
    counted: sa.Column[bool] = sa.Column("counted", TRUTH, nullable=False, server_default=sa.true())
    for table, columns in {
        "actuations": optional(INTEGER, "part_id"),
        "reviews": [withdrawn, counted, *optional(TEXT, "round")],
        "shadow_verdicts": [*optional(INTEGER, "frame_partition", "frame_offset"), *_proof()],
        "verdicts": [
            *_proof(),
            *_audit(),
            *optional(INTEGER, "part_id", "frame_partition", "frame_offset"),
            *optional(sa.String(16), "judgement"),
        ],
    }.items():
        for column in (*columns, *_identity()):
            op.add_column(table, column)


def _parts() -> None:
    op.create_table(
        "parts",
        *required(ROW_NUMBER, "id"),
        *required(sa.String(64), "line"),
        *optional(sa.String(64), "product"),
        *optional(INTEGER, "epoch", "number"),
        *optional(TEXT, "part"),
        *required(INSTANT, "triggered", "opened", "closed"),
        *required(TEXT, "shift"),
        *optional(sa.String(16), "decision"),
        *optional(TEXT, "reason"),
        *required(TRUTH, "late", "unsure", "holdout", "challenge"),
        *_proof(),
        *_audit(),
        *optional(NUMBER, "ratio"),
        *required(INTEGER, "stations"),
        *optional(TEXT, "artifact_digest"),
        *optional(sa.String(16), "told_outcome"),
        *optional(INSTANT, "told_at"),
        *optional(INTEGER, "told_code"),
        *optional(NUMBER, "slack_ms", "trigger_to_told_ms"),
        *optional(sa.String(16), "gate"),
        *optional(INSTANT, "gate_at"),
        *required(TRUTH, "incident"),
        *optional(sa.String(16), "judgement"),
        *optional(INSTANT, "reviewed_at"),
        *required(INSTANT, "changed"),
        sa.Column("revision", INTEGER, nullable=False, server_default="0"),
        *_identity(),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "part_defects",
        *required(TEXT, "type"),
        *required(INSTANT, "triggered"),
        *required(INTEGER, "part_id"),
        sa.PrimaryKeyConstraint("type", "triggered", "part_id"),
        sqlite_with_rowid=False,
    )
    last = op.create_table(
        "last_revision", *required(ROW_NUMBER, "id"), *required(INTEGER, "revision"), sa.PrimaryKeyConstraint("id")
    )
    op.bulk_insert(last, [{"id": 1, "revision": 0}])


_ROLLUP_KEY = ("shift", "line", "station", "product", "artifact_digest", "lot")
_COUNTS = (
    "parts", "passed", "rejected", "unscored", "late", "unsure", "holdouts", "challenges", "told_confirmed",
    "told_late", "told_unknown", "told_failed", "gate_passed", "gate_rejected", "gate_fail_safe", "gate_stale",
    "gate_confirm_fail", "escaped", "lost", "reviewed", "judged_normal", "judged_defect", "judged_inconclusive",
    "false_rejects", "escapes", "passes_judged", "rejects_judged",
)  # fmt: skip


def _rollups() -> None:
    op.create_table(
        "rollups",
        *required(INSTANT, "hour"),
        *required(TEXT, *_ROLLUP_KEY),
        *required(INTEGER, *_COUNTS),
        sa.PrimaryKeyConstraint("hour", *_ROLLUP_KEY),
    )
    op.create_table(
        "word_rollups",
        *required(INSTANT, "hour"),
        *required(TEXT, *_ROLLUP_KEY),
        *required(sa.String(16), "kind", "decision"),
        *required(TEXT, "word"),
        *required(INTEGER, "count"),
        sa.PrimaryKeyConstraint("hour", *_ROLLUP_KEY, "kind", "decision", "word"),
    )


def _beside_parts() -> None:
    op.create_table(
        "evidence_files",
        *required(sa.String(64), "id"),
        *required(TEXT, "frame_id", "verdict_id", "line", "station", "product"),
        *required(sa.String(16), "kind"),
        *required(TEXT, "digest"),
        *required(INTEGER, "bytes"),
        *required(TEXT, "content_type", "why"),
        *required(INSTANT, "captured", "kept"),
        *optional(INSTANT, "deleted"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "evidence_wanted",
        *required(sa.String(64), "id"),
        *required(TEXT, "frame_id", "verdict_id", "line", "station", "product", "why"),
        *required(INTEGER, "urgency"),
        *required(INSTANT, "captured"),
        *optional(INTEGER, "frame_partition", "frame_offset"),
        *optional(TEXT, "lost"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "contexts",
        *required(sa.String(64), "id"),
        *required(TEXT, "line"),
        *required(STRUCTURE, "context"),
        *optional(INSTANT, "valid_from"),
        *optional(INTEGER, "valid_epoch", "valid_number"),
        *required(TEXT, "by"),
        *required(INSTANT, "at", "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "model_changes",
        *required(sa.String(64), "id", "line", "station", "product"),
        *optional(STRUCTURE, "active", "shadow"),
        *required(TEXT, "by"),
        *optional(TEXT, "why"),
        *required(INSTANT, "at", "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ledger_state",
        *required(sa.String(64), "name"),
        *required(STRUCTURE, "value"),
        *required(INSTANT, "at"),
        sa.PrimaryKeyConstraint("name"),
    )


def _reviewing() -> None:
    op.create_table(
        "claims",
        *required(ROW_NUMBER, "place"),
        *required(sa.String(64), "id"),
        *required(TEXT, "verdict", "line", "station", "reviewer"),
        *required(INSTANT, "at", "until"),
        *required(TRUTH, "released"),
        *required(INSTANT, "recorded"),
        sa.PrimaryKeyConstraint("place"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "review_queue",
        *required(ROW_NUMBER, "place"),
        *required(sa.String(64), "verdict_id", "line", "station", "product"),
        *required(INSTANT, "captured"),
        *required(INTEGER, "severity"),
        *required(sa.String(16), "wants"),
        *required(TEXT, "answered_by"),
        sa.PrimaryKeyConstraint("place"),
        sqlite_autoincrement=True,
    )
    op.create_index("claims_id", "claims", ["id"], unique=True)
    op.create_index("review_queue_verdict", "review_queue", ["verdict_id"], unique=True)


def _challenges() -> None:
    op.create_table(
        "challenges",
        *required(sa.String(64), "id", "line"),
        *optional(sa.String(64), "station"),
        *required(sa.String(64), "reference"),
        *required(TEXT, "by"),
        *required(INSTANT, "at", "expires"),
        *optional(INTEGER, "epoch", "number"),
        *required(INSTANT, "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "alarms",
        *required(sa.String(64), "id", "alarm", "line"),
        *optional(sa.String(64), "station"),
        *required(sa.String(64), "kind", "stage", "severity"),
        *required(INSTANT, "since", "at"),
        *required(STRUCTURE, "subject"),
        *required(TEXT, "what", "cause", "next_step"),
        *optional(INSTANT, "sent"),
        *required(INSTANT, "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
