"""Every page of the console without a mouse: what it offers is reached by Tab, is seen there, and acts."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from fastapi.routing import APIRoute

from neverblink.console import pages
from rigs.by_keyboard import faults_by_keyboard, tab_to, watch
from rigs.seeded_console import PASSWORD, seeded_console
from rigs.seeded_day import Shape
from rigs.served_console import chromium, signed_in

pytestmark = pytest.mark.plant

NO_PAGES = {
    "/live", "/alarms/list", "/alarms/count", "/health/now", "/review/queue", "/runs/{name}/state",
    "/onboarding/{name}/picture", "/onboarding/{name}/chosen", "/pictures/{digest}", "/audit/export",
    "/quality/report/figures.csv",
    "/quality/report/parts.{kind}", "/quality/studies/{name}", "/models/reports/{artifact}/{report}",
    "/verdicts/{verdict}",
}  # fmt: skip
"""Pieces of pages, pictures, files, and what leads on."""

ELSEWHERE = {"/runs/{name}", "/onboarding/{name}/regions/{region}", "/proven"}
"""Pages that a job, a drawn region or a login provider leads to: with the tests of those."""


def routes() -> Iterator[APIRoute]:
    """Yield the routes of pages, however they are included."""
    for module in pkgutil.iter_modules(pages.__path__):
        router = getattr(import_module(f"{pages.__name__}.{module.name}"), "router", None)
        for route in getattr(router, "routes", ()):
            if (
                isinstance(route, APIRoute)
                and "GET" in route.methods
                and not route.path.startswith(("/api", "/sign-in/"))
            ):
                yield route


def kind_of(place: str) -> tuple[str, str]:
    """Return a place's route, and of its questions what makes another page of it."""
    parts = urlsplit(place)
    route = next((one.path for one in routes() if one.path_regex.match(parts.path)), "")
    asked = parse_qs(parts.query)
    return route, "".join(name + asked[name][0] for name in ("what", "full") if name in asked)


async def links(page: Any) -> list[str]:
    """Return where a page leads within the console."""
    found = await page.eval_on_selector_all("a[href]:not([download])", "all => all.map(one => one.href)")
    begin = urlsplit(page.url)
    return [one for one in found if urlsplit(one).netloc == begin.netloc]


FAULTY = """<style>:focus-visible { outline: 3px solid } [type=text] { outline: none }</style><body>
<main id="main" tabindex="-1">
<button>a button</button><a href="/x" tabindex="-1">a missed link</a><b style="cursor: pointer">a bold word</b>
<input type="text"><div tabindex="0">a dead stop</div><label><input type="checkbox"> a box</label>
<i>listens</i><p tabindex="0">steered, by <u>arrows</u></p></main>
<script>
document.querySelector('i').addEventListener('pointerdown', () => {});
document.querySelector('u').addEventListener('pointerdown', () => {});
document.querySelector('p').addEventListener('keydown', () => {});
</script></body>"""


async def test_a_walk_finds_what_serves_a_mouse_alone() -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        await watch(page)
        await page.goto(f"data:text/html,{quote(FAULTY)}")
        found = await faults_by_keyboard(page)
        assert {kind: {one[:2] for one in told} for kind, told in found.items()} == {
            "missed": {"<a"}, "alone": {"<a", "<b", "<i"}, "idle": {"<d"}, "unseen": {"<i"},
        }  # fmt: skip
        await page.evaluate("() => { document.querySelector('input').onkeydown = event => event.preventDefault(); }")
        assert list(await faults_by_keyboard(page)) == ["trapped"]


@pytest.mark.timeout(900)  # some forty pages, however busy the machine is
async def test_each_page_is_used_by_keyboard_alone(tmp_path: Path) -> None:
    async with seeded_console(tmp_path, Shape(hours=3.0)) as seeded, chromium() as browser:
        page = await signed_in(browser, seeded.address, "admin", PASSWORD)
        await watch(page)
        await page.goto(f"{seeded.address}/onboarding")
        await tab_to(page, "[name=product]")
        await page.keyboard.type("washer")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/onboarding/*")
        waiting = [f"{seeded.address}{place}" for place in ("/wall", "/runs")] + [page.url]
        met: set[tuple[str, str]] = set()
        faults: dict[str, dict[str, list[str]]] = {}
        while waiting:
            place = waiting.pop(0)
            kind = kind_of(place)
            if kind in met or kind[0] in NO_PAGES - {"/verdicts/{verdict}"}:
                continue
            met.add(kind)
            await page.goto(place)
            met.add(kind_of(page.url))
            if found := await faults_by_keyboard(page, whole=len(met) == 1):
                faults[page.url] = found
            waiting += await links(page)

        for way, leads_to in (("/lock", "**/unlock**"), ("/sign-out", "**/sign-in**")):
            await tab_to(page, f"form[action='{way}'] button")
            await page.keyboard.press("Enter")
            await page.wait_for_url(leads_to)
            met.add(kind_of(page.url))
            if found := await faults_by_keyboard(page, whole=True):
                faults[page.url] = found
        assert faults == {}
        assert {one.path for one in routes()} - NO_PAGES - ELSEWHERE - {kind for kind, _ in met} == set()
