"""A broker that keeps its connections and answers nothing is told in seconds, and holds up no client's end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from camera_line import frame_of, verdict_of

from neverblink.brokers.development import DevelopmentBroker
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.plant import Kafka


@pytest.fixture
async def broker() -> AsyncIterator[DevelopmentBroker]:
    async with DevelopmentBroker() as started:
        yield started


@pytest.fixture
async def kafka(broker: DevelopmentBroker) -> Kafka:
    found = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=2, replication=1)
    await ensure_topics(found, ("verdicts",))
    return found


async def told_after(trouble: Callable[[], object], within_s: float) -> float:
    """Return how long it took until there was trouble; asked twice a second, as a service's standing is."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not trouble():  # noqa: ASYNC110 - trouble has no event
            await asyncio.sleep(0.5)
    return time.monotonic() - began


async def test_a_silent_broker_is_trouble_in_seconds_and_none_once_it_answers(
    broker: DevelopmentBroker, kafka: Kafka
) -> None:
    async with (
        EventProducer(kafka, source="/test", client_id="test") as producer,
        EventConsumer(kafka, "verdicts", client_id="reader") as consumer,
    ):
        await producer.send(verdict_of(frame_of(1)))
        while not await consumer.poll():
            pass
        assert consumer.trouble is None
        assert producer.troubles == ()
        broker.faults.freeze()
        sending = producer.post(verdict_of(frame_of(2)))
        reading = asyncio.create_task(told_after(lambda: consumer.trouble, 20))
        assert await told_after(lambda: producer.troubles, 20) < 12
        assert await reading < 12
        broker.faults.unfreeze()
        await sending
        await told_after(lambda: not producer.troubles and consumer.trouble is None, 20)


@pytest.mark.parametrize("fault", ["freeze", "go_away"])
async def test_a_producer_with_something_to_send_ends_in_seconds_though_no_broker_takes_it(
    broker: DevelopmentBroker, kafka: Kafka, fault: str
) -> None:
    producer = EventProducer(kafka, source="/test", client_id="test")
    await producer.start()
    await producer.send(verdict_of(frame_of(1)))
    getattr(broker.faults, fault)()
    sending = producer.post(verdict_of(frame_of(2)))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await producer.stop()
    assert time.monotonic() - began < 20  # 40 s and more, without a limit
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize("group", [None, "group"])
async def test_a_consumer_ends_in_seconds_though_no_broker_answers(
    broker: DevelopmentBroker, kafka: Kafka, group: str | None
) -> None:
    consumer = EventConsumer(kafka, "verdicts", client_id="reader", group=group)
    await consumer.start()
    await consumer.poll()
    broker.faults.freeze()
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await consumer.stop()
    assert time.monotonic() - began < 20
