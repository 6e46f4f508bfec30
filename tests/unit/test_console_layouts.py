"""The console's database of an earlier layout goes on: nothing in it is lost, and what is new is there."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from console_desk import MORNING, PASSWORD, SYSTEM, Console, plant_in
from sqlalchemy import Connection, Engine, create_engine, inspect, select, text

from neverblink.console.access import audit
from neverblink.console.access.accounts import accounts, make_account, set_password
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.layout import STEPS
from neverblink.console.access.layouts import first
from neverblink.console.access.passwords import hashed
from neverblink.console.access.roles import Role, Roles
from neverblink.console.access.tables import AuditRow, ConsoleTable, LayoutRow

LAYOUT_1 = {
    "console_layout": ["layout"],
    "accounts": [
        "key", "name", "password", "one_time_until", "roles", "wall", "active", "made", "made_by", "changed",
    ],
    "sessions": ["digest", "account", "csrf", "made", "seen", "until", "locked", "address", "agent"],
    "preferences": ["account", "name", "value"],
    "tokens": ["name", "digest", "scopes", "lines", "made", "made_by", "until"],
    "audit": ["number", "at", "who", "address", "action", "subject", "meaning", "detail", "previous", "hash"],
}  # fmt: skip
"""As it was released."""


def tables_of(connection: Connection) -> dict[str, Any]:
    """Return what there is, in words that can be compared: columns with kind and emptiness, keys, indexes."""
    seen = inspect(connection)
    return {
        name: {
            "columns": {one["name"]: (str(one["type"]), one["nullable"]) for one in seen.get_columns(name)},
            "key": seen.get_pk_constraint(name)["constrained_columns"],
            "indexes": sorted((one["name"], one["column_names"], one["unique"]) for one in seen.get_indexes(name)),
        }
        for name in seen.get_table_names()
    }


def check_steps(engine: Engine) -> None:
    with engine.begin() as connection:
        for step in STEPS:
            step(connection)
        made = tables_of(connection)
    with engine.begin() as connection:
        ConsoleTable.metadata.drop_all(connection)
        ConsoleTable.metadata.create_all(connection)
        assert made == tables_of(connection)


def layout_1(url: str) -> None:
    """Make a database as the program of layout 1 left it: one account, one entry of the audit."""
    engine = create_engine(url)
    with engine.begin() as connection:
        first.bring(connection)
        connection.execute(text("INSERT INTO console_layout (layout) VALUES (1)"))
        insert = text(
            "INSERT INTO accounts (key, name, password, roles, wall, active, made, made_by, changed)"
            " VALUES ('ann', 'Ann', :password, :roles, :no, :yes, :at, 'admin', :at)"
        )
        values = {"password": hashed(PASSWORD), "roles": '{"*": "engineer"}', "no": False, "yes": True, "at": MORNING}
        connection.execute(insert, values)
        audit.note(connection, MORNING, SYSTEM, "account.make", "Ann")
    engine.dispose()


def test_the_first_step_still_makes_the_layout_that_was_released(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'console.db'}")
    with engine.begin() as connection:
        first.bring(connection)
        assert {name: list(found["columns"]) for name, found in tables_of(connection).items()} == LAYOUT_1
    engine.dispose()


def test_all_steps_make_the_tables_that_the_program_asks(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'console.db'}")
    check_steps(engine)
    engine.dispose()


@pytest.mark.plant
def test_all_steps_make_the_tables_that_the_program_asks_in_postgresql(postgresql: str) -> None:
    engine = create_engine(postgresql)
    check_steps(engine)
    engine.dispose()


async def check_goes_on(console: Console) -> None:
    with console.access.reading() as connection:
        assert connection.scalar(select(LayoutRow.layout)) == len(STEPS)
        [ann] = accounts(connection)
        assert (ann.name, ann.roles.words(), ann.issuer) == ("Ann", {"*": "engineer"}, None)
        assert connection.scalar(select(AuditRow.who)) == SYSTEM.who
    answer = await console.browser().sign_in("ann")
    assert answer.status_code == 303
    with console.access.reading() as connection:
        last = audit.verify(connection)
    assert last is not None
    assert last.number == 2


@pytest.mark.usefixtures("quick_hashing")
async def test_a_database_of_layout_1_keeps_accounts_and_audit_and_people_sign_in(tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    layout_1(plant.console.database)
    async with Console(plant) as console:
        await check_goes_on(console)


@pytest.mark.plant
@pytest.mark.usefixtures("quick_hashing")
async def test_so_does_one_in_postgresql(postgresql: str, tmp_path: Path) -> None:
    layout_1(postgresql)
    async with Console(plant_in(tmp_path, database=postgresql)) as console:
        await check_goes_on(console)


def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'console.db'}"
    layout_1(url)

    def broken(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE accounts ADD COLUMN half TEXT"))
        connection.execute(text("nonsense"))

    monkeypatch.setattr("neverblink.console.access.layout.STEPS", (first.bring, broken))
    with pytest.raises(Exception, match="nonsense"):
        AccessDatabase(url)
    monkeypatch.undo()
    with closing(AccessDatabase(url)) as access, access.writing() as connection:
        assert "half" not in tables_of(connection)["accounts"]["columns"]
        made = make_account(connection, "bob", Roles({"*": Role.VIEWER}), SYSTEM, MORNING)
        set_password(connection, made.account, hashed(PASSWORD), SYSTEM, MORNING)
