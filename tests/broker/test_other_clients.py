"""Clients that are not ours: librdkafka by confluent-kafka, and kcat. They read what we write, and we read theirs."""

import asyncio
import json
import shutil
import subprocess
from typing import Any

import pytest

confluent_kafka = pytest.importorskip("confluent_kafka", reason="the third-party client is not installed")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def _read(bootstrap: str, topic: str, group: str, count: int) -> list[Any]:
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    found = []
    try:
        for _ in range(100):
            message = consumer.poll(0.2)
            if message is not None:
                assert message.error() is None, message.error()
                found.append(message)
            if len(found) >= count:
                break
        consumer.commit(asynchronous=False)
        committed = consumer.committed(consumer.assignment(), timeout=5)
        assert sum(place.offset for place in committed if place.offset > 0) == len(found)
    finally:
        consumer.close()
    return found


def _write(bootstrap: str, topic: str, codec: str, values: list[bytes]) -> None:
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "enable.idempotence": True,
            "linger.ms": 20,
            "message.max.bytes": 8 * 1024 * 1024,
        }
    )
    for number, value in enumerate(values):
        producer.produce(topic, value=value, key=f"line-{number % 3}", headers=[("ce_type", b"verdict")])
    assert producer.flush(15) == 0


@pytest.mark.parametrize("codec", CODECS)
async def test_librdkafka_reads_what_aiokafka_wrote(clients: Any, codec: str) -> None:
    topic, group = await clients.topic(3), clients.name("group")
    producer = await clients.producer(compression_type=None if codec == "none" else codec, linger_ms=20)
    sent = [b"verdict %d" % number for number in range(50)]
    for future in [await producer.send(topic, value, headers=[("ce_id", value)]) for value in sent]:
        await future
    found = await asyncio.to_thread(_read, clients.bootstrap, topic, group, len(sent))
    assert sorted(message.value() for message in found) == sorted(sent)
    assert all(message.headers() == [("ce_id", message.value())] for message in found)


@pytest.mark.parametrize("codec", CODECS)
async def test_aiokafka_reads_what_librdkafka_wrote(clients: Any, codec: str) -> None:
    topic = await clients.topic(3)
    sent = [b"frame %d" % number * 20 for number in range(50)] + [bytes(900_000)]
    await asyncio.to_thread(_write, clients.bootstrap, topic, codec, sent)
    found = await clients.values(topic, len(sent))
    assert sorted(record.value for record in found) == sorted(sent)
    assert all(list(record.headers) == [("ce_type", b"verdict")] for record in found)


async def test_kcat_prints_a_verdict_with_its_headers(clients: Any) -> None:
    kcat = shutil.which("kcat")
    if kcat is None:
        pytest.skip("kcat is not installed (Debian: kcat)")
    topic = await clients.topic()
    producer = await clients.producer(compression_type="zstd")
    await producer.send_and_wait(topic, b'{"decision":"reject"}', key=b"line-1", headers=[("ce_id", b"42")])
    command = [kcat, "-b", clients.bootstrap, "-C", "-t", topic, "-e", "-q", "-J"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=True)
    record = json.loads(done.stdout)
    assert json.loads(record["payload"]) == {"decision": "reject"}
    assert record["headers"] == ["ce_id", "42"]
