"""A database of an older layout becomes one of today's: nothing lost, whole or not at all, and said."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from kept_parts import events_of, made_parts
from sqlalchemy import Engine, MetaData, create_engine, insert, select, text
from ten_days import MONDAY, counted, shift_at, simulated_days, true_counts
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.events import Event, Review, Verdict
from neverblink.ledger.recount import build_some, recount, without_part
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE
from neverblink.records.columns import Table
from neverblink.records.database import Database, LedgerError
from neverblink.records.part_tables import PartRow
from neverblink.records.parts import PartRules
from neverblink.records.questions import ledger_figures
from neverblink.records.questions.part_story import story_of
from neverblink.records.tables import defect_rows, row_of


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
    assert "layout 6 already" in run(["ledger", "migrate", "--plant", str(file)]).stdout


LAYOUT_3 = Path(__file__).parent / "layout_3"


def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request, tmp_path)


def old_engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def old_ledger(url: str, events: Sequence[Event], *, without: str = "") -> None:
    """Write a ledger as the version of layout 3 did."""
    engine = old_engine(url)
    lite = engine.dialect.name == "sqlite"
    script = (LAYOUT_3 / f"{engine.dialect.name}.sql").read_text().split("\n", 1)[1]
    with engine.begin() as connection:
        for statement in script.split(";\n"):
            if statement.strip() and not (without and without in statement):
                connection.exec_driver_sql(statement)
        made = MetaData()
        made.reflect(connection)
        for event in events:
            table, row = row_of(event, MONDAY)
            rows = [(table.__tablename__, row)]
            if isinstance(event, Verdict):
                rows += [("defects", defect) for defect in defect_rows(event)]
            for name, values in rows:
                known = {column: values[column] for column in made.tables[name].columns.keys()}  # noqa: SIM118
                if lite:
                    known = {
                        column: value.replace(tzinfo=None) if isinstance(value, datetime) else value
                        for column, value in known.items()
                    }
                connection.execute(insert(made.tables[name]), known)
    engine.dispose()


def held(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return every row that a ledger of layout 3 held, by table."""
    engine = old_engine(url)
    columns = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\);", (LAYOUT_3 / "sqlite.sql").read_text(), flags=re.DOTALL)
    found = {}
    with engine.connect() as connection:
        for table, body in columns:
            names = [
                f'"{name}"' for name in re.findall(r'^ +"?(\w+)"? ', body, flags=re.MULTILINE) if name != "PRIMARY"
            ]
            if table != "ledger_version":
                rows = connection.execute(text(f"SELECT {', '.join(names)} FROM {table}"))
                found[table] = sorted(tuple(map(str, row)) for row in rows)
    engine.dispose()
    return found


@pytest.mark.parametrize("without", ["", "drift_alerts"], ids=["whole", "of before alerts"])
def test_a_ledger_of_the_version_before_loses_nothing_and_its_parts_are_counted(url: str, without: str) -> None:
    parts = simulated_days(7, days=3, parts_a_day=8, named=False)
    old_ledger(url, [event for part in parts for event in part.events if not withdrawn(event)], without=without)
    for part in parts:
        part.reviews = [review for review in part.reviews if not review.withdrawn]
    if not without:
        before = held(url)
    with pytest.raises(LedgerError, match=r"has table layout 3 and this program reads layout 6: .*ledger migrate"):
        Database(url, create=False)

    told: list[str] = []
    database = Database(url, create=True, tell=told.append)
    try:
        assert [step for step in told if "layout 4 now" in step]
        assert "layout 6 now" in told[-1]
        if not without:
            assert held(url) == before
        rules = PartRules(shift_at)
        while build_some(database, rules, MONDAY, most=7):
            pass
        assert without_part(database) == 0
        assert counted(database) == true_counts(parts)
        assert recount(database, rules, MONDAY, repair=False, tell=lambda _: None).is_exact
        with database.session() as session:
            verdicts = sum(len(part.verdicts) for part in parts)
            assert ledger_figures.totals(session).verdicts == verdicts
            assert sum(row.verdicts for row in ledger_figures.yield_by(session, "line")) == verdicts
    finally:
        database.close()


def withdrawn(event: Event) -> bool:
    """Say whether an event could not be written then."""
    return isinstance(event, Review) and event.withdrawn


def test_a_migration_that_is_killed_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    old_ledger(url, simulated_days(8, 1, 4)[0].events)
    before = held(url)
    program = (
        "import os, sys\n"
        "from neverblink.records.database import Database\n"
        "Database(sys.argv[1], create=True, tell=lambda _: os.kill(os.getpid(), 9))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, url], check=False, timeout=60)
    assert done.returncode == -9
    assert held(url) == before
    with pytest.raises(LedgerError, match="has table layout 3"):
        Database(url, create=False)
    Database(url, create=True).close()
    assert held(url) == before


def test_what_an_older_layout_has_no_way_from_is_refused_in_a_sentence(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    old_ledger(url, [])
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE ledger_version SET version = 2")
    with pytest.raises(
        LedgerError, match=r"table layout 2, from which no way leads on, and this program writes layout 6"
    ):
        Database(url, create=True)


_BACK_TO_5 = """
    ALTER TABLE verdicts DROP COLUMN regions;
    ALTER TABLE defects DROP COLUMN region;
    UPDATE ledger_version SET version = 5;
    UPDATE alembic_version SET version_num = '0003';
"""


def test_a_ledger_of_layout_5_keeps_its_verdicts_and_tells_of_named_regions_from_then_on(url: str) -> None:
    old, new = made_parts(2)
    database = Database(url, create=True)
    keep(database, list(events_of(old)), MONDAY, PartRules(shift_at))
    database.close()
    engine = old_engine(url)
    with engine.begin() as connection:
        for statement in filter(str.strip, _BACK_TO_5.split(";")):
            connection.exec_driver_sql(statement)
    engine.dispose()
    told: list[str] = []
    database = Database(url, create=True, tell=told.append)
    try:
        keep(database, list(events_of(new)), MONDAY, PartRules(shift_at))
        with database.session() as session:
            assert compare_metadata(MigrationContext.configure(session.connection()), Table.metadata) == []
            stories = [story_of(session, number) for number in session.scalars(select(PartRow.id).order_by(PartRow.id))]
    finally:
        database.close()
    named = [[region.name for one in story.verdicts for region in one.regions] for story in stories if story]
    assert named[0] == []
    assert set(named[1]) == {"label", "screw"}
    assert len(told) == 1
    assert "layout 6" in told[0]


_BACK_TO_4 = """
    DROP TABLE holds;
    DROP INDEX reviews_second_looks;
    DROP INDEX parts_line_judged;
    DROP INDEX parts_line_audited;
    DROP INDEX parts_line_holdout;
    DROP INDEX parts_line_challenge;
    ALTER TABLE parts DROP COLUMN partly_judged;
    CREATE INDEX parts_line_holdout ON parts (line, triggered, id) WHERE holdout;
    CREATE INDEX parts_line_challenge ON parts (line, triggered, id) WHERE challenge;
    UPDATE ledger_version SET version = 4;
    UPDATE alembic_version SET version_num = '0002';
"""


def test_a_ledger_of_layout_4_gets_holds_and_which_parts_people_judged_in_part(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    database = Database(url, create=True)
    for part in simulated_days(7, days=3, parts_a_day=16, named=False):
        keep(database, part.events, MONDAY, PartRules(shift_at))
    with database.session() as session:
        said = dict(session.execute(select(PartRow.id, PartRow.partly_judged)).all())
    database.close()
    assert set(said.values()) == {True, False}
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.executescript(_BACK_TO_5 + _BACK_TO_4)
    told: list[str] = []
    database = Database(url, create=True, tell=told.append)
    with database.session() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Table.metadata) == []
        assert dict(session.execute(select(PartRow.id, PartRow.partly_judged)).all()) == said
    database.close()
    assert [re.findall(r"layout \d", step) for step in told] == [["layout 5"], ["layout 6"]]
