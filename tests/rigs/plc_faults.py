"""What is done to a floor of PLCs, its bridge and its Kafka: drawn by a seed, done while parts flow."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rigs.plc_floor import RunningFloor
from rigs.plc_process import READY

OfLine = Literal["PLC killed", "PLC switched off and on", "PLC stopped", "network reset", "network stalled"]
InProgram = Literal["epoch not grown", "program loaded", "clock set wrong"]
OfAll = Literal["bridge killed", "Kafka away"]
Kind = OfLine | InProgram | OfAll
OF_LINE: tuple[OfLine, ...] = (
    "PLC killed", "network stalled", "PLC stopped", "PLC switched off and on", "network reset"
)  # fmt: skip
IN_PROGRAM: tuple[InProgram, ...] = ("epoch not grown", "program loaded", "clock set wrong")
LASTS_S: dict[Kind, tuple[float, float]] = {
    "PLC killed": (0.2, 1.5),
    "PLC switched off and on": (0.0, 0.0),
    "PLC stopped": (0.2, 3.0),
    "network reset": (0.2, 2.0),
    "network stalled": (0.2, 3.0),
    "epoch not grown": (4.0, 7.0),
    "program loaded": (0.3, 2.0),
    "clock set wrong": (1.0, 4.0),
    "bridge killed": (0.0, 0.0),
    "Kafka away": (5.0, 5.0),
}
"""From when to when a fault may be over, seconds."""
RECOVERS_S = 10.0


@dataclass
class Fault:
    """One thing that is done, to one line or to all: planned in seconds from the start, begun and ended at instants."""

    kind: Kind
    line: str | None
    at_s: float
    lasts_s: float
    began: float = 0.0
    ended: float = 0.0


def schedule(
    lines: list[str], faults: int, seconds: float, seed: int, kinds: Sequence[OfLine | InProgram] = OF_LINE
) -> list[Fault]:
    """Return so many faults of all kinds, each line's (of `kinds`) and those of all spread over the time."""
    drawn = random.Random(seed)
    killed, away = max(1, round(faults * 0.08)), max(1, round(faults * 0.03))
    of_all: list[Kind] = ["bridge killed" if number < killed else "Kafka away" for number in range(killed + away)]
    of_line: list[Kind] = [kinds[number % len(kinds)] for number in range(max(0, faults - killed - away))]
    drawn.shuffle(of_all)
    drawn.shuffle(of_line)
    found: list[Fault] = []
    shares: list[tuple[str | None, list[Kind]]] = [(None, of_all)]
    shares += [(line, of_line[number :: len(lines)]) for number, line in enumerate(lines)]
    for line, share in shares:
        stretch = seconds / (len(share) + 0.5)
        for number, kind in enumerate(share):
            # The first stretch begins calm, so that every line is known to run.
            at = stretch * (number + 0.5 + drawn.uniform(0, 0.4))
            found.append(Fault(kind, line, at, drawn.uniform(*LASTS_S[kind])))
    return sorted(found, key=lambda fault: fault.at_s)


async def do_all(floor: RunningFloor, faults: list[Fault], say: Callable[[Fault], None]) -> None:
    """Do them at their time; of one line, and of all, one after the other."""
    began = time.monotonic()

    async def one_after_the_other(share: list[Fault]) -> None:
        for fault in share:
            await asyncio.sleep(began + fault.at_s - time.monotonic())
            fault.began = time.time()
            await _do(floor, fault)
            fault.ended = time.time()
            say(fault)

    async with asyncio.TaskGroup() as tasks:
        for line in (None, *floor.plcs):
            tasks.create_task(one_after_the_other([fault for fault in faults if fault.line == line]))


async def _do(floor: RunningFloor, fault: Fault) -> None:
    if fault.line is None:
        await _to_all(floor, fault)
        return
    plc, network = floor.plcs[fault.line], floor.networks[fault.line]
    match fault.kind:
        case "PLC killed":
            plc.again_s = fault.lasts_s
            restarts = plc.restarts
            plc.send(signal.SIGKILL)
            await _until(lambda: plc.restarts > restarts)
            await plc.said(READY)
        case "PLC switched off and on":
            await plc.tell("restart")
            await asyncio.sleep(0.5)
        case "PLC stopped":
            plc.send(signal.SIGSTOP)
            await asyncio.sleep(fault.lasts_s)
            plc.send(signal.SIGCONT)
        case "epoch not grown":
            await plc.tell("forget")
            await asyncio.sleep(fault.lasts_s)
            await plc.tell("epoch")
            await asyncio.sleep(0.5)
        case "program loaded":
            await plc.tell(f"download {fault.lasts_s:.2f}")
            await asyncio.sleep(fault.lasts_s + 0.5)
        case "clock set wrong":
            # Behind or ahead, by an amount that differs with the fault.
            wrong_s = (fault.lasts_s - 2.5) * 0.6
            await plc.tell(f"clock {wrong_s:.2f}")
            await asyncio.sleep(fault.lasts_s)
            await plc.tell("clock 0")
        case "network reset":
            network.reset()
            await asyncio.sleep(fault.lasts_s)
            network.mend()
        case "network stalled":
            network.stall()
            await asyncio.sleep(fault.lasts_s)
            network.mend()


async def _to_all(floor: RunningFloor, fault: Fault) -> None:
    if fault.kind == "Kafka away":
        await floor.kafka_away(fault.lasts_s)
        return
    restarts = floor.bridge.restarts
    floor.bridge.send(signal.SIGKILL)
    await _until(lambda: floor.bridge.restarts > restarts)
    try:
        await floor.bridge.said(*(f"{name} is ready" for name in floor.plcs), within_s=RECOVERS_S)
    except TimeoutError:
        return  # a line's own fault may last longer


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(0.02)
