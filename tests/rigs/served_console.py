"""A console that listens, and a browser of a person before it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from neverblink.brokers.apache import free_port
from neverblink.console.access.database import AccessDatabase
from neverblink.console.service import serve
from neverblink.plant import Plant
from rigs.real_parts import without

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).parents[1] / "browser" / "node_modules" / "axe-core" / "axe.min.js"
WITHIN_MS = 60_000


@asynccontextmanager
async def listening(plant: Plant, access: AccessDatabase, file: Path | None = None) -> AsyncIterator[str]:
    """Run the console's service on a free port, and give its address; jobs find the plant file at `file`."""
    settings = plant.console.model_copy(update={"port": free_port()})
    stop = asyncio.Event()
    service = asyncio.create_task(serve(plant.model_copy(update={"console": settings}), access, stop, file))
    try:
        yield f"http://127.0.0.1:{settings.port}"
    finally:
        stop.set()
        await asyncio.wait_for(service, 30)


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """Start Debian's Chromium; skips where there is none."""
    if not CHROMIUM.exists():  # noqa: ASYNC240 - once, of a local disk
        without("Chromium", f"there is no {CHROMIUM}")
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


async def signed_in(
    browser: Any, address: str, name: str, password: str, *, width: int = 1920, height: int = 1080
) -> Any:
    """Return a page of a browser of its own in which somebody has signed in."""
    from playwright.async_api import Error

    context = await browser.new_context(viewport={"width": width, "height": height}, locale="en-GB")
    page = await context.new_page()
    page.set_default_timeout(WITHIN_MS)
    async with asyncio.timeout(WITHIN_MS / 1000):
        while True:
            try:
                await page.goto(f"{address}/sign-in")
                break
            except Error:  # it does not listen yet
                await asyncio.sleep(0.1)
    await page.fill("[name=name]", name)
    await page.fill("[name=password]", password)
    await page.click("main button")
    await page.wait_for_url(lambda url: "/sign-in" not in url)
    return page


async def serious_faults(page: Any) -> list[tuple[str, list[str]]]:
    """Return what axe-core finds serious on a page; skips where it is not installed."""
    if not AXE.exists():
        without("axe-core", "it is not installed: `make test-plant` does so where npm has a registry")
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
    return [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in serious]
