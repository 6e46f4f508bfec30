"""The brokers under contract: the development broker, new for every test, and one Apache Kafka for all of them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from real_kafka import without_kafka

from neverblink.brokers.apache import KafkaUnavailable, LocalKafka
from neverblink.brokers.broker import Broker
from neverblink.brokers.development import DevelopmentBroker
from neverblink.kafka import ensure_topics
from rigs.scored_line import ScoredLine, fit_striped

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def apache() -> Iterator[LocalKafka]:
    """One Apache Kafka process for the whole run; topics and groups have new names in every test."""
    kafka = LocalKafka()
    try:
        asyncio.run(kafka.start())
    except KafkaUnavailable as error:
        without_kafka(error)
    yield kafka
    asyncio.run(kafka.stop())


@pytest.fixture(params=["development", "apache"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """The broker that a contract test runs against."""
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of striped parts."""
    return fit_striped(tmp_path_factory.mktemp("striped"))


@pytest.fixture
async def line(broker: Broker, artifacts: Path) -> ScoredLine:
    """Topics of their own on the broker under test."""
    found = ScoredLine(broker.bootstrap, artifacts)
    await ensure_topics(found.kafka)
    return found


class Clients:
    """Makes topics and aiokafka clients on one broker, and stops the clients at the end of the test."""

    def __init__(self, bootstrap: str, stack: AsyncExitStack) -> None:
        self.bootstrap = bootstrap
        self._stack = stack

    def name(self, kind: str) -> str:
        return f"{kind}-{uuid.uuid4().hex[:12]}"

    async def admin(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        self._stack.push_async_callback(admin.close)
        return admin

    async def topic(self, partitions: int = 1, **settings: str) -> str:
        """Make a topic and return its name; settings are written with underscores for dots."""
        name = self.name("topic")
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        admin = await self.admin()
        answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        assert [error[1] for error in answer.topic_errors] == [0], answer
        return name

    async def producer(self, **settings: Any) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            **{"acks": "all", "enable_idempotence": True, "max_request_size": 8 * MIB, **settings},
        )
        await producer.start()
        self._stack.push_async_callback(producer.stop)
        return producer

    async def consumer(self, *topics: str, **settings: Any) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.bootstrap,
            **{"auto_offset_reset": "earliest", "enable_auto_commit": False, **settings},
        )
        await consumer.start()
        self._stack.push_async_callback(consumer.stop)
        return consumer

    async def values(self, topic: str, count: int, within_s: float = 20.0, **settings: Any) -> list[Any]:
        """Read `count` records of a topic from its beginning, without a group."""
        consumer = await self.consumer(**settings)
        partitions = sorted(await self.partitions(topic))
        consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        found: list[Any] = []
        async with asyncio.timeout(within_s):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(records)
        return found

    async def partitions(self, topic: str) -> list[int]:
        admin = await self.admin()
        (described,) = await admin.describe_topics([topic])
        return [partition["partition"] for partition in described["partitions"]]


@pytest.fixture
async def clients(broker: Broker) -> AsyncIterator[Clients]:
    """Topics and clients on the broker under test."""
    async with AsyncExitStack() as stack:
        yield Clients(broker.bootstrap, stack)


@pytest.fixture
async def development() -> AsyncIterator[DevelopmentBroker]:
    """A development broker, for what only it can do."""
    async with DevelopmentBroker() as broker:
        yield broker


@pytest.fixture
async def development_clients(development: DevelopmentBroker) -> AsyncIterator[Clients]:
    """Topics and clients on that development broker."""
    async with AsyncExitStack() as stack:
        yield Clients(development.bootstrap, stack)
