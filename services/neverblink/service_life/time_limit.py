"""A time-out that stays one, whatever the wait within makes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def time_limit(seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """As `asyncio.timeout`, and TimeoutError also where the wait within turns our cancellation into one of its own.

    On Python 3.11 `wait_for2`, with which the OPC UA client waits, raises a subclass of CancelledError when its answer
    and our time-out meet in one turn of a busy loop. `asyncio.timeout` compares classes by identity there and lets it
    through: a cancellation that nobody asked for, which `except Exception` does not catch and a TaskGroup takes for a
    good end.
    """
    task = asyncio.current_task()
    assert task is not None
    asked = task.cancelling()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield limit
    except asyncio.CancelledError as error:
        if limit.expired() and task.cancelling() <= asked:
            raise TimeoutError from error
        raise


def nobody_asked(error: BaseException) -> bool:
    """Return whether this is a cancellation of the task that runs now although nobody has cancelled it."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
