"""Asks live PLCs, without Kafka and beside a bridge that runs, whether a bridge could serve their lines."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from neverblink.bridge.profile import Profile
from neverblink.bridge.profiles import profile_of
from neverblink.bridge.scheduler import Answer, Order
from neverblink.plant import Line
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import Code, LineState, slot_name
from neverblink.plc.errors import PlcError
from neverblink.plc.opening import connect
from neverblink.plc.validation import validate
from neverblink.service_life.time_limit import time_limit

WRITE_WITHIN_S = 2.0
ASK_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class PlcCheck:
    """What came of one line: sentences for the person at the PLC, and whether a bridge could serve it."""

    line: str
    good: bool
    said: tuple[str, ...]


async def check_lines(lines: Sequence[Line], write_test: int | None = None) -> list[PlcCheck]:
    """Check the lines' PLCs side by side; `write_test` is the number of a part to tell each as rejected."""
    return list(await asyncio.gather(*(_check(line, write_test) for line in lines)))


async def _check(line: Line, write_test: int | None) -> PlcCheck:
    assert line.plc is not None
    said: list[str] = []
    good = False
    try:
        async with connect(line.plc, f"check {line.name}") as connection:
            said += [
                f"the {whose} certificate of the session ends on {end:%Y-%m-%d}"
                for whose, end in connection.expiries.items()
            ]
            agreement = await validate(connection)
            said.append(f"every node of profile {line.plc.profile} is there, with its type and rights")
            table = await profile_of(line.plc).open(connection)
            look = await table.look(time.time())
            state = LineState(look.line_state).name.lower() if look.line_state in set(LineState) else look.line_state
            said.append(
                f"it is at part {look.view.last_triggered} of epoch {look.view.epoch}, has {agreement.slots} slots, "
                f"says a lead of {look.lead_s:g} s, and its line is {state}"
            )
            before = look.plc_heartbeat
            await asyncio.sleep(0.3)
            good = (await table.look(time.time())).plc_heartbeat != before
            said.append("its program runs: PlcHb moves" if good else "PlcHb does not move: its program does not run")
            if write_test is not None and good:
                good = await _write(connection, table, look.view.epoch, write_test, said)
    except PlcError as error:
        return PlcCheck(line.name, False, (*said, *str(error).splitlines()))
    return PlcCheck(line.name, good, tuple(said))


async def _write(connection: PlcConnection, table: Profile, epoch: int, part: int, said: list[str]) -> bool:
    """Tell the PLC a reject of that part; add what came of it, and return whether it has heard it."""
    now = time.time()
    order = Order(epoch, part, Code.REJECT, now + WRITE_WITHIN_S, now)
    answer: Answer | None = Answer("it was not answered")
    try:
        async with time_limit(WRITE_WITHIN_S):
            while True:
                answer = (await table.tell([order], now))[order]
                if answer is None or answer.outcome is not None:
                    break
                await asyncio.sleep(ASK_AGAIN_S)
    except TimeoutError:
        said.append(f"the write was not taken within {WRITE_WITHIN_S:g} s: {answer.why if answer else 'no answer'}")
        return False
    if connection.profile.silence_passes:
        said.append(f"it answers what it is told of part {part}: {(answer and answer.why) or 'accepted'}")
        return True
    name = slot_name(part % (await validate(connection)).slots)
    word = (await connection.read([name]))[name]
    if answer is not None or word != order.word:
        said.append(f"{name} was written and says {word} instead of {order.word}: {(answer and answer.why) or ''}")
        return False
    said.append(f"{name} was written and read back: part {part} of epoch {epoch} is a reject")
    return True
