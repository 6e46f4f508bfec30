"""Every topic as others meet it: kafkajs, Apache's Java client and librdkafka read what we write, we what they write.

Against Apache Kafka itself. Each record comes as it was sent: key, headers, bytes; its JSON is parsed by the client,
and fits the published schemas.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import orjson
import pytest

from neverblink.brokers.apache import LocalKafka, find_jars, find_java
from neverblink.events import EVENTS, TOPICS, Challenge, Context, Event, encode
from neverblink.events.examples import TRACE, examples
from neverblink.events.schemas import file_name
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.plant import Kafka

pytestmark = pytest.mark.plant

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
FOREIGN = Path(__file__).parent / "foreign"
EACH = 20
"""Records of a topic: more than one a batch, so that what is compressed is."""


@cache
def kafkajs() -> list[str]:
    node = shutil.which("node")
    if node is None or not (FOREIGN / "node_modules/kafkajs").is_dir():
        pytest.skip("kafkajs is not installed: `make test-plant` does it, where npm and its registry are there")
    return [node]


@cache
def java() -> list[str]:
    if shutil.which("javac") is None:
        pytest.skip("there is no JDK: install one (Debian: openjdk-17-jdk-headless)")
    return [find_java(), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", find_jars()]


def reads_by_kafkajs(bootstrap: str, count: int, topics: list[str]) -> list[str]:
    return [*kafkajs(), str(FOREIGN / "read.mjs"), bootstrap, str(count), *topics]


def reads_by_java(bootstrap: str, count: int, topics: list[str]) -> list[str]:
    return [*java(), str(FOREIGN / "Foreign.java"), "read", bootstrap, str(count), *topics]


def reads_by_librdkafka(bootstrap: str, count: int, topics: list[str]) -> list[str]:
    pytest.importorskip("confluent_kafka")
    return [sys.executable, str(FOREIGN / "librdkafka.py"), "read", bootstrap, str(count), *topics]


def writes_by_kafkajs(bootstrap: str, topic: str, codec: str) -> list[str]:
    return [*kafkajs(), str(FOREIGN / "write.mjs"), bootstrap, topic, codec]


def writes_by_java(bootstrap: str, topic: str, codec: str) -> list[str]:
    return [*java(), str(FOREIGN / "Foreign.java"), "write", bootstrap, topic, codec]


def writes_by_librdkafka(bootstrap: str, topic: str, codec: str) -> list[str]:
    pytest.importorskip("confluent_kafka")
    return [sys.executable, str(FOREIGN / "librdkafka.py"), "write", bootstrap, topic, codec]


READERS = {"kafkajs": reads_by_kafkajs, "Java": reads_by_java, "librdkafka": reads_by_librdkafka}
WRITERS = {"kafkajs": writes_by_kafkajs, "Java": writes_by_java, "librdkafka": writes_by_librdkafka}


def some(event: Event) -> list[Event]:
    """Return what differs in id alone, as many as a topic gets."""
    return [event.model_copy(update={"id": f"{event.id}-{number}"}) for number in range(EACH)]


@pytest.fixture
async def kafka(apache: LocalKafka) -> Kafka:
    made = Kafka(bootstrap=apache.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=3, replication=1)
    await ensure_topics(made)
    return made


async def run(command: list[str], said: str = "") -> str:
    done = await asyncio.to_thread(
        subprocess.run, command, input=said, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.mark.timeout(150)
@pytest.mark.parametrize("reads", READERS.values(), ids=READERS)
async def test_another_client_reads_every_topic_as_it_was_written(
    kafka: Kafka, reads: Callable[[str, int, list[str]], list[str]]
) -> None:
    by_topic = {event.TOPIC: event for event in examples()}
    assert by_topic.keys() == TOPICS.keys(), "a topic without an example is one that nobody tried"
    sent = {}
    async with EventProducer(kafka, source="/plant-1/test", client_id="test") as producer:
        events = [one for event in by_topic.values() for one in some(event)]
        await asyncio.gather(*(producer.send(event, trace=TRACE) for event in events))
        for event in events:
            sent[event.TOPIC, event.id] = encode(event, source="/plant-1/test", trace=TRACE)
    topics = [TOPICS[name].full_name(kafka.topic_prefix) for name in TOPICS]
    said = await run(reads(kafka.bootstrap, len(sent), topics))
    kinds = {kind.TOPIC: kind for kind in EVENTS}
    counted: Counter[str] = Counter()
    for line in said.splitlines():
        told = json.loads(line)
        topic, headers = told["topic"].removeprefix(f"{kafka.topic_prefix}."), dict(told["headers"])
        message = sent.pop((topic, headers["ce_id"]))
        assert told["key"] == message.key.decode()
        assert base64.b64decode(told["value"]) == message.value
        # Each writes its own span's id: the trace is the one that was given.
        assert headers.pop("traceparent").split("-")[1] == TRACE["traceparent"].split("-")[1]
        assert headers == {name: raw.decode() for name, raw in message.headers if name != "traceparent"}
        jsonschema.Draft202012Validator(schema(f"{file_name(kinds[topic])}.headers.json")).validate(headers)
        if told["data"] is not None:
            jsonschema.Draft202012Validator(schema(f"{file_name(kinds[topic])}.json")).validate(told["data"])
        counted[topic] += 1
    assert not sent
    assert counted == dict.fromkeys(TOPICS, EACH)


@cache
def schema(name: str) -> Any:
    return orjson.loads((SCHEMAS / name).read_bytes())


@pytest.mark.timeout(150)
@pytest.mark.parametrize("writes", WRITERS.values(), ids=WRITERS)
async def test_what_another_client_writes_for_us_is_read(
    kafka: Kafka, writes: Callable[[str, str, str], list[str]]
) -> None:
    """An MES writes contexts and challenges, with gzip and without."""
    wanted: dict[str, list[Event]] = defaultdict(list)
    for codec, event in zip(
        ("gzip", "none"), (e for e in examples() if isinstance(e, Context | Challenge)), strict=True
    ):
        lines = []
        for one in some(event):
            message = encode(one, source="/mes")
            headers = [[name, raw.decode()] for name, raw in message.headers]
            value = base64.b64encode(message.value).decode()
            lines.append(json.dumps({"key": message.key.decode(), "headers": headers, "value": value}))
            wanted[one.TOPIC].append(one)
        topic = TOPICS[event.TOPIC].full_name(kafka.topic_prefix)
        await run(writes(kafka.bootstrap, topic, codec), "\n".join(lines))
    for topic, events in wanted.items():
        found: list[Event] = []
        keys = sorted({event.key for event in events})
        # By key, as a camera reads its lines' contexts: it looks into no other partition.
        async with EventConsumer(kafka, topic, client_id="test", keys=keys) as consumer, asyncio.timeout(30):
            while len(found) < len(events):
                found += [record.read(Context, Challenge)[0] for record in await consumer.poll(100, 0.5)]
        assert sorted(found, key=lambda one: one.id) == sorted(events, key=lambda one: one.id)
