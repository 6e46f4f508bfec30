"""A plant on Apache Kafka to which everything happens at once: what is sent, what is done to it, what came of it."""

import asyncio
import contextlib
import random
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as ClientError
from numpy.typing import NDArray

from neverblink.brokers.apache import LocalKafka
from neverblink.events import ArtifactRef, Frame, ModelSlots, Slot, Verdict, encode
from neverblink.events.identity import derived_id, verdict_id
from neverblink.kafka import EventConsumer, EventProducer, KafkaError, Record, ensure_topics
from neverblink.model_registry.changes import Stamp, Target, activated
from neverblink.plant import Plant
from neverblink.vision.artifact import load_artifact
from rigs.chaos_audit import Expected
from rigs.cuttable_network import CuttableNetwork
from rigs.poison import POISON
from rigs.scored_line import ScoredLine, fit_striped, png, refit_striped, striped
from rigs.supervised_scorer import SupervisedScorer
from rigs.true_scores import TrueScores, true_scores

Kind = Literal["scorer killed", "scorer stopped", "broker killed", "network stalled", "network reset", "models swapped"]
KINDS: tuple[Kind, ...] = (
    "scorer killed", "network stalled", "broker killed", "scorer stopped", "models swapped", "network reset"
)  # fmt: skip
LASTS_S: dict[Kind, tuple[float, float]] = {
    "scorer killed": (0, 0),
    "scorer stopped": (1, 10),
    "broker killed": (2, 6),
    "network stalled": (1, 8),
    "network reset": (1, 8),
    "models swapped": (0, 0),
}
"""From when to when a fault may be over, seconds."""

MODELS = ("striped", "striped-2")
PICTURES = 20
MEMBERS = 2
_LONG_S = 3600.0
_RETRY_S = 0.2
_SLOW_S = 1.0
_SETTLE_S = 3.0


@dataclass(frozen=True)
class Chaos:
    """What is to happen. Frames come at `rate` a second, or at `load` of what the scorers can do at most."""

    frames: int
    faults: int
    stations: int = 8
    nodes: int = 3
    seed: int = 1
    rate: float | None = None
    load: float = 0.6
    budget_s: float = 10.0
    saturate: int = 400
    poison: float = 0.01
    patience_s: float = 90.0
    longest_s: float = 10.0  # no fault lasts longer
    standby: Literal["all", "none"] = "all"


@dataclass
class Fault:
    """One thing that is done to the plant; `target` counts members, nodes or lines. Instants are seconds."""

    kind: Kind
    at_s: float
    lasts_s: float
    target: int
    began: float = 0.0
    ended: float = 0.0


@dataclass
class Outcome:
    """What happened. `arrivals` are instant, line and frame of verdicts as a reader without a group saw them."""

    chaos: Chaos
    most: float
    rate: float
    expected: list[Expected]
    began: float = 0.0
    seconds: float = 0.0
    drained_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    arrivals: list[tuple[float, str, str]] = field(default_factory=list)
    retried: int = 0
    slow: int = 0
    restarts: int = 0
    kills: int = 0
    cut_starts: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    letters: list[Record] = field(default_factory=list)


def schedule(chaos: Chaos, seconds: float) -> list[Fault]:
    """Return the faults of a run of so many seconds: every kind alike often, one in each stretch, drawn by the seed."""
    drawn = random.Random(chaos.seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(chaos.faults)]
    drawn.shuffle(kinds)
    # The first stretch is calm, for comparison.
    stretch = seconds / (chaos.faults + 1)
    faults = []
    for number, kind in enumerate(kinds, start=1):
        shortest, longest = LASTS_S[kind]
        lasts = min(drawn.uniform(shortest, longest), chaos.longest_s)
        faults.append(Fault(kind, stretch * (number + drawn.uniform(0, 0.3)), lasts, drawn.randrange(1 << 16)))
    return faults


def fit_models(folder: Path, size: int) -> tuple[Path, TrueScores]:
    """Fit the two models that take turns; returns the artifacts' folder and what is true of the pictures."""
    artifacts = fit_striped(folder, size=size)
    refit_striped(artifacts, MODELS[1], ratio=0.02, size=size)
    return artifacts, true_scores(artifacts, MODELS, [picture(number) for number in range(PICTURES)])


def picture(number: int) -> NDArray[np.uint8]:
    """Return the picture of a frame, (H, W, 3) uint8 RGB, by its `seq`: every fifth part has a defect."""
    number %= PICTURES
    return striped(number, defect=number % 5 == 0)


class ChaosLine(ScoredLine):
    """Lines of two stations, whose frames are sent until they are acknowledged, whatever the cluster does."""

    def __init__(self, kafka: LocalKafka, artifacts: Path, folder: Path, chaos: Chaos) -> None:
        super().__init__(
            kafka.bootstrap,
            artifacts,
            lines=[f"line-{number}" for number in range(1, chaos.stations // 2 + 1)],
            stations=("top", "side"),
            partitions=2 * chaos.stations,
            replication=chaos.nodes,
        )
        self._objects = folder / "objects"
        self._objects.mkdir()
        storage = self.plant.storage.model_copy(
            update={"model_cache": folder / "cache", "objects": self._objects.as_uri()}
        )
        update = {"storage": storage, "scorer": self.plant.scorer.model_copy(update={"standby": chaos.standby})}
        self.plant: Plant = self.plant.model_copy(update=update)
        self.places = [(line.name, station.name) for line, station in self.plant.stations()]
        self._bodies = [png(picture(number)) for number in range(PICTURES)]
        self._raw: AIOKafkaProducer | None = None
        self.retried = 0
        self.slow = 0

    def seen_by(self, network: CuttableNetwork) -> Plant:
        """Return the plant file of a member that reaches the brokers by that network."""
        return self.plant.model_copy(update={"kafka": self.kafka.model_copy(update={"bootstrap": network.bootstrap})})

    @asynccontextmanager
    async def camera(self) -> AsyncIterator[EventProducer]:
        """Connect what sends frames, poison and activations."""
        raw = AIOKafkaProducer(
            bootstrap_servers=self.kafka.bootstrap.split(","),
            acks="all",
            enable_idempotence=True,
            metadata_max_age_ms=30_000,
        )
        async with self.producer() as producer:
            await raw.start()
            self._raw = raw
            try:
                yield producer
            finally:
                await raw.stop()

    def part(self, number: int, left_s: float, **more: object) -> Frame:
        """Return a frame of the next station in turn."""
        line, station = self.places[number % len(self.places)]
        fields = {"body": self._bodies[number % PICTURES], "station": station, **more}
        return self.frame(number, line=line, left_s=left_s, **fields)  # type: ignore[arg-type]

    async def publish(self, producer: EventProducer, number: int, left_s: float) -> Expected:
        """Send a good frame and say what must come of it."""
        frame = self.part(number, left_s)
        await self.until_acknowledged(lambda: producer.send(frame))
        return Expected(frame.id, verdict_id(frame.id), number % PICTURES, frame.captured, frame.deadline)

    async def poison(self, number: int, kind: str) -> Expected:
        """Send a poison frame, which has an hour, so that it is never only late, and say what must come of it."""
        poison, raw = POISON[kind], self._raw
        assert raw is not None
        frame = self.part(number, _LONG_S, **poison.fields_in(self._objects))
        message = poison.edit(encode(frame, source="/test"))
        topic = f"{self.kafka.topic_prefix}.frames"
        meta = await self.until_acknowledged(
            lambda: raw.send_and_wait(topic, message.value, key=message.key, headers=message.headers)
        )
        names_its_frame = any(name == "ce_id" for name, _ in message.headers) and kind != "header that is no text"
        identity = frame.id if names_its_frame else derived_id("record", "frames", meta.partition, meta.offset)
        return Expected(
            identity, verdict_id(identity), number % PICTURES, frame.captured, frame.deadline,
            poison.reason, (meta.partition, meta.offset),
        )  # fmt: skip

    async def until_acknowledged(self, send: Callable[[], Awaitable[Any]]) -> Any:
        """Send until it is acknowledged, as a camera does, and count what that took."""
        began = time.monotonic()
        while True:
            try:
                found = await send()
            except (KafkaError, ClientError):
                self.retried += 1
                await asyncio.sleep(_RETRY_S)
            else:
                self.slow += time.monotonic() - began > _SLOW_S
                return found

    async def follow(self, arrivals: list[tuple[float, str, str]]) -> None:
        """Note when verdicts come, until cancelled."""
        async with EventConsumer(self.kafka, "verdicts", client_id="chaos-reader") as consumer:
            while True:
                try:
                    for record in await consumer.poll():
                        verdict, _ = record.read(Verdict)
                        arrivals.append((time.time(), verdict.line, verdict.frame_id))
                except KafkaError:
                    await asyncio.sleep(_RETRY_S)

    async def whole(self, topic: str) -> list[Record]:
        """Return all records of a topic, each partition in order."""
        found: list[Record] = []
        async with EventConsumer(self.kafka, topic, client_id="chaos-audit") as consumer, asyncio.timeout(180):
            ends = await consumer.ends()
            while any(at < ends[place] for place, at in (await consumer.positions()).items()):
                found += await consumer.poll()
        return found


@dataclass
class Stage:
    """Everything that a fault can hit."""

    kafka: LocalKafka
    line: ChaosLine
    networks: Sequence[CuttableNetwork]
    members: Sequence[SupervisedScorer]
    producer: EventProducer
    one_node: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One node at a time: of three, the topics need two."""
    slots: dict[str, ModelSlots] = field(default_factory=dict)

    async def inflict(self, fault: Fault) -> None:
        """Do it, and undo it when its time is over."""
        member = fault.target % len(self.members)
        scorer, network = self.members[member], self.networks[member]
        fault.began = time.time()
        match fault.kind:
            case "scorer killed":
                scorer.kill()
            case "scorer stopped":
                scorer.stop()
                await asyncio.sleep(fault.lasts_s)
                scorer.go_on()
            case "broker killed":
                async with self.one_node:
                    fault.began = time.time()
                    node = 1 + fault.target % self.line.kafka.replication
                    await self.kafka.kill_node(node)
                    await asyncio.sleep(fault.lasts_s)
                    await self.kafka.restart_node(node)
            case "network stalled" | "network reset":
                (network.stall if fault.kind == "network stalled" else network.reset)()
                await asyncio.sleep(fault.lasts_s)
                network.mend()
            case "models swapped":
                await self.swap(self.line.plant.lines[fault.target % len(self.line.plant.lines)].name)
        fault.ended = time.time()

    async def swap(self, line: str) -> None:
        """Activate the other model at all stations of a line."""
        for name, station in self.line.places:
            if name != line:
                continue
            target = Target(name, station, self.line.plant.products[0].name)
            before = self.slots.get(target.key)
            is_first = before is None or before.active is None or before.active.location == MODELS[0]
            found = load_artifact(self.line.plant.storage.artifacts / MODELS[is_first])
            slot = Slot(
                artifact=ArtifactRef(name=found.name, version=found.version, digest=found.digest),
                location=MODELS[is_first],
            )
            event = activated(before, target, slot, Stamp("chaos", None, datetime.now(UTC)))
            await self.line.until_acknowledged(partial(self.producer.send, event))
            self.slots[target.key] = event


async def run(
    chaos: Chaos, artifacts: Path, folder: Path, say: Callable[[str], None] = lambda _: None, heap_mib: int = 320
) -> Outcome:
    """Send the frames while the faults happen, wait until all is answered, and return what came of it.

    `say` gets a line now and then. Scorers' logs stay in `folder`.
    """
    async with AsyncExitStack() as stack:
        kafka = await stack.enter_async_context(LocalKafka(chaos.nodes, heap_mib=heap_mib, routes=MEMBERS))
        line = ChaosLine(kafka, artifacts, folder, chaos)
        await ensure_topics(line.kafka)
        networks = [await stack.enter_async_context(CuttableNetwork(kafka.route(one))) for one in range(MEMBERS)]
        producer = await stack.enter_async_context(line.camera())
        members = [SupervisedScorer(f"scorer-{n}", line.seen_by(one), folder) for n, one in enumerate(networks)]
        async with contextlib.AsyncExitStack() as running:
            for member in members:
                await running.enter_async_context(member)
            await asyncio.gather(*(member.ready() for member in members))
            outcome = Outcome(chaos, 0.0, chaos.rate or 0.0, [])
            following = asyncio.create_task(line.follow(outcome.arrivals))
            await warm(line, producer, outcome)
            if chaos.rate is None:
                outcome.most = await saturation(line, producer, outcome)
                outcome.rate = chaos.load * outcome.most
            await _disturbed(Stage(kafka, line, networks, members, producer), outcome, say)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        outcome.retried, outcome.slow = line.retried, line.slow
        outcome.restarts = sum(member.restarts for member in members)
        outcome.kills = sum(member.kills for member in members)
        outcome.cut_starts = sum(member.cut_starts for member in members)
        outcome.verdicts = [record.read(Verdict)[0] for record in await line.whole("verdicts")]
        outcome.letters = await line.whole("dead-letters")
        return outcome


async def warm(line: ChaosLine, producer: EventProducer, outcome: Outcome) -> None:
    """Let the first frames, which pay for what is set up lazily, pass."""
    await answered(outcome, [await line.publish(producer, n, _LONG_S) for n in range(4 * len(line.places))], 120)
    outcome.arrivals.clear()


async def saturation(line: ChaosLine, producer: EventProducer, outcome: Outcome) -> float:
    """Return the frames per second of a backlog that no deadline presses, its first and last tenth left out."""
    count = outcome.chaos.saturate
    sent = await asyncio.gather(*(line.publish(producer, number, _LONG_S) for number in range(count)))
    await answered(outcome, sent, 300)
    instants = sorted(instant for instant, *_ in outcome.arrivals)
    outcome.arrivals.clear()
    first, last = count // 10, count - count // 10
    return (last - first) / (instants[last - 1] - instants[first - 1])


async def _disturbed(stage: Stage, outcome: Outcome, say: Callable[[str], None]) -> None:
    chaos, line = outcome.chaos, stage.line
    seconds = chaos.frames / outcome.rate
    outcome.faults = schedule(chaos, seconds)
    say(
        f"{outcome.most:.1f} frames/s at most, {outcome.rate:.1f} are sent: {seconds / 60:.1f} minutes and"
        f" {chaos.faults} faults, then what is left"
    )
    drawn = random.Random(chaos.seed)
    poisoned = set(drawn.sample(range(chaos.frames), k=round(chaos.poison * chaos.frames)))
    kinds = list(POISON)
    outcome.began = time.time()
    began = time.monotonic()
    sends: list[asyncio.Task[Expected]] = []

    async def faults() -> None:
        under_way = []
        for fault in outcome.faults:
            await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
            say(f"{time.monotonic() - began:5.0f} s: {fault.kind} ({fault.lasts_s:.1f} s); {_standing(sends, outcome)}")
            under_way.append(asyncio.create_task(stage.inflict(fault)))
        await asyncio.gather(*under_way)

    inflicting = asyncio.create_task(faults())
    for number in range(chaos.frames):
        await asyncio.sleep(max(0.0, began + number / outcome.rate - time.monotonic()))
        if number in poisoned:
            sends.append(asyncio.create_task(line.poison(number, kinds[len(sends) % len(kinds)])))
        else:
            sends.append(asyncio.create_task(line.publish(stage.producer, number, chaos.budget_s)))
    outcome.expected = await asyncio.gather(*sends)
    await inflicting
    outcome.seconds = time.monotonic() - began
    await answered(outcome, outcome.expected, chaos.patience_s)
    outcome.drained_s = time.monotonic() - began - outcome.seconds
    await asyncio.sleep(_SETTLE_S)  # a verdict too many would come now
    say(f"{time.monotonic() - began:5.0f} s: done; {_standing(sends, outcome)}")


async def answered(outcome: Outcome, sent: Sequence[Expected], patience_s: float) -> None:
    """Wait until all have a verdict, or until none has come for so long."""
    missing = {one.frame for one in sent}
    seen, moved = 0, time.monotonic()
    while missing and time.monotonic() - moved < patience_s:
        if len(outcome.arrivals) > seen:
            missing -= {frame for _, _, frame in outcome.arrivals[seen:]}
            seen, moved = len(outcome.arrivals), time.monotonic()
        await asyncio.sleep(0.05)


def _standing(sends: Sequence["asyncio.Task[Expected]"], outcome: Outcome) -> str:
    sent = sum(one.done() for one in sends)
    answered = len({frame for _, _, frame in outcome.arrivals})
    return f"{len(sends)} frames, {len(sends) - sent} unacknowledged, {answered} answered"


def pauses(outcome: Outcome) -> tuple[float, list[tuple[Fault, float]]]:
    """Return how long a line waited for a new verdict at most before the first fault, and from each fault to the next.

    Seconds. A wait that began before the fault counts from there on.
    """
    firsts: dict[str, tuple[float, str]] = {}
    for instant, line, frame in outcome.arrivals:
        firsts.setdefault(frame, (instant, line))
    by_line: dict[str, list[float]] = {}
    for instant, line in firsts.values():
        by_line.setdefault(line, []).append(instant)
    sending_ends = outcome.began + outcome.seconds

    def longest(begins: float, ends: float, over: float) -> float:
        found = 0.0
        for instants in by_line.values():
            before = begins
            for instant in instants[bisect_left(instants, begins) :]:
                if before >= ends:
                    break
                found = max(found, min(instant, over) - before)
                before = instant
        return found

    faults = sorted(outcome.faults, key=lambda fault: fault.began)
    ends = [fault.began for fault in faults[1:]] + [sending_ends]
    calm = longest(outcome.began, faults[0].began, faults[0].began)
    # A wait may outlast the stretch that it began in: it is this fault's all the same.
    return calm, [(fault, longest(fault.began, end, inf)) for fault, end in zip(faults, ends, strict=True)]


def caused(outcome: Outcome, instant: datetime) -> Fault | None:
    """Return the last fault that began before that instant."""
    before = [fault for fault in outcome.faults if fault.began < instant.timestamp()]
    return max(before, key=lambda fault: fault.began, default=None)
