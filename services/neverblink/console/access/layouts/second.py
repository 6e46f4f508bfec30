"""Layout 2: whose account is a login provider's, and when who sits there was last asked who it is."""

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection, DateTime, MetaData, String

_TABLES = MetaData()
"""Tables that layout 1 has not."""

_INSTANT = DateTime(timezone=True)


def bring(connection: Connection) -> None:
    """Make layout 2 of layout 1."""
    change = Operations(MigrationContext.configure(connection))
    change.add_column("accounts", Column("issuer", String(255)))
    change.add_column("accounts", Column("subject", String(255)))
    change.create_index("accounts_subject", "accounts", ["issuer", "subject"], unique=True)
    change.add_column("sessions", Column("proven", _INSTANT))
    _TABLES.create_all(connection)
