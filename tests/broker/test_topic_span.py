"""Reading a topic to an end that is known: all of it, nothing after it, and a sentence where nothing comes."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from neverblink.brokers.apache import LocalKafka
from neverblink.brokers.broker import Broker
from neverblink.brokers.development import Api, DevelopmentBroker
from neverblink.events import Frame
from neverblink.events.examples import examples
from neverblink.kafka import EventConsumer, EventProducer, KafkaError, ensure_topics
from neverblink.kafka.topic_span import TopicSpan
from neverblink.plant import Kafka

LINES = 12


async def topics_at(broker: Broker) -> Kafka:
    kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=4, replication=1)
    await ensure_topics(kafka, ("frames",))
    return kafka


async def send(kafka: Kafka, name: str, count: int) -> set[str]:
    (example,) = (event for event in examples() if isinstance(event, Frame))
    frames = [
        example.model_copy(update={"line": f"line-{number % LINES}", "id": f"{name}-{number}"})
        for number in range(count)
    ]
    async with EventProducer(kafka, source="/test", client_id="test", writes=("frames",)) as producer:
        await asyncio.gather(*(producer.send(frame) for frame in frames))
    return {frame.id for frame in frames}


async def read(span: TopicSpan) -> list[str]:
    found = []
    async with asyncio.timeout(30):
        while records := await span.take():
            found += [record.read(Frame)[0].id for record in records]
    return found


async def test_all_that_was_there_is_read_once_and_nothing_that_came_later(broker: Broker) -> None:
    kafka = await topics_at(broker)
    before = await send(kafka, "before", 100)
    async with EventConsumer(kafka, "frames", client_id="test") as consumer:
        ends = await consumer.ends()
        await send(kafka, "after", 50)
        found = await read(TopicSpan(consumer, ends, at_once=7))
        assert sorted(found) == sorted(before)
        # The consumer goes on behind the end: nothing was thrown away.
        assert len(await read(TopicSpan(consumer, await consumer.ends()))) == 50


async def test_an_empty_topic_has_been_read(broker: Broker) -> None:
    kafka = await topics_at(broker)
    async with EventConsumer(kafka, "frames", client_id="test") as consumer:
        assert await read(TopicSpan(consumer, await consumer.ends())) == []


async def test_a_partition_that_ends_with_a_transactions_mark_is_read_to_its_end(apache: LocalKafka) -> None:
    kafka = await topics_at(apache)
    sent = await send(kafka, "before", 20)
    producer = AIOKafkaProducer(bootstrap_servers=apache.bootstrap, transactional_id=f"test-{uuid4().hex[:8]}")
    async with producer, producer.transaction():
        for partition in range(4):
            await producer.send_and_wait(f"{kafka.topic_prefix}.frames", b"no event", partition=partition)
    async with EventConsumer(kafka, "frames", client_id="test") as consumer:
        span, found = TopicSpan(consumer, await consumer.ends()), 0
        async with asyncio.timeout(20):
            while records := await span.take():
                found += len(records)
    assert found == len(sent) + 4


async def test_a_broker_that_goes_silent_is_a_sentence(development: DevelopmentBroker) -> None:
    kafka = await topics_at(development)
    await send(kafka, "before", 5)
    async with EventConsumer(kafka, "frames", client_id="test") as consumer:
        ends = await consumer.ends()
    development.faults.delay(Api.FETCH, 30.0)
    async with EventConsumer(kafka, "frames", client_id="test") as consumer:
        with pytest.raises(KafkaError, match="has sent nothing for 1 s; is it running"):
            await read(TopicSpan(consumer, ends, silent_s=1.0))
