"""Of several verdicts about one frame the first in the partition stands, whatever model it names: for every reader."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

pytest.importorskip("confluent_kafka", reason="the third-party client is not installed")
pytest.importorskip("datasketches", reason="pip install neverblink[drift]")

from neverblink.bridge.part_tracking import Effect, PartTracking
from neverblink.brokers.development import DevelopmentBroker
from neverblink.drift.history import Calendar
from neverblink.drift.stations import Stations
from neverblink.drift.statistics import StationKey, Windowing
from neverblink.events import ArtifactRef, Decision, Times, Tracking, Verdict
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventConsumer, EventProducer, Record, ensure_topics
from neverblink.ledger.writing import keep
from neverblink.plant import Kafka
from neverblink.records.database import Database
from neverblink.records.tables import VerdictRow

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/mes.md"
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
PASS, REJECT, UNSCORED = Decision.PASS, Decision.REJECT, Decision.UNSCORED
# Number of the part, what is decided, and by which model: in the order in which they lie in the partition.
LOG = (
    (1, PASS, "a"), (1, PASS, "a"), (1, REJECT, "b"),
    (2, REJECT, "a"), (3, PASS, "b"), (2, PASS, "b"), (2, UNSCORED, ""),
    (4, UNSCORED, ""), (4, PASS, "b"), (4, REJECT, "a"),
    (5, PASS, "b"), (6, REJECT, "b"), (5, UNSCORED, ""), (5, PASS, "a"), (1, PASS, "b"),
)  # fmt: skip


def verdict(number: int, decision: Decision, model: str) -> Verdict:
    scored = {"score": 0.5, "threshold": 1.0, "ratio": 0.5} if model else {}
    artifact = ArtifactRef(name="pcb", version="1", digest="sha256:" + model * 64) if model else None
    captured = START + timedelta(seconds=number)
    return Verdict(
        id=verdict_id(f"f{number}"), frame_id=f"f{number}", line="line-1", station="top", product="pcb",
        part=f"line-1/1/{number}", seq=number, tracking=Tracking(epoch=1, number=number), decision=decision,
        reason=None if decision is PASS else "late", artifact=artifact, times=Times(captured=captured),
        deadline=captured + timedelta(seconds=9), **scored,
    )  # fmt: skip


Said = dict[str, Decision]


def told_by_the_bridge(log: list[Record]) -> Said:
    parts, told = PartTracking(("top",), budget_s=1.0), Said()
    for record in log:
        said, _ = record.read(Verdict)
        effect, decision = parts.add(said, said.deadline.timestamp(), {})
        assert effect in (Effect.DECIDED, Effect.DUPLICATE)
        if decision is not None:
            assert said.id not in told
            told[said.id] = decision.decision
    return told


def kept_by_the_ledger(log: list[Record], folder: Path) -> Said:
    database = Database(f"sqlite:///{folder / 'ledger.db'}", create=True)
    try:
        for some in (log[:3], log[3:9], log[9:], log):  # batches, and all of it again
            keep(database, [record.read(Verdict)[0] for record in some], START)
        with database.session() as session:
            return {row.id: Decision(row.decision) for row in session.scalars(select(VerdictRow))}
    finally:
        database.close()


async def kept_by_an_mes(kafka: Kafka, folder: Path) -> Said:
    (program,) = re.findall(r"```python follow-kafka.py\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    environment = {"KAFKA": kafka.bootstrap, "TOPIC_PREFIX": kafka.topic_prefix, "STOP_WHEN_QUIET_S": "1"}
    command = [sys.executable, "-c", program]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with sqlite3.connect(folder / "mes.db") as database:
        return {name: Decision(word) for name, word in database.execute("SELECT id, decision FROM verdicts")}


def counted_by_drift(log: list[Record]) -> dict[str, tuple[int, int, int]]:
    """Passed, rejected and unscored by model."""
    stations = Stations(Windowing(60, 10), Calendar(), lambda _: None)
    for record in (*log, *log):  # read again after a crash
        said, _ = record.read(Verdict)
        stations.take(said, (record.partition, record.offset), said.times.captured.timestamp())
    return {
        StationKey.from_bytes(raw).artifact[7]: (
            sum(window.passed for window in state.windows),
            sum(sum(window.rejected.values()) for window in state.windows),
            sum(sum(window.unscored.values()) for window in state.windows),
        )
        for raw, state in stations
    }


async def test_on_one_log_bridge_ledger_drift_and_an_mes_take_the_first_verdict_about_a_frame(tmp_path: Path) -> None:
    first = {verdict_id(f"f{number}"): decision for number, decision, _ in reversed(LOG)}
    async with DevelopmentBroker() as broker:
        kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=2, replication=1)
        await ensure_topics(kafka, ("verdicts", "actuations", "reviews"))
        async with EventProducer(kafka, source="/plant-1/scorer", client_id="test") as producer:
            for one in LOG:
                await producer.send(verdict(*one))
        log: list[Record] = []
        async with EventConsumer(kafka, Verdict.TOPIC, client_id="test-reader") as consumer, asyncio.timeout(60):
            while len(log) < len(LOG):
                log += await consumer.poll()
        assert await kept_by_an_mes(kafka, tmp_path) == first
    assert told_by_the_bridge(log) == first
    assert kept_by_the_ledger(log, tmp_path) == first
    # Parts 1 and 2 are of model a, 3, 5 and 6 of b, and 4 was told while b scored.
    assert counted_by_drift(log) == {"a": (1, 1, 0), "b": (2, 1, 1)}
