"""Tasks that must not end: whatever ends without having been told to is an error, is counted, and begins again.

A task can end in four ways that nobody asked for, and each has been seen to pass for a good end: it returns, it raises,
it raises a BaseException, or it is cancelled although nobody cancelled it. The last is what `wait_for2` does on Python
3.11 when an answer and an enclosing time-out meet in one turn of a busy loop; `except Exception` lets it through, and a
TaskGroup takes its child for finished.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from neverblink import telemetry
from neverblink.errors import NeverblinkError
from neverblink.service_life.back_off import BackOff
from neverblink.service_life.instruments import restarts
from neverblink.service_life.time_limit import nobody_asked
from neverblink.service_life.waiting import GRACE_S, end_all, wait_or_stop

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
_WELL_AFTER_S = 60.0
"""A duty that ran so long is sound: its next end waits as briefly as its first."""

How = Literal["returned", "failed", "was cancelled"]


class DutyEndedError(NeverblinkError):
    """A duty that cannot be begun again has ended: the service must end too, and be started anew."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a duty ended without having been told to."""

    duty: str
    how: How
    error: BaseException | None
    ran_s: float
    times: int
    """So many ends of this duty, this one included."""

    @property
    def sentence(self) -> str:
        """Say it in one sentence."""
        why = "" if self.error is None or self.how == "was cancelled" else f": {self.error!r}"
        asked = ", and nobody had cancelled it" if self.how == "was cancelled" else ""
        return f"{self.duty} {self.how} after {self.ran_s:.1f} s without having been told to{asked}{why}"


@dataclass(frozen=True, slots=True)
class Duty:
    """One task of a service. `work` is called anew for each try, and ends by itself soon after `stop` is set."""

    name: str
    work: Callable[[], Awaitable[object]]
    again: bool = True
    """False: what it held is gone when it ends, so its end ends the service."""
    may_finish: bool = False
    """True: to return is to be done, as a camera node is that replays a folder."""
    back_off: BackOff = field(default_factory=lambda: BackOff(FIRST_WAIT_S, LONGEST_WAIT_S))


async def supervise(
    service: str,
    duties: Sequence[Duty],
    stop: asyncio.Event,
    *,
    ended: Callable[[Ending], None] = lambda _: None,
    grace_s: float = GRACE_S,
) -> None:
    """Keep all duties until `stop` is set or each has finished, then let them finish for `grace_s`.

    `ended` is told of each end that nobody asked for. Raises DutyEndedError for
    a duty that cannot be begun again; the others are told to stop first. A cancellation from outside ends all at once.
    """
    keepers = {asyncio.create_task(kept(service, duty, stop, ended), name=f"keep {duty.name}"): duty for duty in duties}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    fault: BaseException | None = None
    try:
        waiting: set[asyncio.Task[Any]] = set(keepers)
        while waiting and not stop.is_set() and fault is None:
            done, _ = await asyncio.wait({*waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            waiting -= done
            fault = next((error for task in done if task is not stopping and (error := _fault_of(task))), None)
        if waiting:
            stop.set()
            done, late = await asyncio.wait(waiting, timeout=grace_s)
            fault = fault or next((error for task in done if (error := _fault_of(task))), None)
            for task in late:
                telemetry.logger(service).warning(f"{keepers[task].name} did not finish within {grace_s:g} s")
    finally:
        await end_all([stopping, *keepers])
    if fault is not None:
        raise fault


async def kept(service: str, duty: Duty, stop: asyncio.Event, ended: Callable[[Ending], None] = lambda _: None) -> None:
    """Run a duty again and again until it is told to stop; return when it may and does finish."""
    clock = asyncio.get_running_loop().time
    log = telemetry.logger(service)
    times = 0
    while not stop.is_set():
        began = clock()
        task = asyncio.create_task(awaited(duty.work), name=duty.name)
        try:
            await asyncio.wait({task})
        finally:
            await end_all([task])
        how, error = _how(task)
        if stop.is_set():
            if how == "failed":
                log.error(f"{duty.name} failed while it stopped", exc_info=error)
            return
        if how == "returned" and duty.may_finish:
            return
        times += 1
        ending = Ending(duty.name, how, error, clock() - began, times)
        log.error(ending.sentence, exc_info=error, extra={"fields": {"duty": duty.name, "how": how, "times": times}})
        restarts(service).add(1, {"duty": duty.name, "how": how})
        ended(ending)
        if not duty.again:
            raise DutyEndedError(f"{service} ends, to be started anew: {ending.sentence}") from error
        if ending.ran_s >= _WELL_AFTER_S:
            duty.back_off.reset()
        await wait_or_stop(stop, duty.back_off.next())


@contextlib.asynccontextmanager
async def keeping(service: str, *duties: Duty) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Keep duties beside the block, and end them with it, however it ends; gives their tasks."""
    over = asyncio.Event()
    tasks = [asyncio.create_task(kept(service, duty, over), name=duty.name) for duty in duties]
    try:
        yield tasks
    finally:
        over.set()
        await end_all(tasks)


async def awaited(work: Callable[[], Awaitable[object]]) -> None:
    """Await what a call returns: a task needs a coroutine, and whatever the call raises belongs into the task."""
    await work()


def refuse_ended(service: str, tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Raise for the first of these tasks that has ended, however it did: what it raised, or DutyEndedError."""
    for task in tasks:
        if not task.done():
            continue
        how, error = _how(task)
        if how == "failed" and error is not None:
            raise error
        restarts(service).add(1, {"duty": task.get_name(), "how": how})
        raise DutyEndedError(f"{service} ends, to be started anew: {task.get_name()} {how} unasked") from error


def unasked_end(service: str, duty: str, error: BaseException) -> None:
    """Log and count, at a loop's boundary, that what it does broke off and is begun again.

    Raises the error once more where it is none: a cancellation that somebody asked for, or the end of the process.
    """
    if not isinstance(error, Exception) and not nobody_asked(error):
        raise error
    how: How = "failed" if isinstance(error, Exception) else "was cancelled"
    asked = "" if isinstance(error, Exception) else ", and nobody had asked"
    telemetry.logger(service).error(
        f"{duty} {how} unexpectedly{asked}: {error!r}", exc_info=error, extra={"fields": {"duty": duty, "how": how}}
    )
    restarts(service).add(1, {"duty": duty, "how": how})


def _how(task: "asyncio.Task[None]") -> tuple[How, BaseException | None]:
    if task.cancelled():
        return "was cancelled", _cancellation(task)
    error = task.exception()
    return ("returned", None) if error is None else ("failed", error)


def _cancellation(task: "asyncio.Task[None]") -> BaseException | None:
    """Return the CancelledError that ended a task: its traceback says where it came from."""
    try:
        task.result()
    except asyncio.CancelledError as error:
        return error
    return None


def _fault_of(task: "asyncio.Task[Any]") -> BaseException | None:
    if task.cancelled():
        return DutyEndedError(f"{task.get_name()} was cancelled, and nobody had asked")
    return task.exception()
