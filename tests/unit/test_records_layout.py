"""A database of an older layout becomes one of today's: nothing lost, whole or not at all, and said."""

from functools import partial
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.plant import EXAMPLE
from neverblink.records.columns import Table
from neverblink.records.database import Database


def test_the_revisions_make_the_tables_that_the_program_writes(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    with database.session() as session:
        found = compare_metadata(MigrationContext.configure(session.connection()), Table.metadata)
    database.close()
    assert found == []


def test_a_migration_by_hand_says_what_it_would_do_and_does_it(tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(EXAMPLE)
    run = partial(CliRunner().invoke, app)
    would = run(["ledger", "migrate", "--plant", str(file), "--dry-run"])
    assert would.exit_code == 0
    assert "has no tables. It would be changed to" in would.stdout
    assert "layout 4: Parts" in would.stdout
    assert not (tmp_path / "ledger.db").exists()
    assert "Done" in run(["ledger", "migrate", "--plant", str(file)]).stdout
    assert "layout 4 already" in run(["ledger", "migrate", "--plant", str(file)]).stdout
