"""A plant of two lines whose services run as processes and export their spans, to be stopped and let go again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from neverblink.brokers.apache import free_port
from neverblink.brokers.development import DevelopmentBroker
from neverblink.demo.conveyor_control import start_conveyor
from neverblink.demo.plant_file import write_plant
from neverblink.demo.stream import simulated_streams
from neverblink.kafka import ensure_topics
from neverblink.plant import Plant, SimulatedSource, load_plant
from neverblink.service_life.children import Services
from rigs.demo_line import fit_small

_DEFECTS = 0.5
_STRICTER, _SHARE = "stricter", 0.935
"""A model as small as this one sees few defects: with so much of its threshold it rejects the fourth part, a scratch
at 0.96 of what it was, and no good one up to the twelfth."""
_READY_S = 120.0


@dataclass(frozen=True, slots=True)
class TracedPlant:
    """`line-1` has the station top, `line-2` the stations top and side; the conveyors stand until they are started."""

    plant: Plant
    file: Path
    services: Services

    async def run(self, line: str, parts: int, rate_per_s: float = 2.0) -> None:
        """Send so many parts down a line's belt."""
        plc = self.plant.line(line).plc
        assert plc is not None
        await start_conveyor(plc, rate_per_s, parts)

    @contextlib.contextmanager
    def standing_still(self, *names: str) -> Iterator[None]:
        """Let processes stand still for as long as the block lasts."""
        for name in names:
            os.kill(self.services.pid(name), signal.SIGSTOP)
        try:
            yield
        finally:
            for name in names:
                os.kill(self.services.pid(name), signal.SIGCONT)


@contextlib.asynccontextmanager
async def traced_plant(folder: Path) -> AsyncIterator[TracedPlant]:
    """Serve the plant; processes export as the environment says."""
    stream = simulated_streams()[0]
    assert isinstance(stream.source, SimulatedSource)
    stream = replace(stream, source=stream.source.model_copy(update={"defect_rate": _DEFECTS}))
    async with DevelopmentBroker() as broker:
        plant = write_plant(folder, [stream], broker.bootstrap, {})
        await asyncio.to_thread(fit_small, plant, stream)
        file = folder / "plant.yaml"
        await asyncio.to_thread(_stricter, plant)
        document = yaml.safe_load(file.read_text())
        document["products"][0]["artifact"] = _STRICTER
        first = document["lines"][0]
        first["timing"]["distance_to_gate_m"] = 4.0
        port = free_port({int(first["plc"]["endpoint"].rsplit(":", 1)[1].split("/")[0])})
        second = {
            **first,
            "name": "line-2",
            "plc": {**first["plc"], "endpoint": f"opc.tcp://127.0.0.1:{port}/neverblink"},
        }
        second["stations"] = [*first["stations"], {**first["stations"][0], "name": "side"}]
        document["lines"].append(second)
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        plant = load_plant(file)
        await ensure_topics(plant.kafka)
        services = Services(folder / "logs")
        try:
            commands = {
                "plc-sim": ["plc-sim", "--plant", str(file), "--standing", "--certificates", str(folder / "plcs")],
                "scorer": ["scorer", "--plant", str(file)],
                "bridge": ["bridge", "--plant", str(file)],
                "ledger": ["ledger", "run", "--plant", str(file)],
                "drift": ["drift", "--plant", str(file)],
                "camera-1": ["camera", "--plant", str(file), "--station", "line-1/top"],
                "camera-2": ["camera", "--plant", str(file), "--station", "line-2/top", "--station", "line-2/side"],
            }
            for name, arguments in commands.items():
                await services.start(name, *arguments)
            await services.until_ready(list(commands), _READY_S, lambda name: None)
            yield TracedPlant(plant, file, services)
        finally:
            await services.stop()


def _stricter(plant: Plant) -> None:
    from neverblink.vision.artifact import load_artifact, recalibrated

    folder = plant.artifact_folder(plant.products[0])
    fitted = load_artifact(folder).manifest.calibration
    given = {"threshold": fitted.threshold * _SHARE, "method": "given", "unsure_from": None}
    recalibrated(folder, fitted.model_copy(update=given), out=folder.parent / _STRICTER)
