"""Triggers from the PLC: a new value of LastTriggered is a new part, so part identity starts at the PLC."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from neverblink.plant import Plc
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import TRIGGER_NODES
from neverblink.plc.errors import PlcError
from neverblink.plc.identity_reading import IdentityReader, PendingIdentity
from neverblink.plc.opening import connect
from neverblink.plc.validation import validate_nodes
from neverblink.plc.word import NUMBERS, parts_behind
from neverblink.service_life import end_all, unasked_end
from neverblink.service_life.back_off import BackOff

MIN_BACK_OFF_S = 0.1
MAX_BACK_OFF_S = 1.0
AHEAD = 1024  # triggers heard of while nobody takes them; beyond these the session's own queue is waited with
MAX_MISSED = 1024  # older ones have passed every gate; a longer gap is told in the log
SOURCE_TIME_TRUST = timedelta(seconds=1)
_AHEAD = NUMBERS // 2

_log = logging.getLogger("neverblink.plc")


@dataclass(frozen=True, slots=True)
class PlcTrigger:
    """One part: `missed` is one that the PLC counted and we did not see in time to photograph.

    `identity` is what the PLC says of the part, where the plant file maps nodes for it.
    """

    epoch: int
    number: int
    at: datetime
    missed: bool = False
    identity: PendingIdentity | None = field(default=None, compare=False)


class _End(Enum):
    """Behind the last trigger of a session."""

    END = "end"


class PartCounter:
    """Turns values of Epoch and LastTriggered into triggers, each part exactly once. Pure."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._last: int | None = None

    def reconnected(self, epoch: int, number: int, now: datetime) -> Iterator[PlcTrigger]:
        """Take the first values of a session: the baseline, or what was missed since the session before."""
        if self._epoch is None or self._last is None:
            self._epoch, self._last = epoch, number
            return
        yield from self._count(epoch, number, now, seen=False)

    def changed(self, epoch: int, number: int, at: datetime) -> Iterator[PlcTrigger]:
        """Take a new LastTriggered; parts between the last one and this are yielded as missed."""
        yield from self._count(epoch, number, at, seen=True)

    def went_back(self, number: int) -> bool:
        """Return whether this value lies behind the last one, so that the epoch must be read again."""
        return self._last is not None and not 0 <= parts_behind(number, self._last) < _AHEAD

    def _count(self, epoch: int, number: int, at: datetime, *, seen: bool) -> Iterator[PlcTrigger]:
        if self._last is None or (epoch == self._epoch and self.went_back(number)):
            _log.warning(f"LastTriggered went back to {number} in epoch {epoch}: counting from there")
            self._epoch, self._last = epoch, number
            return
        # A new epoch counts from 1, and may have passed the old one's last number while we were away. One that goes
        # on counting, after a lane clear, is known by its large number.
        anew = self.went_back(number) or (not seen and number <= MAX_MISSED)
        last = 0 if epoch != self._epoch and anew else self._last
        self._epoch, self._last = epoch, number
        new = parts_behind(number, last)
        if new > MAX_MISSED:
            _log.warning(f"{new} parts were triggered unseen; the last {MAX_MISSED} are reported as missed")
        for behind in range(min(new, MAX_MISSED) - 1, -1, -1):
            yield PlcTrigger(epoch, (number - behind) % NUMBERS, at, missed=not (seen and behind == 0))


async def triggers(
    plc: Plc,
    *,
    name: str = "camera",
    poll_ms: float = 20.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_state: Callable[[str, str], None] | None = None,
) -> AsyncGenerator[PlcTrigger, None]:
    """Yield the line's parts for ever; the first value after the start is the baseline and yields nothing.

    Reconnects by itself. A part counted while the connection was away is yielded once, as missed.
    `on_state` hears `connected` once the baseline is known, or `away`, each with a sentence.
    """
    counter = PartCounter()
    back_off = BackOff(MIN_BACK_OFF_S, MAX_BACK_OFF_S)
    tell = on_state or (lambda state, sentence: None)
    while True:
        asked_s: float | None = None
        try:
            async with connect(plc, name) as connection:
                await validate_nodes(connection, TRIGGER_NODES)
                found = _session(connection, counter, poll_ms, clock)
                if plc.identity is not None and plc.identity.by_field:
                    found = _identified(found, IdentityReader(connection, plc.identity))
                async with contextlib.aclosing(found) as session:
                    async for trigger in session:
                        if trigger is None:
                            tell("connected", f"triggers come from {plc.endpoint}")
                            back_off.reset()
                        else:
                            yield trigger
            tell("away", f"the connection to {plc.endpoint} broke: {connection.lost_because or 'closed'}")
        except PlcError as error:
            tell("away", str(error))
            asked_s = error.retry_s
        except asyncio.CancelledError as error:
            # Where nobody asked, the client's own wait has ended so: its session is begun anew.
            unasked_end("camera", f"the session of {name}", error)
            tell("away", f"the session with {plc.endpoint} broke unexpectedly")
        await asyncio.sleep(back_off.next(asked_s))


async def _identified(
    session: AsyncGenerator[PlcTrigger | None, None], reader: IdentityReader
) -> AsyncGenerator[PlcTrigger | None, None]:
    """Yield the session's triggers, of each of which the PLC is asked what the part is at the instant it is heard of.

    Whoever takes them may still be busy with the part before: then the answer is there before it is wanted, and the
    PLC is not asked about a part when it has long counted the next.
    """
    heard: asyncio.Queue[PlcTrigger | _End | None] = asyncio.Queue(AHEAD)

    async def hear() -> None:
        try:
            await reader.check()
            async with contextlib.aclosing(session):
                async for trigger in session:
                    if trigger is not None and not trigger.missed:
                        trigger = replace(trigger, identity=reader.ask(trigger.epoch, trigger.number))
                    await heard.put(trigger)
        finally:
            if not heard.full():
                heard.put_nowait(_End.END)

    hearing = asyncio.create_task(hear(), name="hearing triggers")
    try:
        while not (heard.empty() and hearing.done()):
            trigger = await heard.get()
            if isinstance(trigger, _End):
                break
            yield trigger
        await hearing
    finally:
        await end_all([hearing])
        await reader.close()


async def _session(
    connection: PlcConnection, counter: PartCounter, poll_ms: float, clock: Callable[[], datetime]
) -> AsyncGenerator[PlcTrigger | None, None]:
    """Yield one session's triggers; None says that its first values are known."""
    epoch = await _epoch(connection)
    first = True
    async with contextlib.aclosing(connection.changes(TRIGGER_NODES, poll_ms)) as changes:
        async for change in changes:
            if change.value is None:
                continue
            if change.name == "Epoch":
                epoch = int(change.value)
                continue
            number, now = int(change.value), clock()
            if not first and counter.went_back(number):
                # Both nodes are sampled separately: the new epoch may not have been told yet.
                epoch = await _epoch(connection)
            found = (
                counter.reconnected(epoch, number, now)
                if first
                else counter.changed(epoch, number, _moment(change.source_time, now))
            )
            if first:
                first = False
                yield None
            for trigger in found:
                yield trigger


async def _epoch(connection: PlcConnection) -> int:
    value = (await connection.read(["Epoch"]))["Epoch"]
    return int(value or 0)


def _moment(source_time: Any, now: datetime) -> datetime:
    """Return the PLC's own time of the trigger where its clock agrees with ours, else now."""
    if not isinstance(source_time, datetime):
        return now
    stated = source_time if source_time.tzinfo else source_time.replace(tzinfo=UTC)
    return stated if now - SOURCE_TIME_TRUST <= stated <= now else now
