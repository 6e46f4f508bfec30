"""Drift and ledger on a broker: after kill -9 in mid-stream both know exactly what the topic holds."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
import yaml
from scored_line import sent

from neverblink.events import ArtifactRef, Decision, DriftReport, Quality, Times, Verdict
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.kafka.broker import Broker
from neverblink.ledger import queries
from neverblink.ledger.database import Database
from neverblink.plant import Plant

pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")

WINDOW_S = 60
LINES = ("line-1", "line-2")
# An hour ago, at a window's beginning: event time is the parts', not the wall clock's.
START = datetime.fromtimestamp((datetime.now(UTC).timestamp() // WINDOW_S - 60) * WINDOW_S, UTC)
ARTIFACT = ArtifactRef(name="pcb", version="1", digest="sha256:" + "a" * 64)


def plant(bootstrap: str, folder: Path) -> tuple[Plant, Path]:
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
        for name in LINES
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
            "drift": {"window_s": WINDOW_S, "allowed_lateness_s": 5},
            "products": [{"name": "pcb", "artifact": "pcb"}],
            "lines": lines,
        }
    )
    file = folder / "plant.yaml"
    file.write_text(yaml.safe_dump(orjson.loads(found.model_dump_json())))
    return found, file


def verdict(line: str, number: int) -> Verdict:
    """One part a second; every seventh is rejected, every eleventh is unscored."""
    decision = Decision.UNSCORED if number % 11 == 0 else Decision.REJECT if number % 7 == 0 else Decision.PASS
    ratio = None if decision is Decision.UNSCORED else 1.5 if decision is Decision.REJECT else 0.5
    captured = START + timedelta(seconds=number)
    return Verdict(
        id=verdict_id(f"{line}-{number}"),
        frame_id=f"{line}-{number}",
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
    )


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `neverblink …`; a process that still runs at the end is asked to stop, and must."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "neverblink", *arguments, stderr=asyncio.subprocess.DEVNULL, env=dict(os.environ)
    )
    try:
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


async def test_after_kill_9_reports_and_ledger_hold_exactly_what_the_topic_holds(
    broker: Broker, tmp_path: Path
) -> None:
    description, file = plant(broker.bootstrap, tmp_path)
    kafka = description.kafka
    await ensure_topics(kafka)
    verdicts = [verdict(line, number) for number in range(600) for line in LINES]
    # Later parts, scored and unscored, let the windows before them close.
    after_all = [verdict(line, number) for number in (637, 638) for line in LINES]
    places = Counter((item.line, int(item.times.captured.timestamp()) // WINDOW_S, item.decision) for item in verdicts)
    windows = {(line, window) for line, window, _ in places}

    reports: dict[tuple[str, int], dict[str, DriftReport]] = {}

    async def read_reports(consumer: EventConsumer, enough: int) -> None:
        async with asyncio.timeout(60):
            while sum(map(len, reports.values())) < enough:
                for record in await consumer.poll():
                    report = record.read(DriftReport)[0]
                    place = report.line, int(report.opened.timestamp()) // WINDOW_S
                    reports.setdefault(place, {})[report.artifact] = report

    drift, ledger = ("drift", "--plant", str(file)), ("ledger", "run", "--plant", str(file))
    async with (
        EventProducer(kafka, source="/test", client_id="test") as producer,
        EventConsumer(kafka, "drift", client_id="test-reader") as consumer,
    ):
        async with running(*drift) as counting, running(*ledger) as keeping:
            await sent(producer, *verdicts[:400])
            await read_reports(consumer, 2)
            sending = asyncio.gather(*(producer.send(item) for item in verdicts[400:800]))
            await kill(counting, keeping)
            await sending
        async with running(*drift), running(*ledger):
            await sent(producer, *verdicts[800:])
            # A scorer that was killed scores its last frames again: the ledger keeps the first of an id.
            await sent(producer, *after_all, *after_all)
            await read_reports(consumer, 2 * len(windows))  # scored by an artifact, and by none
            database = Database(description.storage.ledger, create=True)
            async with asyncio.timeout(60):
                while (kept := _kept(database)) < len(verdicts) + len(after_all):  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(0.1)
    assert kept == len(verdicts) + len(after_all)
    told = {
        (line, window): tuple(
            sum(count(report) for report in reports[line, window].values())
            for count in (lambda r: r.passed, lambda r: r.rejected, lambda r: sum(r.unscored.values()))
        )
        for line, window in windows
    }
    assert told == {
        place: tuple(places[*place, decision] for decision in (Decision.PASS, Decision.REJECT, Decision.UNSCORED))
        for place in windows
    }
    database.close()


def _kept(database: Database) -> int:
    with database.session() as session:
        return queries.totals(session).verdicts
