"""A console as its users meet it: the whole application in this process, its clock moved by hand."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from argon2 import PasswordHasher

from neverblink.console.access import passwords
from neverblink.console.access.accounts import change_account, make_account, set_password
from neverblink.console.access.attempts import Attempts
from neverblink.console.access.audit import Actor
from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.pace import Pace
from neverblink.console.access.passwords import Passwords, hashed
from neverblink.console.access.roles import Role, Roles
from neverblink.console.app import guarded
from neverblink.console.desk import Desk
from neverblink.console.health.services import Services
from neverblink.console.instruments import instruments
from neverblink.console.line.feed import Feed, LateRecords
from neverblink.console.line.live import Live
from neverblink.console.models.followed import FollowedModels
from neverblink.console.models.stock import ModelStock
from neverblink.console.runs.book import Runs
from neverblink.console.service import rules_of
from neverblink.http_serving.asking import Asking
from neverblink.plant import EXAMPLE, ConsoleSettings, Kafka, Plant, load_plant
from neverblink.records.evidence_store import EvidenceStore

MORNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
PASSWORD = "a long enough one"
HOST = "http://console"
SYSTEM = Actor("test", "here")


def plant_in(folder: Path, **console: Any) -> Plant:
    """Return the example's plant with its console set so."""
    (folder / "plant.yaml").write_text(EXAMPLE)
    plant = load_plant(folder / "plant.yaml")
    places = {"database": f"sqlite:///{folder / 'console.db'}", "work": folder / "work"}
    settings = ConsoleSettings.model_validate({**places, **console})
    return plant.model_copy(update={"console": settings, "kafka": Kafka()})


class Browser:
    """One person's browser: cookies of its own, forms filled from the page that was seen before."""

    def __init__(self, application: Any, address: str = "10.0.0.7") -> None:
        transport = httpx.ASGITransport(application, raise_app_exceptions=False, client=(address, 1234))
        self.http = httpx.AsyncClient(transport=transport, base_url=HOST)
        self.seen = ""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Open a page, following where it leads."""
        answer = await self.http.get(path, headers=headers, follow_redirects=True)
        self.seen = answer.text
        return answer

    async def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send a form of the page that was seen last; a redirect is not followed."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.seen)
        body = {"csrf": found.group(1) if found else "", **(fields or {})}
        answer = await self.http.post(path, data=body, headers={"sec-fetch-site": "same-origin", **headers})
        if answer.text:
            self.seen = answer.text
        return answer

    async def sign_in(self, name: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        """Sign in, and see the page that follows."""
        await self.get("/sign-in")
        answer = await self.post("/sign-in", {"name": name, "password": password, **more})
        if answer.status_code == 303:
            await self.get(answer.headers["location"])
        return answer


class Console:
    """The application over a database of its own; `now` is what its clock says."""

    def __init__(self, plant: Plant, **desk: Any) -> None:
        self.now = MORNING
        self.seconds = 0.0
        self.plant = plant
        self.access = AccessDatabase(plant.console.database)
        self.passwords = Passwords()
        self.records = LateRecords(plant.storage.ledger, answer_s=5.0, most=2)
        self.ask = Asking(self.records, 2)
        self.feed = Feed(plant, self.ask, lambda: self.now)
        self.stop = asyncio.Event()
        measured, store = instruments(), plant.records.evidence.store
        made: dict[str, Any] = {
            "pace": Pace(lambda: self.seconds), "plant": plant, "access": self.access, "passwords": self.passwords,
            "attempts": Attempts(lambda: self.seconds), "rules": rules_of(plant.console), "zone": UTC,
            "clock": lambda: self.now, "secret": b"s" * 32, "secure": False, "measured": measured,
            "ask": self.ask, "live": Live(self.feed, 2, lambda: self.now, measured), "stop": self.stop,
            "services": Services(lambda: self.now),
            "store": None if store is None else EvidenceStore(store),
            "runs": Runs(plant.console.work),
            "models": FollowedModels(plant), "stock": ModelStock(plant),
        }  # fmt: skip
        self.desk = Desk(**{**made, **desk})
        self.application = guarded(self.desk)
        self.browsers: list[Browser] = []

    def browser(self, address: str = "10.0.0.7") -> Browser:
        """Return a browser that nobody has signed in with."""
        self.browsers.append(Browser(self.application, address))
        return self.browsers[-1]

    def account(
        self, name: str, role: Role = Role.VIEWER, lines: tuple[str, ...] = ("*",), *, wall: bool = False
    ) -> None:
        """Make an account whose owner has chosen PASSWORD."""
        with self.access.writing() as connection:
            roles = Roles(dict.fromkeys(lines, role))
            made = make_account(connection, name, roles, SYSTEM, self.now, wall=wall)
            set_password(connection, made.account, hashed(PASSWORD), SYSTEM, self.now)

    def switch_off(self, name: str) -> None:
        """Let an account sign in no longer."""
        with self.access.writing() as connection:
            change_account(connection, name, Roles({"*": Role.VIEWER}), SYSTEM, self.now, wall=False, active=False)

    def later(self, **span: float) -> None:
        """Move both clocks on."""
        self.now += timedelta(**span)
        self.seconds += timedelta(**span).total_seconds()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for browser in self.browsers:
            await browser.http.aclose()
        self.ask.close()
        self.records.close()
        self.passwords.close()
        self.desk.stock.close()
        self.access.close()


@contextmanager
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Argon2id take its least work: what is tested is who gets in, not how long a guess takes."""
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    yield
