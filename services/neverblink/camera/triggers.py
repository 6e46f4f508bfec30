"""When a part is there: the PLC says so, or a timer on a bench."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from neverblink import telemetry
from neverblink.events import Tracking
from neverblink.plant import Line, PlcTrigger, Station, TimerTrigger


@dataclass(frozen=True, slots=True)
class Trigger:
    """One part at the station. `missed` is one that was there and could not be photographed."""

    part: str
    number: int
    at: datetime
    tracking: Tracking | None = None
    missed: bool = False


async def station_triggers(
    line: Line,
    station: Station,
    listening: asyncio.Event,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncGenerator[Trigger, None]:
    """Yield the station's triggers until the timer's parts are through, or for ever.

    `listening` is set once the trigger's source is there.
    """
    if isinstance(station.trigger, PlcTrigger):
        source = _from_plc(line, station, station.trigger, listening)
    else:
        listening.set()
        source = _from_timer(line, station.trigger, clock)
    async for trigger in source:
        yield trigger


async def _from_timer(
    line: Line, settings: TimerTrigger, clock: Callable[[], datetime]
) -> AsyncGenerator[Trigger, None]:
    began = clock()
    run = began.strftime("%Y%m%dT%H%M%S")
    loop = asyncio.get_running_loop()
    start, number = loop.time(), 0
    while settings.parts is None or number < settings.parts:
        # Against the start, not the last tick: a slow part delays none of the later ones.
        await asyncio.sleep(max(0.0, start + number / settings.rate_per_s - loop.time()))
        number += 1
        yield Trigger(f"{line.name}/{run}/{number}", number, clock())


async def _from_plc(
    line: Line, station: Station, settings: PlcTrigger, listening: asyncio.Event
) -> AsyncGenerator[Trigger, None]:
    # Only a station that is triggered by a PLC needs the OPC UA client.
    from neverblink.plc.trigger import triggers

    assert line.plc is not None
    log = telemetry.logger("camera")

    def on_state(state: str, sentence: str) -> None:
        level = logging.WARNING
        if state == "connected":
            level = logging.INFO
            listening.set()
        log.log(level, sentence, extra={"fields": {"line": line.name, "plc": state}})

    async for found in triggers(
        line.plc, name=f"camera {line.name}/{station.name}", poll_ms=settings.poll_ms, on_state=on_state
    ):
        yield Trigger(
            part=f"{line.name}/{found.epoch}/{found.number}",
            number=found.number,
            at=found.at,
            tracking=Tracking(epoch=found.epoch, number=found.number),
            missed=found.missed,
        )
