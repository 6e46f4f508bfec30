"""What a node could not send in time: kept on disk, and sent when the broker is back, for statistics."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

from neverblink import telemetry
from neverblink.camera.instruments import Instruments
from neverblink.camera.spool import Spool, Spooled, SpoolError
from neverblink.events import Frame, Reason, Verdict
from neverblink.kafka import KafkaError
from neverblink.service_life.back_off import BackOff
from neverblink.service_life.time_limit import time_limit
from neverblink.storage.frame_objects import ObjectError

Send = Callable[[Frame | Verdict, Mapping[str, str]], Awaitable[None]]
T = TypeVar("T")

_SEND_TIMEOUT_S = 5.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 1.0
_MOST_IN_HAND = 64
"""Events on their way to a disk that does not keep up; more are dropped, because memory is no spool."""

_IDLE_S = 0.5
"""How often it is asked whether a spooled frame's deadline has passed."""


class Backlog:
    """Two spools of one station: verdicts, which are sent first, and frames.

    A frame leaves the spool only after its deadline: its `unscored` verdict has been told, and a scorer must not find
    time to decide otherwise.
    """

    def __init__(
        self,
        verdicts: Spool,
        frames: Spool,
        *,
        name: str,
        send: Send,
        has_room: Callable[[], bool],
        clock: Callable[[], datetime],
        labels: dict[str, str],
        measured: Instruments,
    ) -> None:
        """`has_room` says whether no live frame waits: those go first."""
        self._spools: dict[str, Spool] = {"verdict": verdicts, "frame": frames}
        self._name = name
        self._send = send
        self._has_room = has_room
        self._clock = clock
        self._labels = labels
        self._in_hand = 0
        self.usable = False
        """Whether there is a folder to keep anything in."""
        self.broker_away = False
        """Whether the last thing sent was not acknowledged: then there is no point in waiting for the next one."""
        # Disks block. One thread, so that a spool has one user at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"spool-{name.replace('/', '-')}")
        self._log = telemetry.logger("camera")
        self._recurring = telemetry.Recurring(self._log)
        self._measured = measured

    def __len__(self) -> int:
        return sum(len(spool) for spool in self._spools.values())

    async def open(self) -> None:
        """Find what an earlier run has left. Without a folder to write to, the node works and keeps nothing."""
        try:
            for kind, spool in self._spools.items():
                await self._on_disk(kind, spool.open)
        except SpoolError as error:
            self._log.error(f"{error}; what cannot be sent in time will be dropped", extra={"fields": self._labels})
            return
        self.usable = True
        if len(self):
            self._log.info(
                f"{self._name}: {len(self)} events of an earlier run wait to be sent", extra={"fields": self._labels}
            )

    async def keep(self, event: Frame | Verdict, trace: Mapping[str, str]) -> None:
        """Keep an event that could not be sent; one that cannot be kept either is counted and logged."""
        kind = _kind(event)
        spool = self._spools[kind]
        if not self.usable:
            self._drop(kind, "no spool", f"the {kind} of part {event.part} is not kept: there is no spool")
            return
        if self._in_hand >= _MOST_IN_HAND:
            self._drop(kind, "slow disk", f"the {kind} of part {event.part} is not kept: the disk does not keep up")
            return
        self._in_hand += 1
        try:
            displaced = await self._on_disk(kind, lambda: spool.put(event, trace))
        except SpoolError as error:
            self._drop(kind, "not written", f"the {kind} of part {event.part} is not kept: {error}")
            return
        finally:
            self._in_hand -= 1
        self._measured.spooled.add(1, {**self._labels, "kind": kind})
        if displaced:
            self._drop(
                kind, "full", f"the spool is full, and the {displaced} oldest {kind}s made room", count=displaced
            )

    async def send_all(self) -> None:
        """Send what is kept, for ever: verdicts first, frames when nothing live waits."""
        back_off = BackOff(_FIRST_WAIT_S, _LONGEST_WAIT_S)
        while True:
            due = await self._due()
            if due is None:
                await asyncio.sleep(_IDLE_S)
                continue
            kind = _kind(due.event)
            try:
                async with time_limit(_SEND_TIMEOUT_S):
                    await self._send(due.event, due.trace)
            except (TimeoutError, KafkaError, ObjectError) as error:
                if isinstance(error, ObjectError) and error.reason is not Reason.STORE_AWAY:
                    await self._forget(due)  # waiting cannot mend it
                    self._drop(kind, "unmendable", f"the spooled {kind} of part {due.event.part} is dropped: {error}")
                else:
                    await asyncio.sleep(back_off.next())
                continue
            back_off.reset()
            if self.broker_away:
                self.broker_away = False
                self._log.info(
                    f"{self._name}: the broker is back, and {len(self)} events wait", extra={"fields": self._labels}
                )
            await self._forget(due)
            self._measured.spool_sent.add(1, {**self._labels, "kind": kind})

    def close(self) -> None:
        """Let go of the thread; what is kept stays on disk."""
        self._thread.shutdown(wait=False)

    async def _due(self) -> Spooled | None:
        for kind, spool in self._spools.items():
            if not len(spool) or (kind == "frame" and not self._has_room()):
                continue
            try:
                oldest = await self._on_disk(kind, spool.oldest)
            except SpoolError as error:
                self._drop(kind, "not read", str(error))
                return await self._due()
            if oldest is None or (isinstance(oldest.event, Frame) and oldest.event.deadline >= self._clock()):
                continue
            return oldest
        return None

    async def _forget(self, spooled: Spooled) -> None:
        kind = _kind(spooled.event)
        await self._on_disk(kind, lambda: self._spools[kind].remove(spooled))

    def _drop(self, kind: str, why: str, sentence: str, count: int = 1) -> None:
        self._measured.spool_dropped.add(count, {**self._labels, "kind": kind})
        self._recurring.tell(
            (kind, why), f"{self._name}: {sentence}", level=logging.ERROR, fields={**self._labels, "dropped": count}
        )

    async def _on_disk(self, kind: str, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._measured.spool_waiting.set(len(self._spools[kind]), {**self._labels, "kind": kind})


def _kind(event: Frame | Verdict) -> str:
    return "frame" if isinstance(event, Frame) else "verdict"
