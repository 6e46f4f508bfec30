"""One service's surroundings: a broker, its plant file, what comes to it, and the part that will fail."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from aiokafka import AIOKafkaProducer

from neverblink.brokers.apache import LocalKafka, free_port
from neverblink.brokers.development import DevelopmentBroker
from neverblink.brokers.route import Route
from neverblink.events import Actuation, ArtifactRef, DeadLetter, Decision, Frame, ModelSlots, Slot, Times, Verdict
from neverblink.events.identity import frame_id, verdict_id
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.plant import Plant, Timing
from neverblink.storage.frame_objects import ObjectError, ObjectStore
from rigs import plc_process
from rigs.cuttable_network import CuttableNetwork
from rigs.faults.effects import Effects, in_counter, on_topic, rows_of_postgresql, rows_of_sqlite
from rigs.faults.pairs import Pair, Service
from rigs.faults.parts import Collector, Folder, LockedFile, Part, Server
from rigs.postgresql import PostgresqlServer
from rigs.rtsp_camera import RtspCamera
from rigs.scored_line import ScoredLine
from rigs.supervised_process import SupervisedProcess

_EVERY_S = 0.5
_PLC_WITHIN_S = 180.0
_TIMING = Timing(distance_to_gate_m=2.0, speed_m_s=1.0)
_COMMANDS: Mapping[Service, tuple[str, ...]] = {
    "camera": ("camera",), "scorer": ("scorer", "--instance", "faults"), "bridge": ("bridge",), "drift": ("drift",),
    "ledger": ("ledger", "run"),
}  # fmt: skip
SECOND = "striped-2"


@dataclass
class Sites:
    """What all sites share, each made where a pair first needs it: fitted models, a database server, Apache Kafka.

    `artifacts` has `striped` and `striped-2`. With `apache` each of its routes serves one site at a time.
    """

    artifacts: Callable[[], Path]
    postgresql: Callable[[], PostgresqlServer]
    apache: LocalKafka | None = None
    routes: "asyncio.Queue[int]" = field(default_factory=asyncio.Queue)

    @asynccontextmanager
    async def kafka(self) -> AsyncIterator[tuple[str, CuttableNetwork]]:
        """Yield where a broker is for us, and the network through which the service comes to it."""
        if self.apache is None:
            route = Route(free_port(), free_port())
            async with DevelopmentBroker(routes=[route]) as broker, CuttableNetwork([route]) as network:
                yield broker.bootstrap, network
            return
        number = await self.routes.get()
        try:
            async with CuttableNetwork(self.apache.route(number)) as network:
                yield self.apache.bootstrap, network
        finally:
            self.routes.put_nowait(number)


@dataclass
class Site:
    """What runs around the service. `work` counts what it does for others, `heals` what shows that the part is back."""

    pair: Pair
    folder: Path
    line: ScoredLine
    part: Part
    values: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    work: Effects = field(default_factory=Effects)
    heals: Effects = field(default_factory=Effects)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the service's command line."""
        return (*_COMMANDS[self.pair.service], "--plant", str(self.folder / "plant.yaml"))


@asynccontextmanager
async def opened(pair: Pair, sites: Sites, folder: Path) -> AsyncIterator[Site]:
    """Build everything but the service itself, and keep it at work until the block is left."""
    async with AsyncExitStack() as stack:
        bootstrap, network = await stack.enter_async_context(sites.kafka())
        artifacts = folder / "artifacts"
        if pair.service == "scorer":
            shutil.copytree(sites.artifacts(), artifacts)
        line = ScoredLine(bootstrap, artifacts, lines=("line-1",))
        await ensure_topics(line.kafka)
        values = line.plant.model_dump(mode="json")
        values["kafka"]["bootstrap"] = network.bootstrap
        values["storage"] |= {name: str(folder / name) for name in ("spool", "model_cache")}
        values["storage"]["ledger"] = f"sqlite:///{folder / 'ledger.db'}"
        site = Site(pair, folder, line, Server(network), values)
        producer = await stack.enter_async_context(line.producer())
        duties = await _surroundings(site, sites, producer, stack)
        Plant.model_validate(values)
        (folder / "plant.yaml").write_text(yaml.safe_dump(values))
        tasks = [asyncio.create_task(duty) for duty in duties]
        stack.push_async_callback(_end, tasks)
        yield site


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    for fault in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(fault, Exception):
            raise fault


Duties = list[Coroutine[Any, Any, None]]


async def _surroundings(site: Site, sites: Sites, producer: EventProducer, stack: AsyncExitStack) -> Duties:
    """Set up what the pair is about; return what must run meanwhile."""
    site.heals = site.work
    duties = await _AROUND[site.pair.service](site, producer, stack)
    match site.pair.on:
        case "object store":
            _store_objects(site)
        case "artifact store":
            duties.append(_second_model(site, producer))
        case "spool":
            kafka = site.part
            site.part = Folder(site.folder / "spool", meanwhile=kafka)
        case "collector":
            duties.append(await _collect(site, stack))
        case "SQLite":
            site.part = LockedFile(site.folder / "ledger.db")
        case "PostgreSQL":
            duties[-1].close()
            duties[-1] = await _keep_in_postgresql(site, sites.postgresql(), stack)
    return duties


async def _around_camera(site: Site, producer: EventProducer, stack: AsyncExitStack) -> Duties:
    (values,) = site.values["lines"]
    (station,) = values["stations"]
    station["trigger"] = {"kind": "timer", "rate_per_s": 1 / _EVERY_S}
    if site.pair.on == "PLC":
        await _plc(site, stack)
        station["trigger"] = {"kind": "plc"}
    if site.pair.on == "camera":
        camera = stack.enter_context(RtspCamera(_picture, 10.0, prepared=20))
        way = await stack.enter_async_context(CuttableNetwork([Route(_port(camera.url), free_port())]))
        site.part = Server(way)
        station["source"] = {
            "kind": "rtsp", "url": f"rtsp://{way.bootstrap}/line", "max_age_ms": 400, "wait_ms": 300,
            "silent_after_s": 2,
        }  # fmt: skip
    return [on_topic(site.work, site.line.kafka, Frame)]


async def _around_scorer(site: Site, producer: EventProducer, stack: AsyncExitStack) -> Duties:
    store = ObjectStore(str(site.folder / "objects")) if site.pair.on == "object store" else None
    put: list[Frame] = []

    def next_frame(number: int) -> Frame:
        frame = site.line.frame(number)
        if store is None:
            return frame
        try:
            put[:] = [store.put(frame)]
        except ObjectError:
            # It was put there while the store was still to be reached, and is to be read now.
            return frame.model_copy(update={"dataref": put[0].dataref, "body": b""})
        return put[0]

    async def send(number: int) -> None:
        await producer.send(await asyncio.to_thread(next_frame, number))

    def is_scored(verdict: Verdict) -> bool:
        return verdict.decision is not Decision.UNSCORED

    return [_paced(send), on_topic(site.work, site.line.kafka, Verdict, is_scored)]


async def _around_bridge(site: Site, producer: EventProducer, stack: AsyncExitStack) -> Duties:
    await _plc(site, stack)
    return [on_topic(site.work, site.line.kafka, Actuation)]


async def _around_drift(site: Site, producer: EventProducer, stack: AsyncExitStack) -> Duties:
    # What cannot be read comes out as a dead letter at once; a report would take its window.
    client = AIOKafkaProducer(bootstrap_servers=site.line.kafka.bootstrap, request_timeout_ms=120_000)
    await stack.enter_async_context(client)

    async def send(number: int) -> None:
        await client.send_and_wait(f"{site.line.kafka.topic_prefix}.verdicts", b"{", key=b"line-1")

    return [_paced(send), on_topic(site.work, site.line.kafka, DeadLetter)]


async def _around_ledger(site: Site, producer: EventProducer, stack: AsyncExitStack) -> Duties:
    async def send(number: int) -> None:
        await producer.send(_verdict(number))

    return [_paced(send), in_counter(site.work, lambda: rows_of_sqlite(site.folder / "ledger.db"))]


_AROUND: Mapping[Service, Callable[[Site, EventProducer, AsyncExitStack], Awaitable[Duties]]] = {
    "camera": _around_camera, "scorer": _around_scorer, "bridge": _around_bridge, "drift": _around_drift,
    "ledger": _around_ledger,
}  # fmt: skip


async def _paced(send: Callable[[int], Awaitable[None]]) -> None:
    number = 0
    while True:
        number += 1
        await send(number)
        await asyncio.sleep(_EVERY_S)


async def _plc(site: Site, stack: AsyncExitStack) -> None:
    port = free_port()
    # A process of its own: an OPC UA server takes seconds to set up, in which no other pair would be watched.
    command = plc_process.arguments("line-1", _TIMING, port, site.folder, rate=1 / _EVERY_S, stop_after=0, run=True)
    plc = await stack.enter_async_context(SupervisedProcess("plc", command, site.folder))
    await plc.said(plc_process.READY, within_s=_PLC_WITHIN_S)
    way = await stack.enter_async_context(CuttableNetwork([Route(port, free_port())]))
    site.values["lines"][0]["plc"] = {
        "endpoint": f"opc.tcp://{way.bootstrap}/", "security": {"policy": "None", "allow_insecure": True}
    }  # fmt: skip
    if site.pair.on == "PLC":
        site.part = Server(way)


def _store_objects(site: Site) -> None:
    store = site.folder / "objects"
    store.mkdir()
    site.values["storage"]["objects"] = str(store)
    site.values["lines"][0]["stations"][0]["payload"] = {"format": "raw", "max_inline_bytes": 1024}
    site.part = Folder(store)


def _second_model(site: Site, producer: EventProducer) -> Coroutine[Any, Any, None]:
    """Move the second model to the store; while that is away, somebody activates it."""
    from neverblink.vision.artifact import load_artifact  # not above: no other pair needs torch

    store = site.folder / "store"
    store.mkdir()
    (site.folder / "artifacts" / SECOND).rename(store / SECOND)
    found = load_artifact(store / SECOND)
    reference = ArtifactRef(name=found.name, version=found.version, digest=found.digest)
    slot = Slot(artifact=reference, location=str(store / SECOND))

    async def activate() -> None:
        at = datetime.now(UTC)
        await producer.send(
            ModelSlots(id=at.isoformat(), line="line-1", station="top", product="striped", active=slot, by="faults",
                       at=at)
        )  # fmt: skip

    site.values["storage"]["artifact_store"] = str(store)
    site.part = Folder(store, needed=activate)
    site.heals = Effects()

    def is_by_second(verdict: Verdict) -> bool:
        return verdict.artifact is not None and verdict.artifact.digest == found.digest

    return on_topic(site.heals, site.line.kafka, Verdict, is_by_second)


async def _collect(site: Site, stack: AsyncExitStack) -> Coroutine[Any, Any, None]:
    collector = await stack.enter_async_context(Collector().serving())
    way = await stack.enter_async_context(CuttableNetwork([Route(collector.port, free_port())]))
    site.part = Server(way)
    site.environment |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{way.bootstrap}", "OTEL_METRIC_EXPORT_INTERVAL": "2000"
    }  # fmt: skip
    site.heals = Effects()
    return in_counter(site.heals, lambda: collector.taken)


async def _keep_in_postgresql(site: Site, server: PostgresqlServer, stack: AsyncExitStack) -> Coroutine[Any, Any, None]:
    url = await asyncio.to_thread(server.new_database)
    way = await stack.enter_async_context(CuttableNetwork([Route(server.port, free_port())]))
    site.part = Server(way)
    site.values["storage"]["ledger"] = url.replace(f"127.0.0.1:{server.port}", way.bootstrap)
    return in_counter(site.work, lambda: rows_of_postgresql(url))


def _picture(number: int) -> np.ndarray:
    drawn = np.random.default_rng(number % 20).integers(40, 200, (8, 12, 3), np.uint8)
    return np.kron(drawn, np.ones((16, 16, 1), np.uint8))


def _verdict(number: int) -> Verdict:
    now = datetime.now(UTC)
    frame = frame_id(now)
    return Verdict(
        id=verdict_id(frame), frame_id=frame, line="line-1", station="top", product="striped",
        part=f"line-1/1/{number}", seq=number, decision=Decision.UNSCORED, reason="late",
        times=Times(captured=now, emitted=now), deadline=now,
    )  # fmt: skip


def _port(address: str) -> int:
    return int(address.split("//")[-1].split("/")[0].rpartition(":")[2])
