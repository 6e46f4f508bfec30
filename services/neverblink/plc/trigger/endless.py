"""Triggers from the PLC: a new value of LastTriggered is a new part, so part identity starts at the PLC."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

from neverblink.plant import Plc
from neverblink.plc.clock_offset import ClockOffset
from neverblink.plc.contract import TRIGGER_NODES
from neverblink.plc.errors import PlcError
from neverblink.plc.identity_reading import IdentityReader
from neverblink.plc.opening import connect
from neverblink.plc.trigger.part_counter import PartCounter, PlcTrigger
from neverblink.plc.trigger.session import session_triggers
from neverblink.plc.validation import validate_nodes
from neverblink.service_life import unasked_end
from neverblink.service_life.back_off import BackOff

MIN_BACK_OFF_S = 0.1
MAX_BACK_OFF_S = 1.0


async def triggers(
    plc: Plc,
    *,
    name: str = "camera",
    poll_ms: float = 20.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_state: Callable[[str, str], None] | None = None,
) -> AsyncGenerator[PlcTrigger, None]:
    """Yield the line's parts for ever; the first value after the start is the baseline and yields nothing.

    Begins a session anew whenever one ends, and ends one that tells nothing any more. A part counted while there was
    none is yielded once, as missed. A PLC that counts anew in an epoch that was seen is `away` until its epoch grows.
    `on_state` hears `connected` once the baseline is known, or `away`, each with a sentence.
    """
    counter, offset = PartCounter(), ClockOffset()
    back_off = BackOff(MIN_BACK_OFF_S, MAX_BACK_OFF_S)
    tell = on_state or (lambda state, sentence: None)
    while True:
        asked_s: float | None = None
        try:
            async with connect(plc, name) as connection:
                await validate_nodes(connection, TRIGGER_NODES)
                nodes = plc.identity
                reader = IdentityReader(connection, nodes) if nodes is not None and nodes.by_field else None
                found = session_triggers(connection, counter, offset, poll_ms, clock, reader)
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
