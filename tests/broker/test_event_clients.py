"""Our clients on a broker: a poll is fair over partitions, and the first event pays for no connection."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import TOPICS, Frame, Verdict, encode
from neverblink.events.examples import examples
from neverblink.kafka import EventConsumer, EventProducer, Partition, ensure_topics, partition_of
from neverblink.plant import Kafka

STATIONS = 3
# Kafka's record batch v2, and RFC 1952.
ATTRIBUTES_AT, RECORDS_AT, GZIP, FASTEST = 22, 61, 1, 4


@pytest.fixture
async def broker() -> AsyncIterator[DevelopmentBroker]:
    """A development broker of the test's own."""
    async with DevelopmentBroker() as started:
        yield started


async def kafka_at(broker: DevelopmentBroker) -> Kafka:
    kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=8, replication=1)
    await ensure_topics(kafka, ("frames", "verdicts"))
    return kafka


def frames_of(line: str, count: int) -> list[Frame]:
    (example,) = (event for event in examples() if isinstance(event, Frame))
    return [example.model_copy(update={"line": line, "id": f"{line}-{number}"}) for number in range(count)]


async def test_a_poll_takes_no_more_of_a_backlog_than_its_turn_and_all_of_who_has_none(
    broker: DevelopmentBroker,
) -> None:
    kafka = await kafka_at(broker)
    lines: dict[int, str] = {}
    for number in range(100):
        (frame,) = frames_of(f"line-{number}", 1)
        lines.setdefault(partition_of(frame.key, 8), frame.line)
    backlogged, *others = list(lines.values())[:STATIONS]
    async with EventProducer(kafka, source="/test", client_id="test", writes=("frames",)) as producer:
        sent = frames_of(backlogged, 30) + [frame for line in others for frame in frames_of(line, 2)]
        await asyncio.gather(*(producer.send(frame) for frame in sent))
    polls: list[Counter[Partition]] = []
    seen: list[str] = []
    async with EventConsumer(kafka, "frames", client_id="test") as consumer:
        async with asyncio.timeout(20):
            while len(seen) < len(sent):
                found = await consumer.poll(64, per_partition=4)
                polls.append(Counter(record.place for record in found))
                seen += [record.read(Frame)[0].id for record in found]
    assert sorted(seen) == sorted(frame.id for frame in sent)
    assert all(count <= 4 for poll in polls for count in poll.values())
    # The backlog, of 30 frames, is not through before the others have had their turn.
    last = max(seen.index(f"{line}-1") for line in others)
    assert last < seen.index(f"{backlogged}-29") - 8


async def test_the_first_frame_and_the_first_verdict_open_no_connection(broker: DevelopmentBroker) -> None:
    kafka = await kafka_at(broker)
    async with EventProducer(kafka, source="/test", client_id="test", writes=("frames", "verdicts")) as producer:
        connections = len(broker._connections)
        await producer.send(frames_of("line-1", 1)[0])
        assert len(broker._connections) == connections
    async with EventProducer(kafka, source="/test", client_id="test") as producer:
        connections = len(broker._connections)
        await producer.send(frames_of("line-1", 1)[0])
        assert len(broker._connections) > connections


async def test_what_is_json_travels_as_gzip_and_images_and_poison_as_they_are(broker: DevelopmentBroker) -> None:
    kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=1, replication=1)
    await ensure_topics(kafka)
    async with EventProducer(kafka, source="/test", client_id="test") as producer:
        for event in examples():
            await producer.send(event)
    packed: dict[str, int] = {}
    for name, topic in TOPICS.items():
        log = broker.topics.partition(topic.full_name(kafka.topic_prefix), 0)
        assert log is not None
        (batch,) = log._batches
        packed[name] = batch.data[ATTRIBUTES_AT] & 7
        if packed[name] == GZIP:
            assert batch.data[RECORDS_AT + 8] == FASTEST, "RFC 1952: XFL says by which end of the levels it was packed"
    binary = {"frames", "evidence", "dead-letters"}
    assert packed == {name: 0 if name in binary else GZIP for name in TOPICS}


async def test_what_an_older_version_wrote_as_zstd_is_read(broker: DevelopmentBroker) -> None:
    kafka = await kafka_at(broker)
    (verdict,) = (event for event in examples() if isinstance(event, Verdict))
    message = encode(verdict, source="/test")
    older = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type="zstd")
    await older.start()
    try:
        for value in (message.value, b" " + message.value):
            topic = TOPICS["verdicts"].full_name(kafka.topic_prefix)
            await older.send_and_wait(topic, value, key=message.key, headers=message.headers)
    finally:
        await older.stop()
    async with EventConsumer(kafka, "verdicts", client_id="test") as consumer, asyncio.timeout(20):
        found: list[Verdict] = []
        while len(found) < 2:
            found += [record.read(Verdict)[0] for record in await consumer.poll(10)]
    assert found == [verdict, verdict]
