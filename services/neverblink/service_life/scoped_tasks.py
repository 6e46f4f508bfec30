"""Tasks that end with the block that started them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from neverblink.service_life.waiting import end_all

Start = Callable[[Coroutine[Any, Any, object]], "asyncio.Task[object]"]
"""Starts a task that ends with the block."""


@contextlib.asynccontextmanager
async def scoped_tasks() -> AsyncIterator[Start]:
    """Give a way to start tasks that all end with the block. Whoever starts one asks what became of it."""
    running: set[asyncio.Task[object]] = set()

    def ended(task: "asyncio.Task[object]") -> None:
        running.discard(task)
        # When what they work on breaks, several end with the same error; the first is told, none is left unread.
        if not task.cancelled():
            task.exception()

    def start(work: Coroutine[Any, Any, object]) -> "asyncio.Task[object]":
        task = asyncio.create_task(work)
        running.add(task)
        task.add_done_callback(ended)
        return task

    try:
        yield start
    finally:
        await end_all(list(running))
