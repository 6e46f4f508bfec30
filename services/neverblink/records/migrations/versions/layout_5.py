"""Lines on hold and in bypass: who said so, from when on."""

import sqlalchemy as sa
from alembic import op

from neverblink.records.migrations.column_kinds import INSTANT, TEXT, optional, required

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a table. No row of an event is changed."""
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
    op.execute("UPDATE ledger_version SET version = 5")
