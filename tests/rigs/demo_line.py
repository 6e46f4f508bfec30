"""One line of the demonstration in one process, from the PLC's node to the records: followed by its serial numbers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import cv2

from neverblink.bridge import service as bridge
from neverblink.brokers.development import DevelopmentBroker
from neverblink.brokers.route import Route
from neverblink.camera.known_parts import KnownParts
from neverblink.camera.line_contexts import LineContexts
from neverblink.camera.service import CameraNode
from neverblink.camera.triggers import Trigger
from neverblink.demo.plant_file import write_plant
from neverblink.demo.stream import Stream, simulated_streams
from neverblink.events.context_schedule import Wish, changed
from neverblink.events.envelope import E
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.kafka.line_contexts import change_context
from neverblink.kafka.membership import Membership
from neverblink.ledger import service as ledger
from neverblink.plant import Line, Plant, ProofSettings, SimulatedSource
from neverblink.scorer.commands import followed_models
from neverblink.scorer.service import Scorer
from neverblink.service_life import end_all
from neverblink.simulation.parts import Simulation
from neverblink.simulation.plc.part_names import serial_of
from neverblink.simulation.plc.simulated_plcs import simulated_lines
from neverblink.simulation.plc.simulator import PlcSimulator

NORMALS = 20
SIDE = 64
_READY_S = 60.0


@dataclass
class DemoLine:
    """What runs: camera node, scorer, bridge and ledger as they are in a plant, the PLC simulated."""

    plant: Plant
    line: Line
    plc: PlcSimulator
    contexts: LineContexts

    def serial(self, number: int) -> str:
        """Return the serial number that the PLC's program gives a part."""
        return serial_of(self.plc.line.epoch, number)

    async def put(self, wish: Wish) -> None:
        """Put values onto the line, and wait until its camera node has them."""
        name, now = self.line.name, datetime.now(UTC)
        change = partial(changed, line=name, wish=wish, at=now, by="mes")
        done = await change_context(self.plant.kafka, self.plant.site, name, change)
        said = self.contexts.of(name)
        async with asyncio.timeout(_READY_S):
            while said(Trigger("next", 0, datetime.now(UTC))) != done.change.values:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def run(self, parts: int) -> None:
        """Send so many parts down the belt, and wait until the last has passed the gate."""
        await self.plc.run_conveyor(parts)
        async with asyncio.timeout(_READY_S):
            while not self.plc.idle:  # noqa: ASYNC110 - the PLC tells nobody
                await asyncio.sleep(0.05)

    async def read(self, kind: type[E], enough: Callable[[list[E]], bool], within_s: float = 60) -> list[E]:
        """Read a topic from its beginning until `enough`."""
        found: list[E] = []
        async with EventConsumer(self.plant.kafka, kind.TOPIC, client_id="test-reader") as consumer:
            async with asyncio.timeout(within_s):
                while not enough(found):
                    found += [record.read(kind)[0] for record in await consumer.poll()]
        return found


@contextlib.asynccontextmanager
async def demo_line(
    folder: Path,
    *,
    proof: ProofSettings | None = None,
    challenges: Mapping[int, str] | None = None,
    ledger: str | None = None,
    routes: Sequence[Route] = (),
) -> AsyncIterator[DemoLine]:
    """Serve the demonstration's first line, its conveyor standing; `folder` gets plant file, model and records.

    `challenges` are the reference parts that the PLC says, by number; the records are kept at `ledger` where one is
    named, and the broker serves at `routes` besides.
    """
    stream = simulated_streams()[0]
    stop = asyncio.Event()
    async with DevelopmentBroker(routes=routes) as broker:
        plant = write_plant(folder, [stream], broker.bootstrap, {})
        if ledger is not None:
            plant = plant.model_copy(update={"storage": plant.storage.model_copy(update={"ledger": ledger})})
        plant = plant if proof is None else plant.model_copy(update={"proof": proof})
        await asyncio.to_thread(fit_small, plant, stream)
        await ensure_topics(plant.kafka)
        (belt,) = simulated_lines(plant, running=False)
        async with contextlib.AsyncExitStack() as stack:
            plc = await stack.enter_async_context(
                PlcSimulator(replace(belt, rate_per_s=2.0, challenges=dict(challenges or {})))
            )
            line = plant.lines[0]
            contexts = LineContexts(plant.kafka, [line.name], client_id="camera-context")
            found = DemoLine(plant, line, plc, contexts)
            stack.push_async_callback(_ended, await _begun(found, stack, stop), stop)
            yield found


async def _begun(found: DemoLine, stack: contextlib.AsyncExitStack, stop: asyncio.Event) -> list["asyncio.Task[None]"]:
    """Begin the services; returns their tasks once the line is served."""
    plant, line = found.plant, found.line
    contexts = found.contexts
    place, file = (line.name, line.stations[0].name), plant.proof.challenges.references
    known = KnownParts(plant.kafka, [place], file, client_id="camera-challenges")
    producer = await stack.enter_async_context(EventProducer(plant.kafka, source="/demo/test", client_id="test"))
    node = CameraNode(
        line, line.stations[0], producer, plant.storage, context=contexts.of(line.name), known=known.of(*place)
    )
    models = await stack.enter_async_context(followed_models(plant, client_id="scorer-models"))
    member = Membership("scorer")
    frames = EventConsumer(plant.kafka, "frames", client_id="scorer", group="scorer", membership=member)
    scorer = Scorer(await stack.enter_async_context(frames), producer, models, plant.scorer)
    works = {
        "context": contexts.follow(),
        "announced": known.follow(),
        "camera": node.run(stop),
        "scorer": scorer.run(stop),
        "bridge": bridge.serve(plant, [line], stop),
        "ledger": ledger.serve(plant, stop),
    }
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    await asyncio.gather(contexts.known(_READY_S), known.known(_READY_S))
    async with asyncio.timeout(_READY_S):
        await node.listening.wait()
        while not found.plc.value("Permit"):  # noqa: ASYNC110 - the PLC tells nobody
            await asyncio.sleep(0.05)
    return tasks


async def _ended(tasks: list["asyncio.Task[None]"], stop: asyncio.Event) -> None:
    stop.set()
    await asyncio.wait(tasks[2:], timeout=_READY_S)
    await end_all(tasks)


def fit_small(plant: Plant, stream: Stream) -> None:
    """Fit a small model on drawn good parts, as the demonstration does with more of them."""
    from neverblink.trainer.fitting.fit import fit
    from neverblink.trainer.fitting.settings import FitSettings

    assert isinstance(stream.source, SimulatedSource)
    drawn = Simulation(product=stream.source.drawing, seed=stream.source.seed, defect_rate=stream.source.defect_rate)
    good = plant.storage.artifacts.parent / "good"
    good.mkdir()
    for number in range(1, NORMALS + 1):
        cv2.imwrite(str(good / f"{number:02}.png"), cv2.cvtColor(drawn.good(number).image, cv2.COLOR_RGB2BGR))
    product = plant.product(stream.product)
    settings = FitSettings(product=product.name, name=product.name, size=SIDE, ratio=0.1, brightness=(1.0,))
    fit(sorted(good.iterdir()), plant.artifact_folder(product), settings)
