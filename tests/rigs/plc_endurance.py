"""One line's session, in this process, that verdicts and broken connections pass through: what is left of them?"""

import asyncio
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.brokers.apache import free_port
from neverblink.brokers.route import Route
from neverblink.events import Actuation, Decision, Outcome
from neverblink.plant import Line, Timing
from neverblink.plc.trigger import triggers
from rigs import plc_process
from rigs.cuttable_network import CuttableNetwork
from rigs.plc_floor import verdict
from rigs.supervised_process import SupervisedProcess

TIMING = Timing(distance_to_gate_m=2.0, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
WITHIN_S = 30.0


@dataclass(frozen=True)
class Sample:
    """What this process holds after so many verdicts and reconnects; `objects` are those that Python tracks."""

    verdicts: int
    reconnects: int
    confirmed: int
    tasks: int
    objects: int
    resident_mib: float


async def endure(
    folder: Path,
    verdicts: int,
    reconnects: int,
    rate: float,
    samples: int,
    say: Callable[[Sample], None] = lambda sample: None,
) -> list[Sample]:
    """Pass so many verdicts through a session that is broken so often, spread evenly; look so many times."""
    taken: set[int] = set()
    port, way = free_port(taken), free_port(taken)
    command = plc_process.arguments("line-1", TIMING, port, folder, rate=rate, stop_after=0)
    async with (
        SupervisedProcess("line-1", command, folder) as plc,
        CuttableNetwork([Route(port, way)]) as network,
    ):
        await plc.said(plc_process.READY)
        line = _line(way)
        outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

        def report(event: Actuation, _: object) -> None:
            if event.outcome is not None:
                outcomes[event.outcome] += 1

        session, stop = LineSession(line, report, instruments()), asyncio.Event()
        working = [asyncio.create_task(session.run(stop)), asyncio.create_task(_feed(line, session))]
        found: list[Sample] = []
        try:
            async with asyncio.timeout(WITHIN_S):
                await session.ready.wait()
            await plc.tell("run")
            for number in range(1, reconnects + 1):
                await _until(lambda due=verdicts * number / reconnects: sum(outcomes.values()) >= due)
                network.reset()
                network.mend()
                await asyncio.sleep(0.05)
                confirmed = outcomes[Outcome.CONFIRMED]
                await _until(lambda before=confirmed: outcomes[Outcome.CONFIRMED] > before)
                if number % (reconnects // samples) == 0:
                    found.append(_sample(sum(outcomes.values()), number, outcomes[Outcome.CONFIRMED]))
                    say(found[-1])
        finally:
            stop.set()
            await working[0]
            working[1].cancel()
            await asyncio.gather(*working, return_exceptions=True)
    return found


async def _until(condition: Callable[..., bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _feed(line: Line, session: LineSession) -> None:
    assert line.plc is not None
    async for trigger in triggers(line.plc, name="camera", poll_ms=20):
        session.take(verdict(line, trigger, Decision.PASS, trigger.at), {})


def _sample(verdicts: int, reconnects: int, confirmed: int) -> Sample:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        verdicts, reconnects, confirmed, len(asyncio.all_tasks()), len(gc.get_objects()),
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    )  # fmt: skip


def _line(port: int) -> Line:
    return Line.model_validate(
        {
            "name": "line-1",
            "timing": TIMING.model_dump(),
            "plc": {
                "endpoint": f"opc.tcp://127.0.0.1:{port}/neverblink",
                "security": {"policy": "None", "allow_insecure": True},
            },
            "stations": [
                {
                    "name": "top",
                    "product": "part",
                    "source": {"kind": "simulated", "drawing": "pcb"},
                    "trigger": {"kind": "plc"},
                }
            ],
        }
    )
