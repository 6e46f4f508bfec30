"""The pages of quality in a browser: read, asked and saved from by keyboard alone, and nothing comes from elsewhere."""

from pathlib import Path

import pytest

from rigs.seeded_console import PASSWORD, seeded_console
from rigs.seeded_day import Shape
from rigs.served_console import chromium, serious_faults, signed_in

pytestmark = pytest.mark.plant

HOURS = 10


async def test_figures_drift_reports_and_agreement_are_used_by_keyboard_alone(tmp_path: Path) -> None:
    async with seeded_console(tmp_path, Shape(hours=HOURS)) as seeded, chromium() as browser:
        page = await signed_in(browser, seeded.address, "vera", PASSWORD)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{seeded.address}/quality")
        assert await page.locator("svg.chart circle").count() > 0
        assert await serious_faults(page) == []

        await page.locator("[name=line]").focus()
        await page.keyboard.press("ArrowDown")
        while await page.evaluate("document.activeElement.tagName") != "BUTTON":
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url(lambda url: "line=line-2" in url)

        for name in ("Drift", "Agreement", "Reports"):
            await page.get_by_role("link", name=name, exact=True).focus()
            await page.keyboard.press("Enter")
            await page.get_by_role("heading", level=1).wait_for()
            assert await serious_faults(page) == [], name
        await page.locator("main table a").first.focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Print").wait_for()
        assert await serious_faults(page) == []
        async with page.expect_download() as saved:
            await page.get_by_role("link", name="Parts as CSV").focus()
            await page.keyboard.press("Enter")
        file = await (await saved.value).path()
        assert file.read_text().startswith("id,line,product,")
        assert all(url.startswith(seeded.address) for url in asked)
