"""Named regions of a part: the one that a defect lies in, and what each of a verdict's scored."""

import sqlalchemy as sa
from alembic import op

from neverblink.records.migrations.column_kinds import STRUCTURE, optional

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add two columns. No row of an event is changed."""
    _regions()
    op.execute("UPDATE ledger_version SET version = 6")


def _regions() -> None:
    for column in optional(STRUCTURE, "regions"):
        op.add_column("verdicts", column)
    for column in optional(sa.String(64), "region"):
        op.add_column("defects", column)
