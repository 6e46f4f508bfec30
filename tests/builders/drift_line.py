"""Lines whose verdicts the drift service counts: their plant, their verdicts, the service, and what it has kept."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition

from neverblink.drift.changelog import TABLE, app_id
from neverblink.drift.station_watch import StationWatch
from neverblink.drift.stations import PAST, WATCH
from neverblink.drift.statistics import StationKey, StationState
from neverblink.events import ArtifactRef, Decision, Quality, Times, Verdict
from neverblink.events.identity import verdict_id
from neverblink.plant import Kafka, Plant
from neverblink.service_life import READY_FILE

WINDOW_S = 60
LINES = ("line-1", "line-2")
# An hour ago, at a window's beginning: event time is the parts', not the wall clock's.
START = datetime.fromtimestamp((datetime.now(UTC).timestamp() // WINDOW_S - 60) * WINDOW_S, UTC)
ARTIFACT = ArtifactRef(name="pcb", version="1", digest="sha256:" + "a" * 64)


def plant(bootstrap: str, folder: Path, names: tuple[str, ...] = LINES, *, lateness_s: float = 5) -> tuple[Plant, Path]:
    """A plant with topics of its own, and its file."""
    lines = [
        {
            "name": name,
            "timing": {"distance_to_gate_m": 2, "speed_m_s": 1},
            "stations": [
                {
                    "name": "top",
                    "product": "pcb",
                    "source": {"kind": "simulated", "drawing": "pcb"},
                    "trigger": {"kind": "timer"},
                }
            ],
        }
        for name in names
    ]
    found = Plant.model_validate(
        {
            "site": "test",
            "kafka": {
                "bootstrap": bootstrap,
                "topic_prefix": f"t{uuid4().hex[:10]}",
                "partitions": 2,
                "replication": 1,
            },
            "storage": {"ledger": f"sqlite:///{folder / 'ledger.db'}"},
            "drift": {"window_s": WINDOW_S, "allowed_lateness_s": lateness_s},
            "products": [{"name": "pcb", "artifact": "pcb"}],
            "lines": lines,
        }
    )
    file = folder / "plant.yaml"
    file.write_text(yaml.safe_dump(orjson.loads(found.model_dump_json())))
    return found, file


def verdict(line: str, number: int, *, challenge: Decision | None = None) -> Verdict:
    """One part a second; every seventh is rejected, every eleventh is unscored. A challenge is decided as told."""
    decision = Decision.UNSCORED if number % 11 == 0 else Decision.REJECT if number % 7 == 0 else Decision.PASS
    decision = challenge or decision
    name = f"{line}-{number}" + ("-challenge" if challenge else "")
    ratio = None if decision is Decision.UNSCORED else 1.5 if decision is Decision.REJECT else 0.5
    captured = START + timedelta(seconds=number)
    return Verdict(
        id=verdict_id(name),
        frame_id=name,
        line=line,
        station="top",
        product="pcb",
        part=f"{line}/1/{number}",
        seq=number,
        decision=decision,
        reason={Decision.REJECT: "anomaly", Decision.UNSCORED: "late"}.get(decision),
        score=ratio,
        threshold=None if ratio is None else 1.0,
        ratio=ratio,
        artifact=None if ratio is None else ARTIFACT,
        quality=Quality(brightness=0.4, contrast=0.1, sharpness=1, saturation=0),
        times=Times(captured=captured, emitted=captured),
        deadline=captured,
        challenge=challenge is not None,
    )


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `neverblink …` once it is ready; a process that still runs at the end is asked to stop, and must."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "neverblink", *arguments,
            stderr=asyncio.subprocess.DEVNULL, env=os.environ | {READY_FILE: str(ready)},
        )  # fmt: skip
        try:
            # Before that a signal would end it as it ends any program.
            async with asyncio.timeout(90):
                while not ready.exists():
                    assert process.returncode is None, f"{arguments} ended with {process.returncode}"
                    await asyncio.sleep(0.05)
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(30):
                    assert await process.wait() == 0


async def kill(*processes: asyncio.subprocess.Process) -> None:
    for process in processes:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def kept(kafka: Kafka) -> dict[StationKey, tuple[StationState, StationWatch]]:
    """Return what the service has kept in Kafka, as its next start would read it."""
    topic = f"{app_id(kafka)}-{TABLE}-changelog"
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False)
    await consumer.start()
    table: dict[bytes, bytes | None] = {}
    try:
        places = [TopicPartition(topic, number) for number in range(kafka.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                table.update({record.key: record.value for record in records})
    finally:
        await consumer.stop()
    found = {}
    for raw, value in table.items():
        if raw.count(b"/") == 3 and not raw.startswith((WATCH, PAST)):
            watch = table.get(WATCH + raw)
            fields = None if watch is None else orjson.loads(watch)
            found[StationKey.from_bytes(raw)] = (
                StationState.from_bytes(value),
                StationWatch() if fields is None else StationWatch.from_json(fields, table.get(PAST + raw) or b""),
            )
    return found
