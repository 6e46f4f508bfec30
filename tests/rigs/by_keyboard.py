"""A page as somebody uses it who has no mouse."""

from typing import Any


async def tab_to(page: Any, query: str) -> None:
    """Press Tab until what is looked for has the focus. Raises AssertionError when it never has."""
    for _ in range(200):
        await page.keyboard.press("Tab")
        if await page.evaluate("query => document.activeElement?.matches(query) ?? false", query):
            return
    raise AssertionError(f"the keyboard does not reach {query}")
