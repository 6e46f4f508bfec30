"""What an administrator changes, and what stays on record of it."""

import asyncio
import re
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from console_desk import PASSWORD, SYSTEM, Browser, Console, plant_in
from sqlalchemy import delete, update
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.console.access import audit
from neverblink.console.access.accounts import account_of, accounts
from neverblink.console.access.audit import AuditBrokenError
from neverblink.console.access.database import AccessDatabase, AccessError
from neverblink.console.access.roles import Role
from neverblink.console.access.tables import AuditRow, LayoutRow
from neverblink.plant import EXAMPLE
from neverblink.records.database import Database

pytestmark = pytest.mark.usefixtures("quick_hashing")


async def administrator(console: Console) -> Browser:
    console.account("root", Role.ADMINISTRATOR)
    browser = console.browser()
    await browser.sign_in("root")
    await browser.get("/accounts")
    return browser


def secret(page: str) -> str:
    found = re.search(r'class="secret">([^<]+)<', page)
    assert found is not None
    return found.group(1)


async def test_an_account_is_made_handed_over_and_works_within_its_line(console: Console) -> None:
    browser = await administrator(console)
    made = await browser.post("/accounts", {"name": "Ann", "role:line-1": "reviewer", "meaning": "new colleague"})
    password = secret(made.text)
    assert password not in (await browser.get("/accounts")).text
    ann = console.browser()
    await ann.sign_in("ann", password)
    await ann.post("/password", {"password": password, "new": PASSWORD, "again": PASSWORD})
    with console.access.reading() as connection:
        account = account_of(connection, "ANN")
        entries = [(one.who, one.action, one.subject, one.meaning) for one in audit.entries(connection)]
    assert account is not None
    assert account.roles.held == {"line-1": Role.REVIEWER}
    assert ("root", "account.make", "Ann", "new colleague") in entries
    assert ("Ann", "account.password", "Ann", "") in entries


NO_ACCOUNTS: list[tuple[dict[str, str], str]] = [
    ({"name": "ROOT", "role:*": "viewer"}, "there is an account ROOT already"),
    ({"name": "a/b", "role:*": "viewer"}, "is no name of an account"),
    ({"name": "ann"}, "needs a role"),
    ({"name": "ann", "role:*": "king"}, "there is no role king"),
    ({"name": "ann", "role:line-1": "administrator"}, "one of the whole plant"),
    ({"name": "ann", "role:*": "engineer", "wall": "1"}, "a viewer and no more"),
    ({"name": "x" * 65, "role:*": "viewer"}, "is no name of an account"),
    ({"name": "x" * 100, "role:*": "viewer"}, "longer than it may be"),
]


async def test_what_cannot_be_an_account_is_refused_in_a_sentence(console: Console) -> None:
    browser = await administrator(console)
    for fields, told in NO_ACCOUNTS:
        answer = await browser.post("/accounts", fields)
        assert (answer.status_code, told in answer.text) == (422, True), told


async def test_the_last_administrator_stays_one(console: Console) -> None:
    browser = await administrator(console)
    answer = await browser.post("/accounts/root", {"role:*": "viewer", "active": "1"})
    assert "last administrator" in answer.text
    answer = await browser.post("/accounts/root", {"role:*": "administrator"})
    assert "last administrator" in answer.text
    console.account("second", Role.ADMINISTRATOR)
    assert (await browser.post("/accounts/root", {"role:*": "viewer", "active": "1"})).status_code == 303


async def test_another_role_ends_the_sessions_that_had_the_old_one(console: Console) -> None:
    browser = await administrator(console)
    console.account("ann")
    ann = console.browser()
    await ann.sign_in("ann")
    await browser.post("/accounts/ann", {"role:*": "engineer", "active": "1"})
    assert (await ann.http.get("/password")).headers["location"].startswith("/sign-in")


async def test_where_the_plant_demands_it_a_change_is_signed_with_password_and_meaning(tmp_path: Path) -> None:
    async with Console(plant_in(tmp_path, sign_changes=True)) as console:
        browser = await administrator(console)
        wish = {"name": "ann", "role:*": "viewer"}
        assert "Say in a few words" in (await browser.post("/accounts", {**wish, "password": PASSWORD})).text
        wrong = await browser.post("/accounts", {**wish, "password": "wrong", "meaning": "colleague"})
        assert (wrong.status_code, "is wrong" in wrong.text) == (403, True)
        signed = await browser.post("/accounts", {**wish, "password": PASSWORD, "meaning": "colleague"})
        assert secret(signed.text)
        with console.access.reading() as connection:
            last = list(audit.entries(connection))[-1]
        assert (last.who, last.action, last.meaning) == ("root", "account.make", "colleague")
        assert last.at.startswith("2026-03-02T08:00:00")


async def test_what_people_type_is_shown_and_never_run(console: Console) -> None:
    browser = await administrator(console)
    evil = "<script>alert(1)</script>"
    await browser.post("/accounts", {"name": "ann", "role:*": "viewer", "meaning": evil})
    for path in ("/audit", "/accounts"):
        page = (await browser.get(path, **{"user-agent": evil})).text
        assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in (await browser.get("/audit")).text
    assert "<script>alert" not in (await browser.get(f"/accounts/{evil}")).text
    assert "<script>alert" not in (await browser.post("/accounts", {"name": evil, "role:*": "viewer"})).text


async def test_a_token_is_shown_once_and_taken_away(console: Console) -> None:
    browser = await administrator(console)
    wish = {"name": "board", "scope": "audit", "days": "30"}
    text = secret((await browser.post("/tokens", wish)).text)
    assert text not in (await browser.get("/tokens")).text
    reader = console.browser()
    assert (await reader.http.get("/api/v1/audit")).status_code == 401
    bearer = {"authorization": f"Bearer {text}"}
    read = await reader.http.get("/api/v1/audit", headers=bearer)
    assert orjson.loads(read.text.splitlines()[-1])["subject"] == "board"
    console.later(days=29)
    assert (await reader.http.get("/api/v1/audit", headers=bearer)).status_code == 200
    console.later(days=2)
    assert (await reader.http.get("/api/v1/audit", headers=bearer)).status_code == 401
    await browser.sign_in("root")
    await browser.get("/tokens")
    for fault, told in (
        ({**wish}, "a token board already"),
        ({"name": "x"}, "needs something"),
        ({"name": "x", "scope": "audit", "days": "99999"}, "1 to 3650 days"),
        ({"name": "x", "scope": "audit", "days": "-1"}, "a whole number"),
        ({"name": "x", "scope": "audit", "line": "line-1"}, "of the whole plant"),
    ):
        assert told in (await browser.post("/tokens", fault)).text
    await browser.get("/tokens")
    await browser.post("/tokens/remove", {"name": "board", "meaning": "no longer needed"})
    assert "There is none yet." in browser.seen


async def test_the_audit_is_exported_as_json_and_as_syslog(console: Console) -> None:
    browser = await administrator(console)
    lines = (await browser.http.get("/audit/export?as=json")).text.splitlines()
    told = [orjson.loads(line) for line in lines]
    assert [one["number"] for one in told] == list(range(1, len(told) + 1))
    messages = (await browser.http.get("/audit/export?as=syslog")).text.splitlines()
    assert len(messages) == len(told)
    shape = r'<109>1 \S+ \S+ neverblink-console - [\w.-]+ \[neverblink@32473( \w+="(\\.|[^"\\\]])*")+\]'
    assert all(re.fullmatch(shape, message) for message in messages)
    assert "as it was written" in (await browser.post("/audit/verify")).text


async def test_whatever_is_changed_cut_or_put_into_the_audit_is_found(console: Console) -> None:
    await administrator(console)
    with console.access.reading() as connection:
        end = audit.verify(connection)
    assert end is not None

    def broken(change: object, expected: str | None = None) -> str:
        with console.access.reading() as connection, connection.begin_nested() as undone:
            connection.execute(change)  # type: ignore[call-overload]
            with pytest.raises(AuditBrokenError) as caught:
                audit.verify(connection, expected)
            undone.rollback()
        return str(caught.value)

    assert "entry 2" in broken(update(AuditRow).where(AuditRow.number == 2).values(who="nobody"))
    assert "after entry 1 comes entry 3" in broken(delete(AuditRow).where(AuditRow.number == 2))
    cut = delete(AuditRow).where(AuditRow.number == end.number)
    assert "is not in it any more" in broken(cut, end.place)


async def test_entries_written_at_the_same_time_stand_one_after_another(console: Console) -> None:
    work = [
        console.access.change(lambda c, n=number: audit.note(c, console.now, SYSTEM, "test", str(n)))  # type: ignore[misc]
        for number in range(20)
    ]
    await asyncio.gather(*work)
    with console.access.reading() as connection:
        last = audit.verify(connection)
    assert last is not None
    assert last.number == 20


def test_the_ledgers_database_and_a_later_programs_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Database(url, create=True).close()
    with pytest.raises(AccessError, match="is the ledger's database"):
        AccessDatabase(url)
    own = f"sqlite:///{tmp_path / 'console.db'}"
    with closing(AccessDatabase(own)) as access, access.writing() as connection:
        connection.execute(update(LayoutRow).values(layout=99))
    with pytest.raises(AccessError, match="layout 99"):
        AccessDatabase(own)
    with pytest.raises(AccessError, match="no database URL"):
        AccessDatabase("nonsense")
    with pytest.raises(AccessError, match="mysql"):
        AccessDatabase("mysql://x/y")
    assert (tmp_path / "console.db").stat().st_mode & 0o077 == 0


def test_from_the_machine_itself_an_administrator_gets_back_in_and_the_audit_tells(tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(EXAMPLE)
    plant = ["--plant", str(tmp_path / "plant.yaml")]
    run = CliRunner().invoke
    password = run(app, ["console", "account", "root", "--why", "password lost", *plant]).stdout.strip()
    assert re.fullmatch(r"[a-z2-9]{5}(-[a-z2-9]{5}){3}", password)
    again = run(app, ["console", "account", "root", "--why", "lost again", *plant])
    assert again.exit_code == 0
    assert again.stdout.strip() != password
    with closing(AccessDatabase(f"sqlite:///{tmp_path / 'console.db'}")) as access, access.reading() as connection:
        assert [(one.name, one.roles.highest) for one in accounts(connection)] == [("root", Role.ADMINISTRATOR)]
    told = run(app, ["console", "audit", "verify", *plant]).stdout
    assert "every entry up to 3 is as it was written" in told
    place = told.split()[-1]
    assert run(app, ["console", "audit", "verify", "--expect", place, *plant]).exit_code == 0
    assert run(app, ["console", "audit", "verify", "--expect", f"3:{'0' * 64}", *plant]).exit_code != 0
    lines = run(app, ["console", "audit", "export", *plant]).stdout.splitlines()
    assert orjson.loads(lines[0])["meaning"] == "password lost"
    assert run(app, ["console", "audit", "export", "--as", "syslog", *plant]).stdout.startswith("<109>1 ")
