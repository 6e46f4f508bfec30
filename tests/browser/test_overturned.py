"""A reject that somebody overturns by keys alone, and what of it the other pages say: a console of its own process."""

from pathlib import Path
from typing import Any

import pytest
from review_page import keep_pictures
from review_plant import plant_file, reviewed_plant, scored, until

from neverblink.brokers.development import DevelopmentBroker
from neverblink.records.part_tables import PartRow
from neverblink.records.reading import ReadOnlyRecords
from rigs.by_keyboard import tab_to
from rigs.console_process import ConsoleProcess, console_process
from rigs.served_console import WITHIN_MS, chromium

pytestmark = pytest.mark.plant

CHOSEN = "a password of my own"
GOOD = 6
REJECTS = 4


async def test_an_overturned_reject_changes_figures_yield_and_audit(tmp_path: Path) -> None:
    verdicts = [scored(number, "pass") for number in range(1, GOOD + 1)]
    verdicts += [scored(number) for number in range(GOOD + 1, GOOD + REJECTS + 1)]
    async with DevelopmentBroker() as broker, chromium() as browser:
        file = plant_file(broker.bootstrap, tmp_path)
        settings = f"records: {{evidence: {{store: {tmp_path / 'evidence'}}}}}"
        file.write_text(file.read_text().replace("records:\n  reviewing: {}", settings))
        async with reviewed_plant(file, *verdicts) as plant, console_process(file) as console:
            assert plant.records.evidence.store is not None
            keep_pictures(plant, verdicts)
            page = await (await browser.new_context(base_url=console.address, locale="en-GB")).new_page()
            page.set_default_timeout(WITHIN_MS)
            await first_signed_in(page, console)
            assert await seen_by_keys(page, "/quality") == ("60.00 % 6 of 10", "0 bad of 0 judged")
            (first, *_) = verdicts[GOOD:]
            await tab_to(page, "a[href='/review']")
            await page.keyboard.press("Enter")
            await page.wait_for_selector("#bench")
            await page.keyboard.press("Enter")
            await page.wait_for_selector(f"#bench[data-ready][data-verdict='{first.id}']")
            await page.keyboard.press("Numpad1")
            await page.wait_for_selector(f"#bench[data-ready]:not([data-verdict='{first.id}'])")
            await until(plant, lambda records: judged(records, first.part) == "normal")
            assert await seen_by_keys(page, "/quality") == ("70.00 % 7 of 10", "0 bad of 1 judged")

            await tab_to(page, "a[href='/audit']")
            await page.keyboard.press("Enter")
            entry = page.locator("tbody tr", has_text="review.answer")
            await entry.wait_for()
            told = await entry.inner_text()
            assert "admin" in told
            assert first.id in told
            assert '"judgement":"normal"' in told.replace(" ", "")

            await page.goto(f"/verdicts/{first.id}")
            assert "people:" in await page.locator(".verdict-head").inner_text()


async def first_signed_in(page: Any, console: ConsoleProcess) -> None:
    """Sign in for the first time, and choose a password."""
    await page.goto("/")
    await page.keyboard.type("admin")
    await page.keyboard.press("Tab")
    await page.keyboard.type(console.one_time)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/password**")
    for text in (console.one_time, CHOSEN, CHOSEN):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/wall")


async def seen_by_keys(page: Any, place: str) -> tuple[str, str]:
    """Go to the page of figures by Tab and Enter; return the yield after review, and what precision stands on."""
    await tab_to(page, f"a[href='{place}']")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".figure-cards")
    after = await page.locator(".facts > div", has_text="Good after review").locator("dd").inner_text()
    sample = await page.locator("[aria-labelledby=figure-precision] .hint").nth(1).inner_text()
    return " ".join(after.split()), sample.strip()


def judged(records: ReadOnlyRecords, part: str | None) -> str | None:
    with records.asking() as session:
        return session.query(PartRow.judgement).filter(PartRow.part == part).scalar()
