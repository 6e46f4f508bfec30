"""One session's triggers, heard at once whoever is busy with them, and watched: a trigger never dies quietly.

A subscription may be gone, its nodes may have been replaced by a download, its values may stay bad, while session and
connection live. Each of these ends the session with a sentence within two seconds, and whoever owns it begins anew.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from neverblink.plc.clock_offset import ClockOffset
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import TRIGGER_NODES
from neverblink.plc.epochs import SETTLE_S
from neverblink.plc.errors import EpochError, PlcUnreachableError
from neverblink.plc.identity_reading import IdentityReader
from neverblink.plc.node_changes import NodeChanges
from neverblink.plc.trigger.part_counter import PartCounter, PlcTrigger
from neverblink.service_life import end_all

AHEAD = 1024  # triggers heard of while nobody takes them; beyond these the session's own queue is waited with
WATCH_EVERY_S = 0.5
BAD_IN_A_ROW = 2

_log = logging.getLogger("neverblink.plc")

Clock = Callable[[], datetime]


class _End(Enum):
    """Behind the last trigger of a session."""

    END = "end"


class TriggerWatch:
    """Reads the trigger's nodes beside their subscription, and asks for the subscription itself."""

    def __init__(self, connection: PlcConnection, changes: NodeChanges) -> None:
        self._connection = connection
        self._changes = changes
        self._ids = {name: connection.text_id(name) for name in TRIGGER_NODES}
        self._heard: int | None = None
        self._times = 0

    def hear(self, number: int) -> None:
        """Take that the subscription has told this LastTriggered."""
        self._heard = number
        self._times += 1

    async def run(self) -> None:
        """Watch until something is wrong. Raises PlcUnreachableError with what it is."""
        # A server that publishes seldom is given two of its periods.
        every_s = max(WATCH_EVERY_S, 2 * self._changes.every_s)
        bad, unheard = 0, None
        while True:
            await asyncio.sleep(every_s)
            await self._changes.check()
            if unheard == self._times:
                raise PlcUnreachableError("the PLC counts parts, and its subscription no longer tells them")
            found = await self._connection.read_ids(self._ids)
            faults = [f"{name}: {status}" for name, (_, status) in found.items() if status is not None]
            bad = bad + 1 if faults else 0
            if bad >= BAD_IN_A_ROW:
                said = ", ".join(faults)
                raise PlcUnreachableError(
                    f"the PLC has no good value of its trigger ({said}): is its program stopped, or being loaded?"
                )
            unheard = self._times if not faults and found["LastTriggered"][0] != self._heard else None


async def session_triggers(
    connection: PlcConnection,
    counter: PartCounter,
    offset: ClockOffset,
    poll_ms: float,
    clock: Clock,
    reader: IdentityReader | None,
) -> AsyncGenerator[PlcTrigger | None, None]:
    """Yield one session's triggers; None says that its first values are known.

    `reader` asks the PLC whose each part is. Raises PlcUnreachableError, EpochError.
    """
    if reader is not None:
        await reader.check()
    changes = await connection.subscribe(TRIGGER_NODES, poll_ms)
    watch = TriggerWatch(connection, changes)
    counted = _counted(connection, changes, watch, counter, offset, clock)
    async with contextlib.aclosing(heard_at_once(counted, watch.run(), reader)) as heard:
        async for trigger in heard:
            yield trigger


async def heard_at_once(
    session: AsyncGenerator[PlcTrigger | None, None],
    watching: Coroutine[Any, Any, None],
    reader: IdentityReader | None,
) -> AsyncGenerator[PlcTrigger | None, None]:
    """Yield a session's triggers, of each of which the PLC is asked what the part is at the instant it is heard of.

    Whoever takes them may still be busy with the part before: then the answer is there before it is wanted, and the
    PLC is not asked about a part when it has long counted the next. Ends with the session or with what `watching`
    raises, after the parts that came before.
    """
    heard: asyncio.Queue[PlcTrigger | _End | None] = asyncio.Queue(AHEAD)

    async def hear() -> None:
        async with contextlib.aclosing(session):
            async for trigger in session:
                if reader is not None and trigger is not None and not trigger.missed:
                    trigger = replace(trigger, identity=reader.ask(trigger.epoch, trigger.number))
                await heard.put(trigger)

    def ended(_: "asyncio.Task[None]") -> None:
        if not heard.full():
            heard.put_nowait(_End.END)

    tasks = [
        asyncio.create_task(hear(), name="hearing triggers"),
        asyncio.create_task(watching, name="watching the trigger"),
    ]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        while not (heard.empty() and any(task.done() for task in tasks)):
            trigger = await heard.get()
            if isinstance(trigger, _End):
                break
            yield trigger
        for task in tasks:
            if task.done():
                await task
    finally:
        await end_all(tasks)
        if reader is not None:
            await reader.close()


async def _counted(
    connection: PlcConnection,
    changes: NodeChanges,
    watch: TriggerWatch,
    counter: PartCounter,
    offset: ClockOffset,
    clock: Clock,
) -> AsyncGenerator[PlcTrigger | None, None]:
    """Yield the parts that a session's changes count; None says that its first values are known."""
    epoch = await _epoch(connection)
    first = True
    async with contextlib.aclosing(changes.told()) as told:
        async for change in told:
            if change.name == "Epoch":
                epoch = int(change.value)
                continue
            number, now = int(change.value), clock()
            watch.hear(number)
            if counter.fault(epoch, number) is not None:
                epoch = await _settled_epoch(connection, counter, number)
            if first:
                first = False
                found = counter.reconnected(epoch, number, now)
                yield None
            else:
                found = counter.changed(epoch, number, offset.moment(_stated(change.source_time), now))
                if (news := offset.news()) is not None:
                    _log.warning(f"the clock of the PLC that counts part {number} {news}")
            for trigger in found:
                yield trigger


async def _settled_epoch(connection: PlcConnection, counter: PartCounter, number: int) -> int:
    """Return the epoch of a count that cannot be of the one that was told last. Raises EpochError.

    Both nodes are sampled separately: the new epoch may not have been told yet, or not even been written.
    """
    epoch = await _epoch(connection)
    if counter.fault(epoch, number) is not None:
        await asyncio.sleep(SETTLE_S)
        epoch = await _epoch(connection)
        if (why := counter.fault(epoch, number)) is not None:
            raise EpochError(why)
    return epoch


async def _epoch(connection: PlcConnection) -> int:
    value = (await connection.read(["Epoch"]))["Epoch"]
    if value is None:
        raise PlcUnreachableError("the PLC does not tell Epoch: is its program stopped, or being loaded?")
    return int(value)


def _stated(source_time: Any) -> datetime | None:
    if not isinstance(source_time, datetime):
        return None
    return source_time if source_time.tzinfo else source_time.replace(tzinfo=UTC)
