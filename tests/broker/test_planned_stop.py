"""A scorer that is told to stop leaves its group at once; one that is killed is waited for until its session ends."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from neverblink.brokers.broker import Broker
from neverblink.kafka import EventConsumer, ensure_topics
from neverblink.kafka.membership import Membership
from neverblink.plant import Kafka

SESSION_S = 300.0
"""Longer than the test may wait: partitions that come to the other were handed over, not fallen to it."""


async def test_a_member_that_stops_hands_its_partitions_over_without_waiting_for_its_session(broker: Broker) -> None:
    kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:10]}", partitions=4, replication=1)
    await ensure_topics(kafka, ("frames",))

    def member(name: str) -> EventConsumer:
        membership = Membership(name, session_s=SESSION_S, heartbeat_s=0.2)
        return EventConsumer(kafka, "frames", client_id=name, group=f"{kafka.topic_prefix}-g", membership=membership)

    async def until(holds: Callable[[], bool], *members: EventConsumer) -> None:
        async with asyncio.timeout(60):
            while not holds():
                for one in members:
                    await one.poll(timeout_s=0.05)

    async with member("scorer-b") as stays:
        async with member("scorer-a") as goes:
            held = lambda one: len(one._client.assignment())  # noqa: E731
            await until(lambda: held(stays) == held(goes) == 2, stays, goes)
        await until(lambda: held(stays) == 4, stays)
