"""Waits that end: for a time or the word to stop, for tasks that are ended, for a goodbye that nobody may answer."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from neverblink import telemetry

GRACE_S: Final = 10.0
"""What a duty has to finish its work in hand once the service is told to stop."""


async def wait_or_stop(stop: asyncio.Event, seconds: float) -> bool:
    """Wait that long, or until `stop` is set. Returns whether it is set."""
    # On a task of its own: no time-out here may ever be mistaken for a cancellation.
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopping}, timeout=seconds)
    finally:
        stopping.cancel()
    return stop.is_set()


async def end_all(tasks: Sequence["asyncio.Task[Any]"], *, within_s: float = GRACE_S) -> None:
    """Cancel tasks, wait until each has ended, and read their errors, so that none is reported as never read.

    A library's wait may swallow a cancellation, so who goes on is cancelled again every second. What has not ended
    within `within_s` is named in an error and left behind.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + within_s
    left = {task for task in tasks if not task.done()}
    while left and clock() < until:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=min(1.0, within_s))
    for task in left:
        telemetry.logger("service_life").error(f"{task.get_name()} goes on though it was cancelled for {within_s:g} s")
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()


async def given_time(
    *goodbyes: Coroutine[Any, Any, object], seconds: float, name: str, cancelled_s: float = 1.0
) -> list["asyncio.Task[object]"]:
    """Let what ends something take so long, then cancel it; return the tasks that ended by themselves.

    Each has a task of its own: a library's goodbye ends by the cancellation of its own tasks, and lets it through.
    """
    tasks = [asyncio.create_task(goodbye, name=name) for goodbye in goodbyes]
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        return [task for task in tasks if task.done()]
    finally:
        await end_all(tasks, within_s=cancelled_s)
