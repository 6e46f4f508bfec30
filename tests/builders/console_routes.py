"""Every route of the console, however it is included, and what it asks of whoever comes."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from console_desk import Console
from fastapi.routing import APIRoute

from neverblink.console.app import app_of

FEWEST = 50
"""A walk that meets fewer routes has lost its way: FastAPI keeps included routers as they are."""


def routes(console: Console) -> list[tuple[str, str, APIRoute]]:
    """Return method, path and route of all, a route once for each method."""
    found = [
        (method, route.path, route)
        for route in _within(app_of(console.desk).routes)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]
    assert len(found) >= FEWEST
    return found


def gates(route: APIRoute) -> list[Any]:
    """Return what a route asks of whoever comes."""
    return [one.call for one in route.dependant.dependencies]


def at(path: str, value: str = "1") -> str:
    """Return a path with something in each of its places."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda _: value, path)


def _within(found: Sequence[Any]) -> Iterator[APIRoute]:
    for one in found:
        if isinstance(one, APIRoute):
            yield one
        elif hasattr(one, "original_router"):
            yield from _within(one.original_router.routes)
