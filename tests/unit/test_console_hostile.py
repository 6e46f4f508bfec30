"""What strangers to good manners send the console, and what it says while what it depends on is away: never a 500."""

import re
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from console_desk import Console
from console_routes import at, gates, routes
from fastapi.routing import APIRoute

from neverblink.console.access.pace import BURST, EACH_S, MOST_KEPT, Pace
from neverblink.console.access.roles import Role
from neverblink.console.visitors import Gate
from neverblink.records.database import Database

pytestmark = pytest.mark.usefixtures("quick_hashing")

ROOM = Path(__file__).resolve().parents[2] / "services/neverblink/console"
STREAMS = {"/live", "/runs/{run}/live"}
SCRIPT = "<script>alert(1)</script>"
ODD = ("../../../../etc/passwd", "\x00", "9" * 30, SCRIPT, "a" * 600)
MADE_BY_TEMPLATES = {"piece", "state"}
"""What stands in a page as it is: another template has made it, and escaped what is in it."""
RUN = {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "setHTMLUnsafe"}


def pages(console: Console) -> list[tuple[str, APIRoute]]:
    """Return every page that a person may open."""
    found = [(path, route) for method, path, route in routes(console) if method == "GET" and path not in STREAMS]
    return [(path, route) for path, route in found if any(isinstance(one, Gate) for one in gates(route))]


async def administrator(console: Console) -> httpx.AsyncClient:
    console.account("root", Role.ADMINISTRATOR)
    browser = console.browser()
    await browser.sign_in("root")
    return browser.http


def harmless(answer: httpx.Response, place: str) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, f"{place}: {answer.status_code}"
    assert "root:x:" not in answer.text, place
    assert SCRIPT not in answer.text, place


async def test_no_address_however_odd_breaks_a_page_or_leaves_the_console_s_own_files(console: Console) -> None:
    Database(console.plant.storage.ledger, create=True).close()
    http = await administrator(console)
    for path, route in pages(console):
        if "{" in path:
            for odd in ODD:
                place = at(path, quote(odd, safe=""))
                harmless(await http.get(place), place)
        names = [one.alias for one in route.dependant.query_params]
        for odd in ODD if names else ():
            harmless(await http.get(at(path), params=dict.fromkeys(names, odd)), f"{path}?{names}={odd}")
    for odd in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "vendor/../../app.py", "//etc/passwd", "%00"):
        answer = await http.get(f"/static/{odd}")
        assert answer.status_code == 404, odd


@pytest.mark.parametrize("ledger", ["absent", "broken", "a folder"])
async def test_with_the_records_away_every_page_answers_in_words(console: Console, ledger: str) -> None:
    file = Path(console.plant.storage.ledger.removeprefix("sqlite:///"))
    if ledger == "broken":
        file.write_bytes(b"this is no database at all, " * 200)  # noqa: ASYNC240 - a local file, once
    elif ledger == "a folder":
        file.mkdir()  # noqa: ASYNC240 - as above
    http = await administrator(console)
    for path, _ in pages(console):
        answer = await http.get(at(path))
        assert answer.status_code < 500 or answer.status_code == 503, f"{path}: {answer.status_code}"
        if answer.status_code == 503:
            assert "cannot be read now" in answer.text or "in hand" in answer.text, path


async def test_with_its_own_database_away_the_console_says_so_on_every_page(console: Console) -> None:
    http = await administrator(console)
    file = Path(console.plant.console.database.removeprefix("sqlite:///"))
    console.access._engine.dispose()
    for end in ("", "-wal", "-shm"):
        file.with_name(f"{file.name}{end}").unlink(missing_ok=True)
    file.mkdir()  # noqa: ASYNC240 - a local folder, once
    for path, _ in pages(console)[:12]:
        answer = await http.get(at(path))
        assert (answer.status_code, "own database cannot be used" in answer.text) == (503, True), path
    assert (await http.get("/livez")).status_code == 200


def test_no_template_shows_a_text_as_markup_or_runs_what_the_content_policy_forbids() -> None:
    for template in sorted((ROOM / "templates").rglob("*.jinja")):
        text = template.read_text()
        assert set(re.findall(r"([\w.]+)\s*\|\s*safe\b", text)) <= MADE_BY_TEMPLATES, template.name
        assert not re.search(r"autoescape false|Markup\(", text), template.name
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|javascript:|\sstyle=", text), template.name


def test_no_script_of_ours_makes_markup_of_a_text() -> None:
    for script in sorted((ROOM / "static").glob("*.js")):
        found = [word for word in RUN if word in script.read_text()]
        assert found == [], script.name


async def test_a_program_that_sends_changes_without_end_is_slowed_and_nobody_else_is(console: Console) -> None:
    http = await administrator(console)
    found = re.search(r'name="csrf" value="([^"]+)"', (await http.get("/password")).text)
    assert found is not None
    form = {"csrf": found.group(1), "language": "en"}
    told = [(await http.post("/preferences", data=form)).status_code for _ in range(3)]
    assert told == [303, 303, 303]
    for _ in range(BURST):
        console.desk.pace.wait_s("root", "10.0.0.7")
    slowed = await http.post("/preferences", data=form)
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "1")
    console.account("bob")
    assert (await console.browser("10.0.0.8").sign_in("bob")).status_code == 303
    console.later(seconds=2)
    assert (await http.post("/preferences", data=form)).status_code == 303


def test_the_pace_is_a_burst_and_then_so_many_a_second_and_little_is_remembered() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert [pace.wait_s("ann", "a") for _ in range(BURST)] == [0.0] * BURST
    assert pace.wait_s("ann", "a") == pytest.approx(1 / EACH_S)
    now[0] = 1.0
    assert sum(pace.wait_s("ann", "a") == 0 for _ in range(100)) == EACH_S
    for number in range(MOST_KEPT + 10):
        pace.wait_s("ann", str(number))
    assert len(pace._left) <= MOST_KEPT
