"""Which layout of tables a database has, and how it comes to today's.

A layout has a number for people and a revision for Alembic. Databases from before Alembic say their number in
`ledger_version`; layout 3 is where the revisions begin.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, select, text

from neverblink.records.columns import WRITES
from neverblink.records.tables import SCHEMA_VERSION, DriftAlertRow, LedgerVersion

LAYOUTS = {"0001": 3, "0002": 4, "0003": 5, "0004": 6}
"""Layout number by Alembic's revision."""
FIRST = "0001"
HEAD = "0004"

WAIT_FOR_OTHERS_S = 600.0
_LOOK_EVERY_S = 1.0
_LOCK = 0x6E65766572  # "never": one number for this program among a PostgreSQL database's advisory locks

Tell = Callable[[str], None]


class LayoutError(Exception):
    """A layout that this program neither writes nor can change into its own; `Database` says which and what to do."""


def layout_of(connection: Connection) -> int | None:
    """Return the layout's number, None where there are no tables of ours. Raises LayoutError for an unknown one."""
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if revision is not None and revision not in LAYOUTS:
            raise LayoutError(f"table layout {str(revision)[:40]!r}")
    if LedgerVersion.__tablename__ not in tables:
        return None
    layout: int | None = connection.scalar(select(LedgerVersion.version))
    return layout


def steps_from(layout: int | None) -> list[str]:
    """Return in words what `migrate` would do to a database of that layout, one sentence a revision."""
    return [
        f"layout {LAYOUTS[script.revision]}: {(script.doc or '').strip()}"
        for script in reversed(list(_scripts().walk_revisions()))
        if layout is None or LAYOUTS[script.revision] > layout
    ]


def migrate(engine: Engine, tell: Tell) -> None:
    """Bring a database to today's layout: one transaction, one program at a time; whole or not at all.

    `tell` is given a sentence a step. Raises LayoutError when it cannot be done, SQLAlchemy's errors when the
    database is at fault.
    """
    give_up = time.monotonic() + WAIT_FOR_OTHERS_S
    while not _tried(engine, tell):
        if time.monotonic() > give_up:
            raise LayoutError(f"older tables, which another program has been changing for {WAIT_FOR_OTHERS_S:.0f} s")
        tell("another program is changing its tables; waiting for it")
        time.sleep(_LOOK_EVERY_S)


def _tried(engine: Engine, tell: Tell) -> bool:
    """Migrate unless another program does; return whether the layout is today's."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
                return False
            connection.execute(text("SET LOCAL statement_timeout = 0"))  # an index of five million rows takes minutes
        layout = layout_of(connection)
        if layout == SCHEMA_VERSION:
            return True
        if layout is not None and layout < LAYOUTS[FIRST]:
            raise LayoutError(f"table layout {layout}, from which no way leads on,")
        if layout is not None and layout > SCHEMA_VERSION:
            raise LayoutError(f"table layout {layout}")
        _upgrade(connection, layout, tell)
    return True


def _upgrade(connection: Connection, layout: int | None, tell: Tell) -> None:
    scripts = _scripts()
    migration = MigrationContext.configure(connection)
    if layout == LAYOUTS[FIRST] and not migration.get_current_heads():
        if not inspect(connection).has_table(DriftAlertRow.__tablename__):
            with Operations.context(migration):
                scripts.get_revision(FIRST).module.drift_alerts()
        migration.stamp(scripts, FIRST)

    def wanted(revision: Any, _: object) -> Any:
        return scripts._upgrade_revs(HEAD, revision)

    def told(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
        if layout is not None:
            tell(f"its tables have layout {LAYOUTS[step.up_revision_id]} now: {step.up_revision.doc}")

    with EnvironmentContext(Config(), scripts, fn=wanted) as environment:
        environment.configure(connection=connection, on_version_apply=told)
        environment.run_migrations()


def _scripts() -> ScriptDirectory:
    folder = Path(__file__).parent / "migrations"
    return ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])
