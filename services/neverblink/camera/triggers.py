"""When a part is there: the PLC says so, the camera itself, or a timer on a bench."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from neverblink import telemetry
from neverblink.camera.live import LiveSource, Shot
from neverblink.camera.marks import PLAIN, Marks
from neverblink.camera.picture_counter import MAX_LOST
from neverblink.events import Identity, Tracking
from neverblink.events.identity import part_name
from neverblink.plant import HardwareTrigger, Line, PlcTrigger, Station, TimerTrigger
from neverblink.service_life.time_limit import time_limit

if TYPE_CHECKING:
    from neverblink.plc.identity_reading import PendingIdentity

_NOT_LISTENING = "the PLC triggered this part while the camera node was not listening"
_LOST = "the camera counted this part and its picture did not arrive"


@dataclass(frozen=True, slots=True)
class Trigger:
    """One part at the station. `shot` is its picture where the camera is the trigger.

    `missed` says why a part that was there could not be photographed. `reading` is what the PLC says of the part,
    which may still be on its way, `identity` what is known of it at last, and `marks` whether it is a holdout or a
    challenge.
    """

    part: str
    number: int
    at: datetime
    tracking: Tracking | None = None
    missed: str | None = None
    shot: Shot | None = None
    reading: "PendingIdentity | None" = None
    identity: Identity | None = None
    marks: Marks = PLAIN


async def station_triggers(
    line: Line,
    station: Station,
    camera: LiveSource | None,
    listening: asyncio.Event,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncGenerator[Trigger, None]:
    """Yield the station's triggers until the timer's parts or the camera's recording are through, or for ever.

    `camera` is the source that fires, for a station that its camera triggers. `listening` is set once the trigger's
    source is there.
    """
    settings = station.trigger
    if isinstance(settings, PlcTrigger):
        source = _from_plc(line, station, settings, listening)
    elif isinstance(settings, HardwareTrigger):
        assert camera is not None
        source = _from_camera(line, station, settings, camera, listening, clock)
    else:
        listening.set()
        source = _from_timer(line, settings, clock)
    async for trigger in source:
        yield trigger


async def _from_timer(
    line: Line, settings: TimerTrigger, clock: Callable[[], datetime]
) -> AsyncGenerator[Trigger, None]:
    run = _run(clock())
    loop = asyncio.get_running_loop()
    start, number = loop.time(), 0
    while settings.parts is None or number < settings.parts:
        # Against the start, not the last tick: a slow part delays none of the later ones.
        await asyncio.sleep(max(0.0, start + number / settings.rate_per_s - loop.time()))
        number += 1
        yield Trigger(f"{line.name}/{run}/{number}", number, clock())


async def _from_camera(
    line: Line,
    station: Station,
    settings: HardwareTrigger,
    camera: LiveSource,
    listening: asyncio.Event,
    clock: Callable[[], datetime],
) -> AsyncGenerator[Trigger, None]:
    run, number = _run(clock()), 0
    log = telemetry.logger("camera")
    fields = {"fields": {"line": line.name, "station": station.name}}
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def on_change() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed and nobody waits any more
            loop.call_soon_threadsafe(changed.set)

    camera.start(on_change)
    silent = False
    while True:
        changed.clear()
        if camera.connected:
            listening.set()
        # Asked before the last look: what arrived before the end is taken.
        ended = camera.ended
        # Taken and handed on without an await in between: a picture in hand cannot be lost to a cancellation.
        while (arrival := camera.take()) is not None:
            silent = False
            told = min(arrival.lost, MAX_LOST)
            if told < arrival.lost:
                log.error(f"{arrival.lost} parts are lost at once; the last {told} get a verdict", extra=fields)
                number += arrival.lost - told
            for _ in range(told):
                number += 1
                yield Trigger(f"{line.name}/{run}/{number}", number, arrival.shot.earliest, missed=_LOST)
            number += 1
            yield Trigger(f"{line.name}/{run}/{number}", number, arrival.shot.earliest, shot=arrival.shot)
        if ended:
            return
        try:
            async with time_limit(None if silent else settings.silent_after_s):
                await changed.wait()
        except TimeoutError:
            silent = True
            log.warning(
                f"the camera of {line.name}/{station.name} has not fired for {settings.silent_after_s:g} s:"
                " is the line standing?",
                extra=fields,
            )


async def _from_plc(
    line: Line, station: Station, settings: PlcTrigger, listening: asyncio.Event
) -> AsyncGenerator[Trigger, None]:
    # Only a station that is triggered by a PLC needs the OPC UA client.
    from neverblink.plc.trigger import triggers

    assert line.plc is not None
    log = telemetry.logger("camera")
    recurring = telemetry.Recurring(log)

    def on_state(state: str, sentence: str) -> None:
        fields = {"line": line.name, "plc": state}
        if state == "connected":
            listening.set()
            log.info(sentence, extra={"fields": fields})
        else:
            listening.clear()
            recurring.tell(state, sentence, fields=fields)

    async for found in triggers(
        line.plc, name=f"camera {line.name}/{station.name}", poll_ms=settings.poll_ms, on_state=on_state
    ):
        yield Trigger(
            part=part_name(line.name, found.epoch, found.number),
            number=found.number,
            at=found.at,
            tracking=Tracking(epoch=found.epoch, number=found.number),
            missed=_NOT_LISTENING if found.missed else None,
            reading=found.identity,
        )


def _run(began: datetime) -> str:
    """Return what tells the parts of this run from those of the one before."""
    return began.strftime("%Y%m%dT%H%M%S")
