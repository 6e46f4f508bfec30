"""Pages over some hours of a plant, in a browser: accessible, by keyboard and fingers, nothing from elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rigs.seeded_console import PASSWORD, Seeded, seeded_console
from rigs.seeded_day import Shape
from rigs.served_console import chromium, serious_faults, signed_in

pytestmark = pytest.mark.plant

SHORT = Shape(hours=2.0)


class Watched:
    """A person's page, what it asked for, and what went wrong on it."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self._address = page, address
        self.asked: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)

    async def go(self, place: str) -> None:
        await self.page.goto(f"{self._address}{place}")

    async def tab_to(self, query: str) -> None:
        """Press Tab until what is looked for has the focus. Raises AssertionError when it never has."""
        for _ in range(80):
            await self.page.keyboard.press("Tab")
            if await self.page.evaluate("query => document.activeElement?.matches(query) ?? false", query):
                return
        raise AssertionError(f"the keyboard does not reach {query}")

    @property
    def elsewhere(self) -> list[str]:
        """Return what was asked of other hosts."""
        return [url for url in self.asked if not url.startswith((self._address, "data:", "blob:"))]


@asynccontextmanager
async def watching(folder: Path, name: str) -> AsyncIterator[tuple[Seeded, Watched]]:
    async with seeded_console(folder, SHORT) as seeded, chromium() as browser:
        page = await signed_in(browser, seeded.address, name, PASSWORD)
        yield seeded, Watched(page, seeded.address)


async def test_every_page_of_the_bar_is_accessible_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with watching(tmp_path, "admin") as (seeded, seen):
        await seen.go("/wall")
        bar = await seen.page.eval_on_selector_all(".bar nav a", "all => all.map(one => one.getAttribute('href'))")
        reject = seeded.part_where(lambda one: one.found is not None)
        for place in [*bar, "/wall?full=1", f"/verdicts/{reject.verdicts[0].id}"]:
            await seen.go(place)
            assert await serious_faults(seen.page) == [], place
        assert seen.elsewhere == []
        assert seen.problems == []


async def test_a_part_is_looked_at_by_keyboard_and_with_two_fingers(tmp_path: Path) -> None:
    async with watching(tmp_path, "vera") as (seeded, seen):
        reject = seeded.part_where(lambda one: one.found is not None)
        await seen.go(f"/verdicts/{reject.verdicts[0].id}")
        await seen.page.wait_for_selector(".good-one img")
        await seen.tab_to(".viewer")
        stage = seen.page.locator(".stage").first
        await seen.page.keyboard.press("+")
        await seen.page.keyboard.press("ArrowLeft")
        assert "scale(1.25)" in (await stage.get_attribute("style") or "")
        await seen.page.keyboard.press("0")
        assert "scale(1)" in (await stage.get_attribute("style") or "")
        await seen.page.keyboard.press("m")
        assert await seen.page.locator(".map").first.evaluate("one => one.style.opacity") == "0.7"
        await seen.page.evaluate("""() => {
          const viewer = document.querySelector('.viewer');
          viewer.setPointerCapture = () => {};
          const press = (type, pointerId, clientX) =>
            viewer.dispatchEvent(new PointerEvent(type, { pointerId, clientX, clientY: 300, bubbles: true }));
          press('pointerdown', 1, 300); press('pointerdown', 2, 400); press('pointermove', 2, 500);
          press('pointerup', 2, 500); press('pointerup', 1, 300);
        }""")
        assert "scale(2)" in (await stage.get_attribute("style") or ""), "two fingers twice as far apart"
        await seen.tab_to(".good-one a")
        await seen.page.keyboard.press("Enter")
        await seen.page.wait_for_selector(".verdict-head .decision:has-text('good')")
        assert seen.problems == []


async def test_the_wall_fills_the_screen_and_leads_to_a_part_by_keyboard(tmp_path: Path) -> None:
    async with watching(tmp_path, "vera") as (_, seen):
        await seen.go("/wall")
        await seen.tab_to(".wall-views a:last-child")
        await seen.page.keyboard.press("Enter")
        await seen.page.wait_for_selector("body.full")
        assert await seen.page.locator(".bar").is_hidden()
        await seen.tab_to(".tile a")
        await seen.page.keyboard.press("Enter")
        await seen.page.wait_for_url("**/parts/*")
        await seen.tab_to(".back a")
        assert seen.elsewhere == []
