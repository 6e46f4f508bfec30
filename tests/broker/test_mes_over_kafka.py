"""The guide's program over Kafka, as it stands: duplicates, corrections, poison, newer fields, and a restart."""

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from real_kafka import without_kafka

from neverblink.brokers.apache import KafkaUnavailable, LocalKafka
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import TOPICS, Actuation, Decision, Event, Judgement, Message, Review, Verdict, encode
from neverblink.events.actuation import GateAction
from neverblink.events.examples import examples
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.plant import Kafka
from rigs.forwarding import Forwarding

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/guides/mes.md"


def example(kind: type[Event]) -> Event:
    return next(event for event in examples() if type(event) is kind)


async def follow(folder: Path, kafka: Kafka) -> sqlite3.Connection:
    """Run the guide's program until nothing more comes, and return its database."""
    (program,) = re.findall(r"```python follow-kafka.py\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    environment = {**os.environ, "KAFKA": kafka.bootstrap, "TOPIC_PREFIX": kafka.topic_prefix, "STOP_WHEN_QUIET_S": "2"}
    command = [sys.executable, "-c", program]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return sqlite3.connect(folder / "mes.db")


async def send(kafka: Kafka, events: Sequence[Event], records: Sequence[Message] = ()) -> None:
    async with EventProducer(kafka, source="/plant-1/test", client_id="test") as producer:
        for event in events:
            await producer.send(event)
        for record in records:
            await producer.send_record(record)


async def test_the_guides_program_keeps_each_verdict_once_and_what_people_corrected(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka", reason="the third-party client is not installed")
    verdict, review = example(Verdict), example(Review)
    assert isinstance(verdict, Verdict)
    assert isinstance(review, Review)
    again = verdict.model_copy(update={"decision": Decision.PASS, "reason": None})
    earlier = review.model_copy(update={"judgement": Judgement.NORMAL, "at": review.at - timedelta(minutes=1)})
    told = example(Actuation)
    gate = told.model_copy(update={"id": "gate-1", "stage": "gate", "outcome": None, "gate": GateAction.REJECTED})
    newer = encode(verdict.model_copy(update={"id": "v-newer"}), source="/plant-1/scorer")
    newer = Message("verdicts", newer.key, orjson.dumps({**orjson.loads(newer.value), "moon": "waxing"}), newer.headers)
    poison = Message("verdicts", b"line-1", b"{", newer.headers)
    stranger = Message("verdicts", b"line-1", b"{}", [("ce_type", b"neverblink.verdict.v2"), ("ce_id", b"x")])
    async with DevelopmentBroker() as broker:
        kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=2, replication=1)
        await ensure_topics(kafka, ("verdicts", "actuations", "reviews"))
        await send(kafka, [verdict, again, told, gate, review, earlier], [poison, newer, stranger])
        database = await follow(tmp_path, kafka)
        assert database.execute("SELECT id, decision FROM verdicts ORDER BY id").fetchall() == sorted(
            [(verdict.id, "reject"), ("v-newer", "reject")]
        )
        assert database.execute("SELECT id, part, action FROM gates").fetchall() == [("gate-1", told.part, "rejected")]
        assert database.execute("SELECT judgement, withdrawn FROM reviews").fetchall() == [("defect", 0)]
        ((place, value),) = database.execute("SELECT place, value FROM unread").fetchall()
        assert place.startswith(TOPICS["verdicts"].full_name(kafka.topic_prefix))
        assert value == b"{"
        before = database.execute("SELECT * FROM verdicts").fetchall()
        taken_back = review.model_copy(
            update={"judgement": Judgement.INCONCLUSIVE, "withdrawn": True, "at": review.at + timedelta(minutes=1)}
        )
        await send(kafka, [verdict, taken_back])
        database = await follow(tmp_path, kafka)
        assert database.execute("SELECT * FROM verdicts").fetchall() == before
        assert database.execute("SELECT judgement, withdrawn FROM reviews").fetchall() == [("inconclusive", 1)]
        assert database.execute("SELECT sum(next) FROM places").fetchone() == (11,)


@pytest.mark.plant
async def test_the_readmes_kcat_line_reads_through_a_published_door() -> None:
    """Apache Kafka with a listener for its own side and one that is published, as compose.yaml has them."""
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed (Debian: kcat)")
    (line,) = re.findall(r"^kcat -b localhost:9092 (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    verdict = example(Verdict)
    cluster = LocalKafka(routes=1)
    try:
        await cluster.start()
    except KafkaUnavailable as error:
        without_kafka(error)
    try:
        (door,) = cluster.route(0)
        kafka = Kafka(bootstrap=cluster.bootstrap, partitions=2, replication=1)
        await ensure_topics(kafka, ("verdicts",))
        await send(kafka, [verdict])
        async with Forwarding(door.port, door.advertised):
            command = f"kcat -b localhost:{door.advertised} {line} -e -q"
            done = await asyncio.to_thread(
                subprocess.run, command, shell=True, capture_output=True, text=True, timeout=60, check=True
            )
    finally:
        await cluster.stop()
    headers, _, value = done.stdout.partition("\n")
    assert f"ce_id={verdict.id}" in headers.split(",")
    assert orjson.loads(value)["decision"] == "reject"
