"""The development broker as a program: where it listens, what it says, what it survives, how it stops."""

import asyncio
import json
import signal
import socket
import subprocess
import sys

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from neverblink.brokers.development import BrokerError, DevelopmentBroker, Limits


async def exchange(broker: DevelopmentBroker, data: bytes) -> bytes:
    """Send bytes and return everything the broker says until it closes the connection."""
    host, port = broker.bootstrap.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def serves(broker: DevelopmentBroker) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        return len((await admin.describe_cluster())["brokers"]) == 1
    finally:
        await admin.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.10", "::", "plant-server.local", ""])
def test_it_listens_on_loopback_and_nowhere_else(host: str) -> None:
    with pytest.raises(BrokerError, match="serves this machine only"):
        DevelopmentBroker(host)


async def test_it_listens_on_every_name_of_loopback() -> None:
    for host in ("127.0.0.1", "localhost", "127.0.0.2"):
        async with DevelopmentBroker(host) as broker:
            assert await serves(broker)


async def test_its_first_words_say_what_it_is_and_what_it_is_not_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="neverblink"):
        async with DevelopmentBroker():
            pass
    first = caplog.records[0].getMessage()
    assert first.startswith("development broker on 127.0.0.1:")
    assert "in memory only" in first
    assert "never for a plant" in first


async def test_a_busy_port_is_one_sentence() -> None:
    async with DevelopmentBroker() as broker:
        port = int(broker.bootstrap.split(":")[1])
        with pytest.raises(BrokerError, match=rf"cannot listen on 127.0.0.1:{port}: .*choose another one"):
            await DevelopmentBroker(port=port).start()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "an HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "a TLS handshake"),
        (b"\x7f\xff\xff\xff", "a request of 2147483647 bytes"),
        (b"\xff\xff\xff\xff", "a request of -1 bytes"),
        (b"\x00\x00\x00\x03abc", "do not begin with a request header"),
        (b"\x00\x00\x00\x0a\x00\x63\x00\x00\x00\x00\x00\x01\x00\x00", "request key 99"),
        (b"\x00\x00\x00\x0a\x00\x00\x00\x63\x00\x00\x00\x01\x00\x00", "PRODUCE version 99"),
        (b"\x00\x00\x00\x0b\x00\x03\x00\x01\x00\x00\x00\x01\x00\x00\x01", "a METADATA request"),
    ],
)
async def test_what_is_no_request_closes_the_connection_with_a_sentence_and_the_broker_goes_on(
    data: bytes, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with DevelopmentBroker() as broker:
        assert await exchange(broker, data) == b""
        assert await serves(broker)
    assert any(sentence in record.getMessage() for record in caplog.records), caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_more_connections_than_its_limit_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with DevelopmentBroker(limits=Limits(connections=2)) as broker:
        host, port = broker.bootstrap.split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert await exchange(broker, b"") == b""
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        assert await serves(broker)
    assert "2 are open already" in caplog.text


async def test_a_topic_is_made_on_first_use_only_where_that_is_wanted() -> None:
    for wanted in (False, True):
        async with DevelopmentBroker(auto_create_topics=wanted) as broker:
            admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
            await admin.start()
            await admin._client.fetch_all_metadata()
            await admin.describe_topics(["verdicts"])
            assert ("verdicts" in await admin.list_topics()) is wanted
            await admin.close()


async def test_stopping_ends_open_conversations_and_leaves_no_task() -> None:
    broker = DevelopmentBroker()
    await broker.start()
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("frames", 1, 1)])
    before = asyncio.all_tasks()
    await asyncio.wait_for(broker.stop(), 2)
    await broker.stop()
    assert not [task for task in asyncio.all_tasks() & before if "development-broker" in task.get_name()]
    await admin.close()


def test_as_a_program_it_says_when_it_is_ready_and_sigterm_ends_it_well() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = subprocess.Popen(
        [sys.executable, "-m", "neverblink", "broker", "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stderr is not None
    lines = [json.loads(program.stderr.readline()) for _ in range(2)]
    assert "never for a plant" in lines[0]["message"]
    assert (lines[1]["state"], lines[1]["bootstrap"]) == ("ready", f"127.0.0.1:{port}")
    program.send_signal(signal.SIGTERM)
    assert program.wait(10) == 0
    program.stderr.close()


def test_as_a_program_it_says_in_one_line_that_its_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "neverblink", "broker", "--port", str(taken.getsockname()[1])],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(told) == 1
    assert "in use" in told[0]
