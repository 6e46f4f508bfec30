"""Columns of a revision, in few words. A revision says by itself what it makes: today's tables may be others."""

from typing import Any

import sqlalchemy as sa

TEXT = sa.Text()
INTEGER = sa.BigInteger()
NUMBER: sa.Double[float] = sa.Double()
TRUTH = sa.Boolean()
INSTANT = sa.DateTime(timezone=True)
STRUCTURE = sa.JSON()
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

Kind = sa.types.TypeEngine[Any]


def required(kind: Kind, *names: str) -> list["sa.Column[Any]"]:
    """Return columns of one kind that always hold a value."""
    return [sa.Column(name, kind, nullable=False) for name in names]


def optional(kind: Kind, *names: str) -> list["sa.Column[Any]"]:
    """Return columns of one kind that may be null."""
    return [sa.Column(name, kind, nullable=True) for name in names]
