"""The console as people use it: Debian's Chromium on a line whose camera, scorer, bridge and ledger run."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rigs.console_process import ConsoleProcess, console_process
from rigs.demo_line import DemoLine, demo_line
from rigs.real_parts import without

pytestmark = pytest.mark.plant

CHROMIUM = "/usr/bin/chromium"
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
_OF_A_LOST_CONSOLE = ("[object Event]", "htmx:afterRequest", "htmx:sendError")
"""What htmx writes to the browser's log when its event stream breaks, or nobody answers what a page asks by itself."""

CHOSEN = "a password of my own"
WAIT_MS = 60_000
PICTURES = os.environ.get("NEVERBLINK_SCREENSHOTS")
"""A folder: the pages are kept there as pictures, for people to look at."""


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[DemoLine]:
    async with demo_line(tmp_path) as found:
        yield found


@pytest.fixture
async def console(line: DemoLine, tmp_path: Path) -> AsyncIterator[ConsoleProcess]:
    async with console_process(tmp_path / "plant.yaml") as found:
        yield found


class Seen:
    """A page of Chromium, and what it asked for and complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.expects_silence = False
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._told(message.type, message.text))

    def _told(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not (
            self.expects_silence and ("ERR_" in text or text.startswith(_OF_A_LOST_CONSOLE))
        ):
            self.complaints.append(text)

    async def kept(self, name: str) -> None:
        """Keep a picture of the page where one was asked for."""
        if PICTURES:
            await self.page.screenshot(path=f"{PICTURES}/{name}.png")

    async def accessible(self) -> None:
        """Assert that axe-core finds nothing serious on the page."""
        if not AXE.exists():
            without("axe-core", "it is not installed: `make test-plant` does so where npm has a registry")
        await self.page.evaluate(AXE.read_text())
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
        told = [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in serious]
        assert told == [], f"on {self.page.url}"


@pytest.fixture
async def seen(console: ConsoleProcess) -> AsyncIterator[Seen]:
    if shutil.which(CHROMIUM) is None:
        without("Chromium", f"there is no {CHROMIUM}")
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(base_url=console.address, viewport={"width": 1920, "height": 1080})
        context.set_default_timeout(WAIT_MS)
        yield Seen(await context.new_page())
        await browser.close()


async def signed_in(seen: Seen, console: ConsoleProcess) -> None:
    """Sign in for the first time, with the keyboard alone."""
    page = seen.page
    await page.goto("/")
    await seen.accessible()
    await page.keyboard.type("admin")
    await page.keyboard.press("Tab")
    await page.keyboard.type(console.one_time)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/password**")
    await seen.accessible()
    for text in (console.one_time, CHOSEN, CHOSEN):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/wall")


@pytest.mark.timeout(400)
async def test_sign_in_see_parts_move_open_one_lose_the_connection_and_come_back(
    line: DemoLine, console: ConsoleProcess, seen: Seen
) -> None:
    page = seen.page
    await signed_in(seen, console)
    for number in (1, 2):
        await line.run(3)
        serial = line.serial(3 * number)
        await page.locator(f'.tile .label[title="{serial}"]').wait_for()
    tiles = page.locator(".tile")
    assert await tiles.count() == 6
    assert await tiles.first.locator(".label").get_attribute("title") == line.serial(6), "the newest comes first"
    await page.locator(".figures").get_by_text("parts, this shift").wait_for()
    await seen.accessible()
    await seen.kept("wall")

    await tiles.first.locator("a").press("Enter")
    await page.wait_for_url("**/parts/*")
    assert line.serial(6) in await page.locator("h1").inner_text()
    assert await page.locator(".way tbody tr").count() >= 4
    await seen.accessible()
    await seen.kept("part")
    for place in ("/accounts", "/tokens", "/audit", "/wall"):
        await page.goto(place)
        await seen.accessible()

    assert seen.complaints == []
    seen.expects_silence = True
    others = {place: await page.context.new_page() for place in ("/alarms", "/health", "/onboarding", "/quality")}
    for place, other in others.items():
        await other.goto(place)
        assert await other.locator("#away").is_hidden()
    await console.kill()
    await page.locator("#lost").wait_for(state="visible")
    await seen.kept("lost")
    for other in others.values():
        await other.locator("#away").wait_for(state="visible")
    await console.start()
    await page.locator("#lost").wait_for(state="hidden")
    for other in others.values():
        await other.locator("#away").wait_for(state="hidden")
        await other.close()
    await line.run(1)
    await page.locator(f'.tile .label[title="{line.serial(7)}"]').wait_for()

    await page.get_by_role("button", name="Deutsch").click()
    await page.get_by_role("button", name="Abmelden").click()
    await page.wait_for_url("**/sign-in")
    await page.goto("/wall")
    assert "/sign-in" in page.url
    assert [one for one in seen.asked if not one.startswith(console.address)] == []
    assert seen.complaints == []
