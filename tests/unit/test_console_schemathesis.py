"""schemathesis on every route of a console that listens, with an OpenAPI document made for it alone: never a 500."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from console_desk import Console, plant_in, quick_hashes
from console_routes import routes
from fastapi.openapi.utils import get_openapi
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from neverblink.console.access.roles import Role
from neverblink.records.database import Database
from rigs.served_console import listening

pytestmark = pytest.mark.plant

ROOM = Path(__file__).resolve().parents[2] / "services/neverblink/console"
NOT_TRIED = {"/sign-out", "/lock", "/unlock", "/live", "/runs/{run}/live", "/password", "/accounts/{name}"}
"""What ends the session that tries, or its account, or never ends itself."""


def described(console: Console, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return an OpenAPI document of all routes: the console itself has none."""
    found = [route for _, path, route in routes(console) if path not in NOT_TRIED]
    for route in found:
        monkeypatch.setattr(route, "include_in_schema", True)
    return get_openapi(title="console", version="1", routes=found)


def fields() -> list[str]:
    """Return the names of all fields of our forms."""
    text = "".join(path.read_text() for path in (ROOM / "templates").rglob("*.jinja"))
    return sorted(set(re.findall(r'\bname="([\w:*]+)"', text)) - {"csrf"})


def tried(document: dict[str, Any], address: str, cookie: str, mark: str) -> list[str]:
    """Send each operation some odd requests; return those that were answered with a mistake of ours."""
    failed: list[str] = []
    names = st.dictionaries(st.sampled_from(fields()), st.text(max_size=40) | st.sampled_from(["*", "1", "line-1"]))
    with httpx.Client(base_url=address, cookies={"neverblink": cookie}, timeout=30) as http:
        for result in schemathesis.openapi.from_dict(document).get_all_operations():
            operation = result.ok()

            @settings(max_examples=8, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(), names)
            def one(case: Any, form: dict[str, str]) -> None:
                method = case.method.upper()
                data = {**form, "csrf": mark} if method != "GET" else None
                query = {str(name): str(value) for name, value in (case.query or {}).items()}
                answer = http.request(method, case.formatted_path, params=query, data=data)
                if answer.status_code >= 500 and answer.status_code != 503:
                    failed.append(f"{method} {case.formatted_path} {query} {form}: {answer.status_code}")

            one()
    return failed


@pytest.mark.timeout(300)
async def test_schemathesis_finds_no_mistake_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with quick_hashes(monkeypatch):
        async with Console(plant_in(tmp_path)) as console:
            Database(console.plant.storage.ledger, create=True).close()
            console.account("root", Role.ADMINISTRATOR)
            document = described(console, monkeypatch)
            assert len(document["paths"]) > 40
            async with listening(console.plant, console.access) as address:
                async with httpx.AsyncClient(base_url=address) as http:
                    page = await _page(http)
                    mark = re.search(r'name="csrf" value="([^"]+)"', page)
                    assert mark is not None
                    answer = await http.post(
                        "/sign-in", data={"csrf": mark.group(1), "name": "root", "password": "a long enough one"}
                    )
                    assert answer.status_code == 303
                    own = re.search(r'name="csrf" value="([^"]+)"', (await http.get("/accounts")).text)
                    assert own is not None
                    cookie = http.cookies["neverblink"]
                assert await asyncio.to_thread(tried, document, address, cookie, own.group(1)) == []


async def _page(http: httpx.AsyncClient) -> str:
    async with asyncio.timeout(60):
        while True:
            try:
                return (await http.get("/sign-in")).text
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
