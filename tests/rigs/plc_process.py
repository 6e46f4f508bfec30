"""One simulated PLC as a process: retains its epoch over a kill, has an operator, takes orders on standard input.

`run` lets the operator start the conveyor, and start it again after each stop; `restart` switches the PLC off and on;
`finish` stops the conveyor for good. Each start counts the epoch up, as a PLC's start does, but for `forget`: then it
counts anew in an epoch that was seen, until `epoch` lets somebody set it. `download S` takes the program's nodes away
for so long, `clock S` sets the PLC's clock wrong by so much.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from neverblink import telemetry
from neverblink.plant import Timing
from neverblink.plc.contract import PROFILES
from neverblink.service_life import keep_for_good
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.simulator import PlcSimulator

OPERATOR_S = 0.5
READY = "the PLC listens"


def arguments(
    name: str, timing: Timing, port: int, folder: Path, *, rate: float, stop_after: int = 5, slots: int = 0,
    identity: tuple[Path, Path] | None = None, run: bool = False, profile: str = "verdict-table",
) -> list[str]:  # fmt: skip
    """Return the arguments for Python to run this process."""
    found = [
        str(Path(__file__)), "--name", name, "--timing", timing.model_dump_json(), "--port", str(port),
        "--folder", str(folder), "--rate", str(rate), "--stop-after", str(stop_after), "--slots", str(slots),
        "--profile", profile,
    ]  # fmt: skip
    if identity is not None:
        found += ["--certificate", str(identity[0]), "--key", str(identity[1])]
    return [*found, "--run"] if run else found


def truth_file(folder: Path, name: str) -> Path:
    """Return where the PLC of that line writes what its gate did, a line of JSON for each part."""
    return folder / f"{name}.truth.jsonl"


class Plc:
    """The simulated PLC with its retentive memory and its operator."""

    def __init__(self, line: SimulatedLine, folder: Path, *, run: bool) -> None:
        self._retained = folder / f"{line.name}.epoch"
        epoch = self._count_epoch()
        truth = os.open(truth_file(folder, line.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.simulator = PlcSimulator(
            SimulatedLine(**{**{name: getattr(line, name) for name in line.__slots__}, "epoch": epoch}),
            truth=lambda entry: os.write(truth, orjson.dumps(entry | {"again": self._again}) + b"\n"),
        )
        self._again = False
        self._wanted = run
        self._needs_permit = PROFILES[line.profile].silence_passes

    async def obey(self, order: str) -> None:
        """Do what the floor asks for."""
        word, _, number = order.partition(" ")
        amount = float(number or 0)
        if word == "run":
            self._wanted = True
        elif word == "finish":
            self._wanted = False
            await self.simulator.put("Conveyor.Run", False)
        elif word == "restart":
            self._count_epoch()
            await self.simulator.restart()
        elif word == "forget":
            await self.simulator.new_epoch(grown=False)
            self._again = True
        elif word == "epoch":
            await self.simulator.put("Epoch", self._count_epoch() - 1)
            await self.simulator.new_epoch()
            self._again = False
        elif word == "download":
            self._count_epoch()
            await self.simulator.download(amount)
        elif word == "clock":
            self.simulator.clock_s = amount

    async def operate(self) -> None:
        """Press start whenever the conveyor stands, half a second after one sees it: it also resets a stop."""
        while True:
            await asyncio.sleep(0.1)
            if self._wanted and not self.simulator.value("Conveyor.Run"):
                await asyncio.sleep(OPERATOR_S)
                # Where silence passes, a line may run only with the bridge's permit.
                if self._wanted and (self.simulator.value("Permit") or not self._needs_permit):
                    await self.simulator.put("Conveyor.Run", True)

    def _count_epoch(self) -> int:
        epoch = int(self._retained.read_text()) + 1 if self._retained.exists() else 1
        self._retained.write_text(str(epoch))
        return epoch


async def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--timing", type=Timing.model_validate_json, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--stop-after", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--profile", default="verdict-table")
    parser.add_argument("--run", action="store_true")
    chosen = parser.parse_args(argv)
    telemetry.setup("plc", "chaos")
    changes: dict[str, Any] = (
        {} if chosen.certificate is None else {"certificate": chosen.certificate, "key": chosen.key}
    )
    line = SimulatedLine(
        chosen.name, chosen.timing, rate_per_s=chosen.rate, running=False, port=chosen.port, watchdog_ms=600.0,
        stop_after_fail_safe=chosen.stop_after, slots=chosen.slots, profile=chosen.profile, **changes,
    )  # fmt: skip
    plc, stop = Plc(line, chosen.folder, run=chosen.run), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with plc.simulator:
        keep_for_good()
        telemetry.logger("plc").info(READY)
        working = [asyncio.create_task(plc.operate()), asyncio.create_task(_obey(orders, plc)), plc.simulator.program]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in working[:2]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _obey(orders: asyncio.StreamReader, plc: Plc) -> None:
    while word := await orders.readline():
        await plc.obey(word.decode().strip())


if __name__ == "__main__":
    asyncio.run(main())
