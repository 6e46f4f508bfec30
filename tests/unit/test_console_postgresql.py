"""The console's own database in PostgreSQL: the same accounts, sessions and chain as in SQLite."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_desk import SYSTEM, Console, plant_in, quick_hashes

from neverblink.console.access import audit
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.roles import Role

pytestmark = pytest.mark.plant


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


async def test_accounts_sessions_and_audit_are_the_same_in_postgresql(postgresql: str, tmp_path: Path) -> None:
    async with Console(plant_in(tmp_path, database=postgresql)) as console:
        console.account("root", Role.ADMINISTRATOR)
        browser = console.browser()
        await browser.sign_in("root")
        await browser.get("/accounts")
        made = await browser.post("/accounts", {"name": "ann", "role:line-1": "viewer", "meaning": "colleague"})
        assert 'class="secret"' in made.text
        console.later(minutes=20)
        assert (await browser.http.get("/accounts")).headers["location"].startswith("/unlock")
        other = AccessDatabase(postgresql)  # a second process that writes at the same time
        writes = [
            access.change(lambda c, n=number: audit.note(c, console.now, SYSTEM, "test", str(n)))  # type: ignore[misc]
            for number in range(20)
            for access in (console.access, other)
        ]
        await asyncio.gather(*writes)
        with other.reading() as connection:
            last = audit.verify(connection)
        other.close()
        assert last is not None
        assert last.number >= 43
