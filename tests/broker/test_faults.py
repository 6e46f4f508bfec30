"""Faults on the development broker, and what our client library makes of them."""

import asyncio
import time
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NotLeaderForPartitionError, TransactionalIdAuthorizationFailed

from neverblink.brokers.development import Api, DevelopmentBroker, ErrorCode


async def test_a_lost_acknowledgement_leaves_one_record_with_an_idempotent_producer(
    development: DevelopmentBroker, development_clients: Any
) -> None:
    topic = await development_clients.topic()
    producer = await development_clients.producer()
    await producer.send_and_wait(topic, b"first")
    fault = development.faults.drop(Api.PRODUCE, times=1, after=True)
    await producer.send_and_wait(topic, b"second")
    await producer.send_and_wait(topic, b"third")
    assert fault.hits == 1
    found = await development_clients.values(topic, 3)
    assert [record.value for record in found] == [b"first", b"second", b"third"]
    place = TopicPartition(topic, 0)
    assert await (await development_clients.consumer()).end_offsets([place]) == {place: 3}


async def test_a_request_is_answered_late_by_the_delay(
    development: DevelopmentBroker, development_clients: Any
) -> None:
    topic = await development_clients.topic()
    producer = await development_clients.producer()
    await producer.send_and_wait(topic, b"warm")
    fault = development.faults.delay("produce", 0.3, times=1)
    began = time.monotonic()
    await producer.send_and_wait(topic, b"slow")
    assert time.monotonic() - began >= 0.3
    assert fault.hits == 1


async def test_a_refused_request_is_retried_until_it_is_taken(
    development: DevelopmentBroker, development_clients: Any
) -> None:
    topic = await development_clients.topic()
    producer = await development_clients.producer()
    fault = development.faults.refuse(Api.PRODUCE, ErrorCode.NOT_LEADER_OR_FOLLOWER, times=2)
    metadata = await producer.send_and_wait(topic, b"patience")
    assert (fault.hits, metadata.offset) == (2, 0)


async def test_a_refused_partition_leaves_the_others_working(
    development: DevelopmentBroker, development_clients: Any
) -> None:
    topic = await development_clients.topic(2)
    producer = await development_clients.producer(enable_idempotence=False, request_timeout_ms=700)
    development.faults.refuse_partition(topic, 0)
    with pytest.raises(NotLeaderForPartitionError):
        await producer.send_and_wait(topic, b"stuck", partition=0)
    assert (await producer.send_and_wait(topic, b"fine", partition=1)).offset == 0
    development.faults.accept_partition(topic, 0)
    assert (await producer.send_and_wait(topic, b"again", partition=0)).offset == 0


async def test_a_frozen_broker_answers_when_it_moves_again_and_evicts_nobody(
    development: DevelopmentBroker, development_clients: Any
) -> None:
    topic = await development_clients.topic(2)
    producer = await development_clients.producer()
    consumer = await development_clients.consumer(
        topic, group_id="readers", session_timeout_ms=1000, heartbeat_interval_ms=100
    )
    generation = consumer._coordinator.generation
    development.faults.freeze()
    sending = asyncio.create_task(producer.send_and_wait(topic, b"held", partition=0))
    await asyncio.sleep(1.5)
    assert not sending.done()
    development.faults.unfreeze()
    assert (await asyncio.wait_for(sending, 5)).offset == 0
    assert (await asyncio.wait_for(consumer.getone(), 5)).value == b"held"
    assert consumer._coordinator.generation == generation


async def test_a_broker_that_was_away_has_kept_its_records(
    development: DevelopmentBroker, development_clients: Any
) -> None:
    topic = await development_clients.topic()
    producer = await development_clients.producer()
    await producer.send_and_wait(topic, b"before")
    development.faults.go_away()
    sending = asyncio.create_task(producer.send_and_wait(topic, b"during"))
    await asyncio.sleep(0.5)
    assert not sending.done()
    development.faults.come_back()
    assert (await asyncio.wait_for(sending, 10)).offset == 1
    found = await development_clients.values(topic, 2)
    assert [record.value for record in found] == [b"before", b"during"]


async def test_a_fault_ends_when_it_is_lifted(development: DevelopmentBroker, development_clients: Any) -> None:
    topic = await development_clients.topic()
    producer = await development_clients.producer(enable_idempotence=False, request_timeout_ms=500)
    fault = development.faults.refuse("produce", ErrorCode.NOT_ENOUGH_REPLICAS)
    with pytest.raises(KafkaError):
        await producer.send_and_wait(topic, b"x")
    development.faults.lift(fault)
    assert (await producer.send_and_wait(topic, b"x")).offset == 0


async def test_a_consumer_gets_its_records_through_one_refusal_of_everything_it_asks(
    development: DevelopmentBroker, development_clients: Any
) -> None:
    topic = await development_clients.topic()
    for api in (Api.FETCH, Api.LIST_OFFSETS):
        development.faults.refuse(api, ErrorCode.NOT_LEADER_OR_FOLLOWER, times=1)
    for api in (Api.FIND_COORDINATOR, Api.JOIN_GROUP, Api.SYNC_GROUP, Api.HEARTBEAT, Api.OFFSET_FETCH):
        development.faults.refuse(api, ErrorCode.NOT_COORDINATOR, times=1)
    producer = await development_clients.producer()
    await producer.send_and_wait(topic, b"at last")
    consumer = await development_clients.consumer(topic, group_id="patient", heartbeat_interval_ms=100)
    assert (await asyncio.wait_for(consumer.getone(), 15)).value == b"at last"


async def test_an_unknown_request_name_is_explained() -> None:
    with pytest.raises(ValueError, match="is no request of the broker; known are produce, fetch"):
        DevelopmentBroker().faults.delay("prodcue", 1)


async def test_a_transactional_producer_is_refused_at_once(development_clients: Any) -> None:
    with pytest.raises(TransactionalIdAuthorizationFailed):
        async with asyncio.timeout(5):
            await development_clients.producer(transactional_id="scorer-0")
