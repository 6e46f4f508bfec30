"""Layout 2: whose account is a login provider's, when who sits there was last asked who it is, and alarms."""

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

_TABLES = MetaData()
"""Tables that layout 1 has not."""

_INSTANT = DateTime(timezone=True)
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

Table(
    "alarms",
    _TABLES,
    Column("number", _NUMBER, primary_key=True),
    Column("tag", String(200), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("line", String(64)),
    Column("station", String(64)),
    Column("about", Text, nullable=False),
    Column("causes", JSON, nullable=False),
    Column("acknowledged", Boolean, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("rounds", BigInteger, nullable=False),
    Column("shelved_until", _INSTANT),
    Column("since", _INSTANT, nullable=False),
    Column("returned", _INSTANT),
    Column("seen_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("next_step", Text, nullable=False),
    Column("given", JSON, nullable=False),
    Column("standing", Boolean, nullable=False),
    Index("alarms_tag", "tag", unique=True),
    Index("alarms_standing", "standing"),
)
Table(
    "alarm_steps",
    _TABLES,
    Column("number", _NUMBER, primary_key=True),
    Column("alarm", BigInteger, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("line", String(64)),
    Column("stage", String(16), nullable=False),
    Column("cause", Text),
    Column("calls", Boolean, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("alarm_steps_alarm", "alarm", "number"),
    Index("alarm_steps_at", "at"),
    Index("alarm_steps_cause", "cause"),
)


def bring(connection: Connection) -> None:
    """Make layout 2 of layout 1."""
    change = Operations(MigrationContext.configure(connection))
    change.add_column("accounts", Column("issuer", String(255)))
    change.add_column("accounts", Column("subject", String(255)))
    change.create_index("accounts_subject", "accounts", ["issuer", "subject"], unique=True)
    change.add_column("sessions", Column("proven", _INSTANT))
    _TABLES.create_all(connection)
