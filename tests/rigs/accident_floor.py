"""A floor whose bridge and camera node meet cancellations that nobody asked for, while PLCs freeze and go on.

PLCs, bridge and camera node as processes, every session with security; this program is the scorer and answers frames.
"""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from neverblink.brokers.apache import free_port
from neverblink.events import Actuation, Decision, Frame, Times, Verdict
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventConsumer, EventProducer, KafkaError, ensure_topics
from neverblink.plant import Plant, Timing, load_plant
from rigs import accidental_cancellations, plc_process
from rigs.plc_floor import ARTIFACT, STATION, Floor, identities_of, plant_file, start_broker
from rigs.supervised_process import SupervisedProcess

# Three metres of belt: what a busy machine takes longer is late in the table, not a part nobody could serve.
TIMING = Timing(distance_to_gate_m=3.0, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
FROZEN_S = (0.2, 5.0)
_STARTS_WITHIN_S = 120.0


@dataclass(frozen=True)
class Freeze:
    """One PLC stands still. Seconds; `at_s` counts from the start of the conveyors."""

    line: str
    at_s: float
    lasts_s: float


def freezes(lines: list[str], number: int, seconds: float, seed: int) -> list[Freeze]:
    """Return so many at random, each line's one after the other."""
    drawn, found = random.Random(seed), []
    for place, line in enumerate(lines):
        own = len(range(place, number, len(lines)))
        stretch = seconds / max(1, own)
        for turn in range(own):
            lasts = drawn.uniform(*FROZEN_S)
            found.append(Freeze(line, stretch * turn + drawn.uniform(0, max(0.0, stretch - lasts)), lasts))
    return sorted(found, key=lambda freeze: freeze.at_s)


def moments(lines: list[str], each: int, seconds: float, seed: int) -> dict[str, list[float]]:
    """Return when each line's session and each station's is cancelled by accident, seconds from its first."""
    drawn = random.Random(seed)
    sessions = [f"{service} {name}" for line in lines for service, name in (("bridge", line), ("camera", camera(line)))]
    return {name: sorted(round(drawn.uniform(0.05, 0.95) * seconds, 1) for _ in range(each)) for name in sessions}


def camera(line: str) -> str:
    """Return the station's name as its session has it."""
    return f"{line}/{STATION}"


@dataclass
class AccidentFloor:
    """What runs; `told`, `gates`, `frames` and `unscored` grow meanwhile. Instants are seconds."""

    floor: Floor
    plant: Plant
    folder: Path
    moments: Mapping[str, list[float]]
    plcs: dict[str, SupervisedProcess] = field(default_factory=dict)
    services: dict[str, SupervisedProcess] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    frames: dict[str, int] = field(default_factory=dict)
    served: dict[str, list[float]] = field(default_factory=dict)
    """By line: when a part was confirmed by its PLC; by LINE/STATION: when a picture of a part came."""
    unscored: int = 0
    incidents: int = 0
    frozen: int = 0

    def serves(self, name: str, since: float) -> int:
        """Return how many real parts a line, or a station, has served since then."""
        return sum(1 for at in self.served.get(name, ()) if at >= since)

    async def freeze(self, plan: list[Freeze]) -> None:
        """Let PLCs stand still as planned."""
        began = time.monotonic()

        async def one_after_the_other(share: list[Freeze]) -> None:
            for one in share:
                await asyncio.sleep(began + one.at_s - time.monotonic())
                self.plcs[one.line].send(signal.SIGSTOP)
                try:
                    await asyncio.sleep(one.lasts_s)
                finally:
                    self.plcs[one.line].send(signal.SIGCONT)
                self.frozen += 1

        async with asyncio.TaskGroup() as tasks:
            for line in self.plcs:
                tasks.create_task(one_after_the_other([one for one in plan if one.line == line]))

    def deaths(self) -> dict[str, tuple[int, int]]:
        """Return by service how many unasked ends were logged as errors, and how many were counted."""
        found = {}
        for name, service in self.services.items():
            entries = service.entries()
            logged = sum(1 for one in entries if one["level"] == "error" and {"duty", "how"} <= one.keys())
            found[name] = logged, sum(int(str(one["counted"])) for one in entries if "counted" in one)
        return found

    def accidents(self) -> list[tuple[str, float]]:
        """Return the cancellations that have happened: session and moment."""
        return [(session, moment) for session, moment, _ in self._accidents()]

    def unlogged(self) -> list[tuple[str, float]]:
        """Return those of them that no service has logged with a traceback."""
        return [
            (session, moment)
            for session, moment, entries in self._accidents()
            if not accidental_cancellations.was_logged(session, moment, entries)
        ]

    def _accidents(self) -> Iterator[tuple[str, float, list[dict[str, Any]]]]:
        for service in self.services.values():
            entries = service.entries()
            for one in entries:
                if one["message"] == "cancelled by accident":
                    yield str(one["session"]), float(str(one["moment"])), entries

    def missing_tasks(self) -> list[str]:
        """Return the tasks that a service must have and that were not there when it last told them."""
        missing = []
        for name, service in self.services.items():
            rolls = [one["tasks"] for one in service.entries() if one["message"] == "tasks"]
            alive: Any = rolls[-1] if rolls else {}
            missing += [f"{name}: {task}" for task, number in self._wanted(name).items() if alive.get(task, 0) < number]
        return missing

    def _wanted(self, service: str) -> dict[str, int]:
        lines = self.floor.names
        if service == "bridge":
            works = [f"LineSession.{work}" for work in ("_write_verdicts", "_beat", "_keep_looking")]
            own = [f"{what} {line}" for line in lines for what in ("keep line", "line", "the clock of line")]
            return {**dict.fromkeys(works, len(lines)), **dict.fromkeys(own, 1), "reading verdicts": 1}
        kept = [f"{what} of {camera(line)}" for line in lines for what in ("publishing", "triggers", "backlog")]
        # Who keeps a task of a station has its name too.
        return {**dict.fromkeys(kept, 2), **dict.fromkeys([f"station {camera(line)}" for line in lines], 1)}

    async def score(self, producer: EventProducer) -> None:
        """Be the scorer: a verdict for each frame, at once."""
        async with EventConsumer(self.plant.kafka, Frame.TOPIC, client_id="floor-frames", start="latest") as consumer:
            while True:
                with contextlib.suppress(KafkaError):
                    for record in await consumer.poll():
                        frame, _ = record.read(Frame)
                        self.frames[frame.key] = self.frames.get(frame.key, 0) + 1
                        self.served.setdefault(frame.key, []).append(time.time())
                        await producer.send(_verdict_on(frame, self.floor))

    async def collect(self) -> None:
        """Read outcomes, and the verdicts that a station gives by itself."""
        topics = Actuation.TOPIC, Verdict.TOPIC
        async with EventConsumer(self.plant.kafka, *topics, client_id="floor", start="latest") as consumer:
            while True:
                with contextlib.suppress(KafkaError):
                    for record in await consumer.poll():
                        if record.topic == Verdict.TOPIC:
                            self.unscored += record.read(Verdict)[0].decision is Decision.UNSCORED
                        else:
                            self._take(record.read(Actuation)[0])

    def _take(self, event: Actuation) -> None:
        self.incidents += event.incident
        if event.gate is not None:
            self.gates[event.gate] += 1
        if event.outcome is not None:
            self.outcomes[event.outcome] += 1
            if event.outcome == "confirmed":
                self.served.setdefault(event.line, []).append(time.time())


def _verdict_on(frame: Frame, floor: Floor) -> Verdict:
    defective = floor.is_defective((frame.line, frame.epoch or 0, frame.number or 0))
    score = 2.0 if defective else 0.5
    return Verdict(
        id=verdict_id(frame.id), frame_id=frame.id, line=frame.line, station=frame.station, product=frame.product,
        part=frame.part, seq=frame.seq, tracking=frame.tracking,
        decision=Decision.REJECT if defective else Decision.PASS, score=score, threshold=1.0, ratio=score,
        artifact=ARTIFACT, times=Times(captured=frame.captured, emitted=datetime.now(UTC)), deadline=frame.deadline,
    )  # fmt: skip


@asynccontextmanager
async def running(floor: Floor, folder: Path, moments: Mapping[str, list[float]]) -> AsyncIterator[AccidentFloor]:
    """Start everything and let the conveyors run; `moments` are those of accidental cancellations by session."""
    async with AsyncExitStack() as stack:
        taken: set[int] = set()
        _, bootstrap = await start_broker(floor, folder, taken, stack)
        ports = {name: free_port(taken) for name in floor.names}
        identities = identities_of(floor, folder)
        (folder / "plant.yaml").write_text(yaml.safe_dump(plant_file(floor, bootstrap, ports, identities)))
        found = AccidentFloor(floor, load_plant(folder / "plant.yaml"), folder, moments)
        await ensure_topics(found.plant.kafka)
        for name in floor.names:
            command = plc_process.arguments(
                name, floor.timing, ports[name], folder, rate=floor.rate, stop_after=floor.stop_after, slots=64,
                identity=None if identities is None else identities["plc"],
            )  # fmt: skip
            found.plcs[name] = await stack.enter_async_context(SupervisedProcess(name, command, folder))
        for plc in found.plcs.values():
            await plc.said(plc_process.READY, within_s=_STARTS_WITHIN_S)
        producer = await stack.enter_async_context(
            EventProducer(found.plant.kafka, source="/floor/scorer", client_id="floor-scorer")
        )
        tasks = [asyncio.create_task(found.score(producer)), asyncio.create_task(found.collect())]
        stack.push_async_callback(_end, tasks)
        for service in ("bridge", "camera"):
            own = {name: seconds for name, seconds in moments.items() if name.startswith(f"{service} ")}
            cancelled = accidental_cancellations.arguments(own, service, "--plant", str(folder / "plant.yaml"))
            found.services[service] = await stack.enter_async_context(SupervisedProcess(service, cancelled, folder))
        for service, process in found.services.items():
            await process.said(f"{service} is ready", within_s=_STARTS_WITHIN_S)
        for plc in found.plcs.values():
            await plc.tell("run")
            plc.arguments = (*plc.arguments, "--run")
        yield found
        for task in tasks:
            if task.done():
                await task


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
