"""The console's own database in PostgreSQL: the same accounts, sessions and chain as in SQLite."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from console_desk import SYSTEM, Console, plant_in, quick_hashes
from kept_parts import NOON

from neverblink.console.access import audit
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.roles import Role
from neverblink.console.alarms.state import State
from neverblink.console.alarms.watching import AlarmWatch
from neverblink.events import Alarm
from neverblink.ledger.writing import keep
from neverblink.records.database import Database

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


def told(console: Console, alarm: str, stage: str, after_s: int) -> None:
    """Keep a stage of an alarm of line-1 in the records."""
    at = NOON + timedelta(seconds=after_s)
    values: dict[str, Any] = {
        "id": f"{alarm}-{stage}", "alarm": alarm, "line": "line-1", "kind": "challenge-missed", "stage": stage,
        "severity": "act", "since": NOON, "at": at, "subject": {"reference": alarm}, "what": f"{alarm} passed",
        "cause": "the threshold", "next_step": "stop the line",
    }  # fmt: skip
    database = Database(console.plant.storage.ledger, create=True)
    keep(database, [Alarm.model_validate(values)], NOON)
    database.close()


async def test_alarms_are_raised_acknowledged_shelved_and_counted_in_postgresql(
    postgresql: str, tmp_path: Path
) -> None:
    async with Console(plant_in(tmp_path, database=postgresql)) as console:
        console.now = NOON + timedelta(minutes=1)
        for alarm in ("r1", "r2"):
            told(console, alarm, "raised", 0)

        async def looked() -> dict[str, State]:
            watch = AlarmWatch(console.desk.alarms, console.access, console.feed, console.ask, lambda: console.now)
            await watch.look()
            return {one.about: one.state for one in console.desk.alarms.standing}

        assert await looked() == {"r1": State.UNACKNOWLEDGED, "r2": State.UNACKNOWLEDGED}
        number = {one.about: one.number for one in console.desk.alarms.standing}
        console.account("ann", Role.OPERATOR, ("*",))
        ann = console.browser()
        await ann.sign_in("ann")
        await ann.get("/alarms")
        assert (await ann.post(f"/alarms/{number['r1']}/acknowledge", {"rounds": "1"})).status_code == 303
        await ann.get(f"/alarms/{number['r2']}")
        fields = {"minutes": "30", "reason": "the belt is being mended"}
        assert (await ann.post(f"/alarms/{number['r2']}/shelve", fields)).status_code == 303
        expected = {"r1": State.ACKNOWLEDGED, "r2": State.SHELVED}
        assert await looked() == expected, "a console that begins anew knows what stood"
        assert "the belt is being mended" in (await ann.get("/alarms")).text
        assert "Acknowledged" in (await ann.get(f"/alarms/{number['r1']}")).text.replace("acknowledged", "Acknowledged")
        assert "reference part" in (await ann.get("/alarms/performance")).text
        told(console, "r1", "cleared", 30)
        assert await looked() == {"r2": State.SHELVED}
        console.later(minutes=31)
        assert await looked() == {"r2": State.UNACKNOWLEDGED}
