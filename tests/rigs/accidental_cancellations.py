"""Runs a `neverblink` command in which OPC UA sessions are cancelled at given seconds although nobody has asked.

`python accidental_cancellations.py '{"bridge line-1": [10, 40]}' bridge --plant plant.yaml`. On Python 3.11 the
client's wait does so by itself where an answer and an enclosing time-out meet in one turn of a busy loop: rarely, and
never when one looks. Here the first wait of the named session after each moment ends so. The log tells each one, what
the counter of ended tasks counts, and every few seconds which tasks live.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import orjson
from asyncua.client import ua_client
from asyncua.client.client import Client
from asyncua.common.subscription import Subscription
from opentelemetry import metrics
from opentelemetry.metrics import Meter, NoOpMeter, NoOpMeterProvider

from neverblink import cli, telemetry

COUNTER = "neverblink.service.restarts"
ROLL_CALL_S = 2.0
_OF_CLIENT = "neverblink "

_session: ContextVar[str] = ContextVar("session", default="")


class AnsweredAndCancelledError(asyncio.CancelledError):
    """What a wait raises that nobody has cancelled."""


def arguments(moments: Mapping[str, list[float]], *command: str) -> tuple[str, ...]:
    """Return the arguments for Python to run a command with cancellations at these seconds of its sessions."""
    return str(Path(__file__)), orjson.dumps(moments).decode(), *command


class Accidents:
    """Cancels sessions by accident: each at its moments, seconds after the first session of the process began."""

    def __init__(self, moments: Mapping[str, list[float]]) -> None:
        self._left = {name: sorted(seconds) for name, seconds in moments.items()}
        self._began: float | None = None
        self._calling: asyncio.Task[None] | None = None
        self._log = telemetry.logger("accidents")

    def begin(self, client: str) -> None:
        """Take that this task opens a session; tasks that it starts from now on belong to it."""
        loop = asyncio.get_running_loop()
        _session.set(client.removeprefix(_OF_CLIENT))
        if self._began is None:
            self._began = loop.time()
            self._calling = loop.create_task(self._call_the_roll(), name="the roll call")

    def happen(self) -> None:
        """Raise in the task that waits now when its session's moment has come."""
        due = self._left.get(_session.get())
        if not due or self._began is None or _is_of_the_library(asyncio.current_task()):
            return
        if asyncio.get_running_loop().time() - self._began >= due[0]:
            moment = due.pop(0)
            self._log.info("cancelled by accident", extra={"fields": {"session": _session.get(), "moment": moment}})
            raise AnsweredAndCancelledError(_mark(_session.get(), moment))

    async def _call_the_roll(self) -> None:
        while True:
            found = Counter(_name(task) for task in asyncio.all_tasks())
            self._log.info("tasks", extra={"fields": {"tasks": found}})
            await asyncio.sleep(ROLL_CALL_S)


def _mark(session: str, moment: float) -> str:
    return f"nobody cancelled {session} at {moment:g} s"


def was_logged(session: str, moment: float, entries: list[dict[str, Any]]) -> bool:
    """Return whether a process logged this cancellation as an error with its traceback."""
    mark = _mark(session, moment)
    return any(entry["level"] == "error" and mark in str(entry.get("error")) for entry in entries)


def _is_of_the_library(task: "asyncio.Task[Any] | None") -> bool:
    """Return whether the library runs this task: no time-out of ours encloses what it waits for."""
    code = getattr(task.get_coro(), "cr_code", None) if task is not None else None
    return code is not None and f"{os.sep}asyncua{os.sep}" in code.co_filename


def _name(task: "asyncio.Task[Any]") -> str:
    name = task.get_name()
    return str(getattr(task.get_coro(), "__qualname__", name)) if name.startswith("Task-") else name


class _CountingMeters(NoOpMeterProvider):
    """Tells in the log what the counter of ended tasks counts."""

    def get_meter(self, name: str, *rest: Any, **more: Any) -> Meter:
        """Return a meter."""
        return _CountingMeter(name)


class _CountingMeter(NoOpMeter):
    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        """Return a counter."""
        return _Counted() if name == COUNTER else super().create_counter(name, unit, description)


class _Counted:
    def add(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Count."""
        fields = {"counted": number, "what": attributes["duty"], "ended": attributes["how"]}
        telemetry.logger("accidents").info("counted", extra={"fields": fields})


def _patch(accidents: Accidents) -> None:
    connect: Callable[..., Awaitable[Any]] = Client.connect
    wait_for: Callable[..., Awaitable[Any]] = ua_client.wait_for  # type: ignore[attr-defined]
    next_event: Callable[..., Awaitable[Any]] = Subscription.next_event

    async def connecting(client: Client, *rest: Any, **more: Any) -> Any:
        accidents.begin(client.name)
        return await connect(client, *rest, **more)

    async def waiting(work: Awaitable[Any], seconds: float | None) -> Any:
        answer = await wait_for(work, seconds)
        accidents.happen()
        return answer

    async def hearing(subscription: Subscription, *rest: Any, **more: Any) -> Any:
        event = await next_event(subscription, *rest, **more)
        accidents.happen()
        return event

    Client.connect = connecting  # type: ignore[method-assign, assignment]
    ua_client.wait_for = waiting  # type: ignore[attr-defined, assignment]
    Subscription.next_event = hearing  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    metrics.set_meter_provider(_CountingMeters())
    _patch(Accidents(orjson.loads(sys.argv[1])))
    sys.argv = ["neverblink", *sys.argv[2:]]
    cli.main()
