"""Layout 1: accounts, sessions, preferences, tokens and audit."""

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
_INSTANT = DateTime(timezone=True)

Table("console_layout", _TABLES, Column("layout", BigInteger, primary_key=True))
Table(
    "accounts",
    _TABLES,
    Column("key", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("password", Text, nullable=False),
    Column("one_time_until", _INSTANT),
    Column("roles", JSON, nullable=False),
    Column("wall", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("made", _INSTANT, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("changed", _INSTANT, nullable=False),
)
Table(
    "sessions",
    _TABLES,
    Column("digest", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("made", _INSTANT, nullable=False),
    Column("seen", _INSTANT, nullable=False),
    Column("until", _INSTANT, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(256), nullable=False),
    Index("sessions_account", "account"),
    Index("sessions_until", "until"),
)
Table(
    "preferences",
    _TABLES,
    Column("account", String(64), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("value", JSON, nullable=False),
)
Table(
    "tokens",
    _TABLES,
    Column("name", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("lines", JSON),
    Column("made", _INSTANT, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("until", _INSTANT),
    Index("tokens_digest", "digest", unique=True),
)
Table(
    "audit",
    _TABLES,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("who", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("meaning", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)


def bring(connection: Connection) -> None:
    """Make layout 1."""
    _TABLES.create_all(connection)
