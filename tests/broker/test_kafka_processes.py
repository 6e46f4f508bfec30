"""Apache Kafka as child processes: nodes are lost and come back, and nothing is left behind."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from neverblink.brokers.apache import LocalKafka


@pytest.mark.slow
@pytest.mark.plant
async def test_three_nodes_lose_one_and_no_acknowledged_record(apache: LocalKafka) -> None:
    async with LocalKafka(nodes=3, heap_mib=320) as kafka:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("verdicts", 3, 3)])
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True, metadata_max_age_ms=2000
        )
        await producer.start()
        acknowledged: list[bytes] = []

        async def send(count: int) -> None:
            for _ in range(count):
                value = b"%d" % len(acknowledged)
                place = len(acknowledged) % 3
                await asyncio.wait_for(producer.send_and_wait("verdicts", value, partition=place), 40)
                acknowledged.append(value)

        await send(30)
        await kafka.kill_node(2)
        await send(30)
        await kafka.restart_node(2)
        await send(30)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign([TopicPartition("verdicts", place) for place in range(3)])
        found: list[bytes] = []
        async with asyncio.timeout(30):
            while len(found) < len(acknowledged):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [record.value for record in records]
        assert sorted(found) == sorted(acknowledged)
        await consumer.stop()
        await producer.stop()
        await admin.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal of a parent is Linux's")
def test_kafka_ends_with_a_parent_that_was_killed(apache: LocalKafka, tmp_path: Path) -> None:
    program = (
        "import asyncio\n"
        "from neverblink.brokers.apache import LocalKafka\n"
        "async def main():\n"
        "    kafka = LocalKafka()\n"
        "    await kafka.start()\n"
        "    print(kafka._nodes[0].process.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _lives(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    give_up = time.monotonic() + 10
    while _lives(child) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not _lives(child)


def test_a_stopped_kafka_leaves_no_folder(apache: LocalKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kafka = LocalKafka()
    asyncio.run(kafka.start())
    assert len(list(tmp_path.iterdir())) == 1
    asyncio.run(kafka.stop())
    assert list(tmp_path.iterdir()) == []


def _lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"
