"""Tasks that end with the block that started them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Start = Callable[[Awaitable[object]], "asyncio.Future[object]"]
"""Starts a task that ends with the block."""


@contextlib.asynccontextmanager
async def scoped_tasks() -> AsyncIterator[Start]:
    """Give a way to start tasks that all end with the block. Whoever starts one asks what became of it."""
    running: set[asyncio.Future[object]] = set()

    def ended(task: "asyncio.Future[object]") -> None:
        running.discard(task)
        # When what they work on breaks, several end with the same error; the first is told, none is left unread.
        if not task.cancelled():
            task.exception()

    def start(work: Awaitable[object]) -> "asyncio.Future[object]":
        task = asyncio.ensure_future(work)
        running.add(task)
        task.add_done_callback(ended)
        return task

    try:
        yield start
    finally:
        left = list(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
