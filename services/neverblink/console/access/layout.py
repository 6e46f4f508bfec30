"""Which layout the console's tables have, and how they come to today's: one step a layout, in one transaction."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select, text, update

from neverblink.console.access.layouts import first, second
from neverblink.console.access.tables import LayoutRow
from neverblink.errors import NeverblinkError

_LOCK = 0x636F6E736F6C65  # "console": one number for its migrations among a PostgreSQL database's advisory locks


class TablesError(NeverblinkError):
    """The tables are of another program, or of a later version of this one."""


STEPS: Sequence[Callable[[Connection], None]] = (first.bring, second.bring)
"""Step N leads from layout N to N + 1."""


def bring_to_today(connection: Connection) -> None:
    """Make or change the tables, within a transaction that writes. Raises TablesError."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    names = set(inspect(connection).get_table_names())
    if "ledger_version" in names:
        raise TablesError("is the ledger's database: the console keeps its accounts in one of its own")
    layout = 0
    if LayoutRow.__tablename__ in names:
        layout = connection.scalar(select(LayoutRow.layout)) or 0
    if layout > len(STEPS):
        raise TablesError(f"has layout {layout} and this program knows {len(STEPS)}: use the program that made it")
    for step in STEPS[layout:]:
        step(connection)
    if layout == 0:
        connection.execute(insert(LayoutRow).values(layout=len(STEPS)))
    elif layout < len(STEPS):
        connection.execute(update(LayoutRow).values(layout=len(STEPS)))
