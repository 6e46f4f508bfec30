"""A floor of simulated PLCs, a broker, the bridge as a process, and who stands in for cameras and scorer."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
import yaml

from neverblink.brokers.apache import LocalKafka, free_port
from neverblink.brokers.route import Route
from neverblink.events import Actuation, ArtifactRef, Decision, Reason, Times, Tracking, Verdict
from neverblink.events.identity import frame_id, verdict_id
from neverblink.kafka import EventConsumer, EventProducer, KafkaError, ensure_topics
from neverblink.plant import Line, Plant, Timing, load_plant
from neverblink.plc.contract import ProfileName
from neverblink.plc.trigger import PlcTrigger, triggers
from rigs import plc_process
from rigs.application_certificates import certificate
from rigs.cuttable_network import CuttableNetwork
from rigs.supervised_process import SupervisedProcess

# A part is at the gate 1 s after its trigger, and its verdict must be there 0.83 s after it.
TIMING = Timing(distance_to_gate_m=1.0, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
STATION = "top"
ARTIFACT = ArtifactRef(name="part", version="1", digest="sha256:" + "0" * 64)
Part = tuple[str, int, int]
"""Line, epoch and number."""


@dataclass(frozen=True)
class Floor:
    """How many lines, how fast, and how the verdicts come. Seconds; `late` verdicts come after the deadline."""

    lines: int = 4
    rate: float = 10.0
    seed: int = 1
    security: Literal["None", "Basic256Sha256"] = "None"
    kafka: Literal["development", "local"] = "development"
    defects: float = 0.05
    late: float = 0.01
    takes: tuple[float, float] = (0.15, 0.3)
    networks: bool = True
    stop_after: int = 5
    timing: Timing = TIMING
    payload: str = "png"
    profile: ProfileName = "verdict-table"

    @property
    def names(self) -> list[str]:
        """Return the lines' names."""
        return [f"line-{number}" for number in range(1, self.lines + 1)]

    def is_defective(self, part: Part) -> bool:
        """Return the truth about a part, which only its scorer knows."""
        return self._draw(part, "defect").random() < self.defects

    def takes_s(self, part: Part) -> float:
        """Return how long camera and scorer take for it; a late one misses the deadline, some of them barely."""
        drawn = self._draw(part, "time")
        if drawn.random() < self.late:
            return drawn.uniform(TIMING.budget_s + 0.01, TIMING.budget_s + 0.5)
        return drawn.uniform(*self.takes)

    def _draw(self, part: Part, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{part}/{what}")


@dataclass(slots=True)
class Scanned:
    """A part as its camera saw it, and what was published about it. Instants are seconds."""

    defective: bool
    decision: Decision
    takes_s: float
    sent: float = 0.0
    acknowledged: float = 0.0


@dataclass
class RunningFloor:
    """What runs. `scanned` and `actuations` grow meanwhile."""

    floor: Floor
    plant: Plant
    folder: Path
    plcs: dict[str, SupervisedProcess] = field(default_factory=dict)
    networks: dict[str, CuttableNetwork] = field(default_factory=dict)
    scanned: dict[Part, Scanned] = field(default_factory=dict)
    actuations: list[Actuation] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    listening: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bridge = SupervisedProcess(
            "bridge", ("-m", "neverblink", "bridge", "--plant", str(self.folder / "plant.yaml")), self.folder
        )
        self.broker: SupervisedProcess | LocalKafka
        self._posting: set[asyncio.Task[Any]] = set()

    async def run_conveyors(self) -> None:
        """Let the operators start; a PLC that is started again runs at once."""
        for name, plc in self.plcs.items():
            await plc.tell("run")
            self.plcs[name].arguments = (*plc.arguments, "--run")

    async def finish(self, within_s: float = 15.0) -> None:
        """Stop the conveyors, let the belts run empty, and wait until each part that was seen has its outcome."""
        for plc in self.plcs.values():
            await plc.tell("finish")
        await asyncio.sleep(TIMING.lead_s + 1.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.owed():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)

    def owed(self) -> set[Part]:
        """Return the parts that somebody saw and that have no outcome yet."""
        told = {part_of(event) for event in self.actuations if event.stage == "told"}
        gated = [row for row in self.truth() if not row.get("again")]
        return ({*self.scanned} | {(row["line"], row["epoch"], row["number"]) for row in gated}) - told

    def truth(self) -> list[dict[str, Any]]:
        """Return what the gates did, by the PLCs' own account."""
        found = []
        for name in self.plcs:
            file = plc_process.truth_file(self.folder, name)
            found += [orjson.loads(row) for row in file.read_bytes().splitlines()] if file.exists() else []
        return found

    async def kafka_away(self, seconds: float) -> None:
        """Freeze the development broker, or kill Apache Kafka and start it again."""
        if isinstance(self.broker, SupervisedProcess):
            self.broker.send(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            self.broker.send(signal.SIGCONT)
        else:
            await self.broker.kill_node(1)
            await asyncio.sleep(seconds)
            await self.broker.restart_node(1)

    async def scan(self, line: Line, producer: EventProducer) -> None:
        """Be the line's camera and scorer: a verdict for each trigger, a while after it."""
        assert line.plc is not None
        loop = asyncio.get_running_loop()
        heard = self.listening[line.name] = asyncio.Event()

        def on_state(state: str, sentence: str) -> None:
            if state == "connected":
                heard.set()

        async for trigger in triggers(line.plc, name="camera", poll_ms=20, on_state=on_state):
            part = line.name, trigger.epoch, trigger.number
            defective = self.floor.is_defective(part)
            decision = Decision.REJECT if defective else Decision.PASS
            if trigger.missed:
                decision = Decision.UNSCORED
            scanned = self.scanned[part] = Scanned(defective, decision, self.floor.takes_s(part))
            due = trigger.at.timestamp() + scanned.takes_s - datetime.now(UTC).timestamp()
            loop.call_later(max(0.0, due), self._post, line, trigger, scanned, producer)

    def _post(self, line: Line, trigger: PlcTrigger, scanned: Scanned, producer: EventProducer) -> None:
        task = asyncio.ensure_future(self._publish(line, trigger, scanned, producer))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _publish(self, line: Line, trigger: PlcTrigger, scanned: Scanned, producer: EventProducer) -> None:
        now = datetime.now(UTC)
        told = verdict(line, trigger, scanned.decision, now)
        scanned.sent = now.timestamp()
        self.verdicts.append(told)
        while True:
            try:
                await producer.send(told)
            except KafkaError:
                await asyncio.sleep(0.2)
            else:
                scanned.acknowledged = datetime.now(UTC).timestamp()
                return

    async def collect(self) -> None:
        """Read the outcomes."""
        async with EventConsumer(self.plant.kafka, Actuation.TOPIC, client_id="floor") as consumer:
            while True:
                with contextlib.suppress(KafkaError):
                    self.actuations += [record.read(Actuation)[0] for record in await consumer.poll()]


def part_of(event: Actuation) -> Part:
    """Return the part that an event is about."""
    return event.line, event.tracking.epoch, event.tracking.number


def verdict(line: Line, trigger: PlcTrigger, decision: Decision, now: datetime) -> Verdict:
    """Return a scorer's verdict on a part."""
    scored = decision is not Decision.UNSCORED
    score = 2.0 if decision is Decision.REJECT else 0.5
    frame = frame_id(trigger.at)
    return Verdict(
        id=verdict_id(frame), frame_id=frame, line=line.name, station=STATION, product="part",
        part=f"{line.name}/{trigger.epoch}/{trigger.number}", seq=trigger.number,
        tracking=Tracking(epoch=trigger.epoch, number=trigger.number), decision=decision,
        reason=None if scored else Reason.TOO_DARK, score=score if scored else None,
        threshold=1.0 if scored else None, ratio=score if scored else None, artifact=ARTIFACT if scored else None,
        times=Times(captured=trigger.at, emitted=now), deadline=trigger.at + timedelta(seconds=line.timing.budget_s),
    )  # fmt: skip


@asynccontextmanager
async def running(floor: Floor, folder: Path) -> AsyncIterator[RunningFloor]:
    """Start everything; the conveyors stand until `run_conveyors`."""
    async with AsyncExitStack() as stack:
        taken: set[int] = set()
        broker, bootstrap = await start_broker(floor, folder, taken, stack)
        ports = {name: free_port(taken) for name in floor.names}
        ways = {name: free_port(taken) if floor.networks else ports[name] for name in floor.names}
        identities = identities_of(floor, folder)
        (folder / "plant.yaml").write_text(yaml.safe_dump(plant_file(floor, bootstrap, ways, identities)))
        found = RunningFloor(floor, load_plant(folder / "plant.yaml"), folder)
        found.broker = broker
        await ensure_topics(found.plant.kafka)
        for name in floor.names:
            command = plc_process.arguments(
                name, floor.timing, ports[name], folder, rate=floor.rate, stop_after=floor.stop_after,
                identity=None if identities is None else identities["plc"], profile=floor.profile,
                slots=max(64, 1 << (int(4 * floor.rate * floor.timing.lead_s) - 1).bit_length()),
            )  # fmt: skip
            found.plcs[name] = await stack.enter_async_context(SupervisedProcess(name, command, folder))
            if floor.networks:
                network = CuttableNetwork([Route(ports[name], ways[name])])
                found.networks[name] = await stack.enter_async_context(network)
        for plc in found.plcs.values():
            await plc.said(plc_process.READY)
        producer = await stack.enter_async_context(
            EventProducer(found.plant.kafka, source="/floor/scorer", client_id="floor-scorer")
        )
        await stack.enter_async_context(found.bridge)
        tasks = [asyncio.create_task(found.scan(line, producer)) for line in found.plant.lines]
        tasks.append(asyncio.create_task(found.collect()))
        stack.push_async_callback(_end, tasks)
        await found.bridge.said("bridge is ready")
        async with asyncio.timeout(30):
            for heard in found.listening.values():
                await heard.wait()
        yield found


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def start_broker(
    floor: Floor, folder: Path, taken: set[int], stack: AsyncExitStack
) -> tuple[SupervisedProcess | LocalKafka, str]:
    if floor.kafka == "local":
        kafka = await stack.enter_async_context(LocalKafka())
        return kafka, kafka.bootstrap
    port = free_port(taken)
    command = ("-m", "neverblink", "broker", "--port", str(port))
    broker = await stack.enter_async_context(SupervisedProcess("broker", command, folder))
    await broker.said("broker is ready")
    return broker, f"127.0.0.1:{port}"


def identities_of(floor: Floor, folder: Path) -> dict[str, tuple[Path, Path]] | None:
    if floor.security == "None":
        return None
    return {name: certificate(folder, name, hosts=("localhost",)) for name in ("plc", "bridge")}


def plant_file(
    floor: Floor, bootstrap: str, ports: dict[str, int], identities: dict[str, tuple[Path, Path]] | None
) -> dict[str, Any]:
    security: dict[str, Any] = {"policy": "None", "allow_insecure": True}
    if identities is not None:
        ours, key = identities["bridge"]
        security = {
            "policy": floor.security, "certificate": str(ours), "key": str(key),
            "plc_certificate": str(identities["plc"][0]),
        }  # fmt: skip
    station = {
        "name": STATION, "product": "part", "trigger": {"kind": "plc"},
        "source": {"kind": "simulated", "drawing": "pcb"}, "payload": {"format": floor.payload},
    }  # fmt: skip
    return {
        "site": "floor",
        "kafka": {"bootstrap": bootstrap, "partitions": 4, "replication": 1},
        "products": [{"name": "part", "artifact": "part"}],
        "lines": [
            {
                "name": name,
                "timing": floor.timing.model_dump(),
                "plc": {
                    "endpoint": f"opc.tcp://127.0.0.1:{port}/neverblink",
                    "security": security,
                    "profile": floor.profile,
                    "accept_silent_pass": floor.profile != "verdict-table",
                },
                "stations": [station],
            }
            for name, port in ports.items()
        ],
    }
