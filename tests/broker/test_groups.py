"""Consumer groups: members share the partitions, come, go and die, and no record is lost. Both brokers."""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

MEMBER = Path(__file__).with_name("member.py")
QUICK = {"heartbeat_interval_ms": 200, "session_timeout_ms": 6000, "metadata_max_age_ms": 2000}


async def _until(condition: Any, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is awaited happens inside a client library
            await asyncio.sleep(0.05)


async def _poll(consumer: AIOKafkaConsumer, seen: Counter[bytes], stop: asyncio.Event) -> None:
    """Read and commit as a service does: only what was handled, until told to stop."""
    while not stop.is_set():
        found = await consumer.getmany(timeout_ms=100)
        for records in found.values():
            seen.update(record.value for record in records)
        if found:
            try:
                await consumer.commit({place: records[-1].offset + 1 for place, records in found.items() if records})
            except KafkaError:
                continue  # a rebalance came between: whoever has the partition now reads it again


async def test_a_group_goes_on_where_it_committed(clients: Any) -> None:
    topic, group = await clients.topic(2), clients.name("group")
    producer = await clients.producer()
    for number in range(10):
        await producer.send_and_wait(topic, b"%d" % number, partition=number % 2)
    place = TopicPartition(topic, 0)
    first = await clients.consumer(topic, group_id=group, **QUICK)
    await first.getmany(timeout_ms=500)
    await first.commit({place: OffsetAndMetadata(3, "handled")})
    await first.stop()
    second = await clients.consumer(topic, group_id=group, **QUICK)
    assert await second.committed(place) == 3
    assert await second.position(place) == 3
    assert await second.position(TopicPartition(topic, 1)) == 0
    offsets = await (await clients.admin()).list_consumer_group_offsets(group)
    assert offsets[place] == OffsetAndMetadata(3, "handled")


async def test_members_that_come_and_go_under_load_lose_no_record(clients: Any) -> None:
    topic, group = await clients.topic(6), clients.name("group")
    producer = await clients.producer()
    seen: Counter[bytes] = Counter()
    stop_first, stop_second, stop_third = asyncio.Event(), asyncio.Event(), asyncio.Event()
    first = await clients.consumer(topic, group_id=group, **QUICK)
    tasks = [asyncio.create_task(_poll(first, seen, stop_first))]
    sent = 0

    async def produce_for(seconds: float) -> None:
        nonlocal sent
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await producer.send(topic, b"%d" % sent, partition=sent % 6)
            sent += 1
            await asyncio.sleep(0.005)

    await produce_for(0.7)
    second = await clients.consumer(topic, group_id=group, **QUICK)
    tasks.append(asyncio.create_task(_poll(second, seen, stop_second)))
    await produce_for(0.7)
    await _until(lambda: len(first.assignment()) == 3 and len(second.assignment()) == 3)
    stop_first.set()
    await tasks[0]
    await first.stop()
    await produce_for(0.7)
    third = await clients.consumer(topic, group_id=group, **QUICK)
    tasks.append(asyncio.create_task(_poll(third, seen, stop_third)))
    await produce_for(0.7)
    await producer.flush()
    await _until(lambda: len(seen) == sent)
    await _until(lambda: len(second.assignment()) == 3 and len(third.assignment()) == 3)
    stop_second.set()
    stop_third.set()
    await asyncio.gather(*tasks)
    assert set(seen) == {b"%d" % number for number in range(sent)}
    assert sent > 100


async def test_a_killed_member_is_evicted_and_its_partitions_move(clients: Any) -> None:
    topic, group = await clients.topic(4), clients.name("group")
    session_ms = 2000
    member = await asyncio.create_subprocess_exec(
        sys.executable, str(MEMBER), clients.bootstrap, topic, group, str(session_ms),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert member.stdout is not None
        async with asyncio.timeout(20):
            assert await member.stdout.readline() == b"holds 4\n"
            survivor = await clients.consumer(
                topic, group_id=group, session_timeout_ms=session_ms, heartbeat_interval_ms=200
            )
            assert await member.stdout.readline() == b"holds 2\n"
        member.kill()
        killed = time.monotonic()
        await _until(lambda: len(survivor.assignment()) == 4, within_s=15)
        assert time.monotonic() - killed < session_ms / 1000 + 10
    finally:
        if member.returncode is None:
            member.kill()
        await member.wait()


async def test_a_member_of_an_older_generation_cannot_commit(clients: Any) -> None:
    topic, group = await clients.topic(2), clients.name("group")
    quick = {**QUICK, "session_timeout_ms": 1000}
    first = await clients.consumer(topic, group_id=group, **quick)
    coordinator = first._coordinator
    stale = coordinator.generation
    second = await clients.consumer(topic, group_id=group, **quick)
    await _until(lambda: len(first.assignment()) == 1 and len(second.assignment()) == 1)
    assert coordinator.generation > stale
    coordinator.generation = stale
    with pytest.raises(KafkaError):
        await first.commit({TopicPartition(topic, 0): 1})
    assert await second.committed(TopicPartition(topic, 0)) is None


async def test_a_static_member_that_restarts_keeps_its_place_without_a_rebalance(clients: Any) -> None:
    topic, group = await clients.topic(4), clients.name("group")
    stays = await clients.consumer(topic, group_id=group, group_instance_id="scorer-0", **QUICK)
    restarts = await clients.consumer(topic, group_id=group, group_instance_id="scorer-1", **QUICK)
    await _until(lambda: len(stays.assignment()) == 2 and len(restarts.assignment()) == 2)
    generation, held = stays._coordinator.generation, restarts.assignment()
    await restarts.stop()
    again = await clients.consumer(topic, group_id=group, group_instance_id="scorer-1", **QUICK)
    await _until(lambda: again.assignment() == held)
    assert stays._coordinator.generation == generation
    assert again._coordinator.generation == generation


async def test_a_group_is_listed_and_described(clients: Any) -> None:
    topic, group = await clients.topic(2), clients.name("group")
    consumer = await clients.consumer(topic, group_id=group, client_id="a-scorer", **QUICK)
    await _until(lambda: len(consumer.assignment()) == 2)
    admin = await clients.admin()
    assert (group, "consumer") in [tuple(one) for one in await admin.list_consumer_groups()]
    answer = (await admin.describe_consumer_groups([group]))[0]
    code, name, state, kind, _, members, *_ = answer.groups[0]
    assert (code, name, state, kind, len(members)) == (0, group, "Stable", "consumer", 1)
    assert members[0][1] == "a-scorer"


async def test_a_group_without_members_can_be_given_offsets_by_hand(clients: Any) -> None:
    topic, group = await clients.topic(), clients.name("group")
    producer = await clients.producer()
    for number in range(5):
        await producer.send_and_wait(topic, b"%d" % number)
    place = TopicPartition(topic, 0)
    by_hand = await clients.consumer(group_id=group)
    by_hand.assign([place])
    await by_hand.commit({place: 4})
    await by_hand.stop()
    member = await clients.consumer(topic, group_id=group, **QUICK)
    assert (await asyncio.wait_for(member.getone(), 10)).offset == 4
