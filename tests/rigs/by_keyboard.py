"""A page as somebody uses it who has no mouse: what Tab reaches, whether the focus is seen there, what Enter does."""

from pathlib import Path
from typing import Any

_WATCHING = Path(__file__).with_suffix(".js")


async def watch(page: Any) -> None:
    """Watch each page that is opened from now on, so that it can be walked."""
    await page.add_init_script(path=str(_WATCHING))


async def faults_by_keyboard(page: Any, *, whole: bool = False) -> dict[str, list[str]]:
    """Press Tab through a page's content, or with its bar, and on each link, button and box what works it.

    Nothing is carried out. Returns what is wrong with which elements: `missed` cannot be reached, `alone` serves a
    pointer and no key, `idle` does nothing when it is pressed, `unseen` shows no focus, `trapped` is where Tab does not
    come to an end. The page must have been opened after `watch`.
    """
    await page.evaluate(f"walk.begin({str(whole).lower()})")
    places = await page.locator("a, button, input, select, textarea, summary, [tabindex]").count()
    for _ in range(60 + 5 * places):  # a date has several places of its own
        await page.keyboard.press("Tab")
        worked_by = await page.evaluate("walk.here()")
        if worked_by == "end":
            found = await page.evaluate("walk.end()")
            return {kind: told for kind, told in found.items() if told}
        if worked_by:
            await page.keyboard.press(worked_by)
    return {"trapped": [await page.evaluate("document.activeElement.outerHTML.slice(0, 160)")]}


async def tab_to(page: Any, query: str) -> None:
    """Press Tab until what is looked for has the focus. Raises AssertionError when it never has."""
    for _ in range(200):
        await page.keyboard.press("Tab")
        if await page.evaluate("query => document.activeElement?.matches(query) ?? false", query):
            return
    raise AssertionError(f"the keyboard does not reach {query}")
