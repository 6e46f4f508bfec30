"""Lines on hold and in bypass: who said so, from when on; what proof is asked of a part without reading its row."""

import sqlalchemy as sa
from alembic import op

from neverblink.records.migrations.column_kinds import INSTANT, TEXT, TRUTH, optional, required

revision = "0003"
down_revision = "0002"

_NARROWED = ("product", "lot", "shift")
_WEIGHED = ("decision", "challenge", "unsure", "holdout", "holdout_share", "audited", "audit_share")
_COVERING = (
    ("parts_line_holdout", "holdout", (*_WEIGHED, *_NARROWED)),
    ("parts_line_challenge", "challenge", ("challenge", "reference", "decision", "unsure", *_NARROWED)),
    ("parts_line_judged", "judgement IS NOT NULL", ("judgement", "partly_judged", *_WEIGHED, *_NARROWED)),
    ("parts_line_audited", "audit_share IS NOT NULL", (*_WEIGHED, *_NARROWED)),
)


def upgrade() -> None:
    """Add a table, a column and indexes. No row of an event is changed."""
    _holds()
    _partly_judged()
    for name in ("parts_line_holdout", "parts_line_challenge"):
        op.drop_index(name, "parts")
    for name, which, read in _COVERING:
        columns = ["line", "triggered", "id", *read]
        op.create_index(name, "parts", columns, sqlite_where=sa.text(which), postgresql_where=sa.text(which))
    second = sa.text("round = 'second'")
    op.create_index("reviews_second_looks", "reviews", ["at"], sqlite_where=second, postgresql_where=second)
    op.execute("UPDATE ledger_version SET version = 5")


def _holds() -> None:
    op.create_table(
        "holds",
        *required(sa.String(64), "id", "line"),
        *required(sa.String(32), "source", "state"),
        *required(TEXT, "by"),
        *optional(TEXT, "why"),
        *required(INSTANT, "at", "recorded"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("holds_line_at", "holds", ["line", "at"])


def _partly_judged() -> None:
    op.add_column("parts", sa.Column("partly_judged", TRUTH, nullable=False, server_default=sa.false()))
    op.execute(
        "UPDATE parts SET partly_judged = true WHERE judgement IS NOT NULL AND EXISTS (SELECT 1 FROM verdicts"
        " WHERE verdicts.part_id = parts.id AND verdicts.judgement IS NULL AND (verdicts.decision = 'reject'"
        " OR (parts.decision = 'pass' AND (parts.holdout OR verdicts.unsure))))"
    )
