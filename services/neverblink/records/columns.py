"""What every table of the records is made of."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String, Text, schema
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A row's own number, given by the database. SQLite counts only what it calls INTEGER."""

WRITES = "neverblink_writes"
"""The execution option of a connection whose transactions write: SQLite then takes its one lock at their begin."""


class Utc(TypeDecorator[datetime]):
    """An instant with a time zone. SQLite has no zones, so there it is kept as UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware instant into what the database keeps."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the database kept into an aware instant in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """A table of the ledger."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Utc,
        str: Text,
        int: BigInteger,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


def table_of(row: type[Table]) -> schema.Table:
    """Return the table of a row's class, for statements without objects."""
    return row.metadata.tables[row.__tablename__]


class IdentityColumns:
    """What the plant itself calls a part, as its event carried it."""

    order_no: Mapped[str | None] = mapped_column(String(128))
    lot: Mapped[str | None] = mapped_column(String(128))
    serial: Mapped[str | None] = mapped_column(String(128))
    recipe: Mapped[str | None] = mapped_column(String(128))
    carrier: Mapped[str | None] = mapped_column(String(128))
    attributes: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class TraceColumn:
    """Which trace told the event."""

    trace_id: Mapped[str | None] = mapped_column(String(32))
