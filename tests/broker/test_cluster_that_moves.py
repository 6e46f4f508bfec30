"""A whole Apache Kafka cluster gets another address behind the same bootstrap name, with all its data."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from drift_line import plant as drift_plant
from drift_line import verdict

from neverblink.brokers.apache import KafkaUnavailable, LocalKafka
from neverblink.events import DriftReport, Verdict
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.ledger import service as ledger
from neverblink.records.database import Database
from neverblink.records.questions import ledger_figures as queries
from rigs.forwarding import Forwarding
from rigs.real_parts import without
from rigs.scored_line import sent

pytestmark = pytest.mark.plant

A_MINUTE_S = 60


@pytest.fixture
async def cluster() -> AsyncIterator[LocalKafka]:
    """One node that can be reached by two ways, each with an address of its own that the node tells."""
    kafka = LocalKafka(routes=2)
    try:
        await kafka.start()
    except KafkaUnavailable as error:
        without("Apache Kafka", error)
    yield kafka
    await kafka.stop()


async def test_drift_ledger_and_clients_follow_a_cluster_to_its_new_address_within_a_minute(
    cluster: LocalKafka, tmp_path: Path
) -> None:
    commands = pytest.importorskip("neverblink.drift.commands", reason="pip install neverblink[drift]")
    (old,), (new,) = cluster.route(0), cluster.route(1)
    stop = asyncio.Event()
    reports: list[DriftReport] = []
    async with Forwarding(old.port) as name, Forwarding(old.port, old.advertised) as old_address:
        plant, _ = drift_plant(name.address, tmp_path, ("line-1",))
        await ensure_topics(plant.kafka)
        serving = [
            asyncio.ensure_future(commands.serve(plant, None, stop)),
            asyncio.ensure_future(ledger.serve(plant, stop)),
        ]
        group = f"{plant.kafka.topic_prefix}-member"
        try:
            async with (
                EventProducer(plant.kafka, source="/test", client_id="p") as producer,
                EventConsumer(plant.kafka, "verdicts", client_id="m", group=group) as member,
                EventConsumer(plant.kafka, "drift", client_id="c") as alone,
            ):
                await sent(producer, *(verdict("line-1", number) for number in range(1, 71)))
                await told(alone, reports, 1)
                assert len(await read(member, 70)) == 70
                # Whoever comes to the name is told the new address; at the old one nobody answers.
                old_address.close()
                name.target = new.port
                async with Forwarding(new.port, new.advertised):
                    async with asyncio.timeout(A_MINUTE_S):
                        await sent(producer, *(verdict("line-1", number) for number in range(71, 141)))
                    assert len(await read(member, 70)) == 70
                    await told(alone, reports, 2)
                    await kept(plant.storage.ledger, 140)
                    assert not any(one.done() for one in serving), serving
                    stop.set()
                    await asyncio.gather(*serving)
        finally:
            stop.set()
            await asyncio.gather(*serving, return_exceptions=True)
    assert [sum((one.passed, one.rejected, *one.unscored.values())) for one in reports[:2]] == [59, 60]


async def read(consumer: EventConsumer, count: int) -> set[str]:
    found: set[str] = set()
    async with asyncio.timeout(A_MINUTE_S):
        while len(found) < count:
            found |= {record.read(Verdict)[0].id for record in await consumer.poll()}
    return found


async def told(consumer: EventConsumer, reports: list[DriftReport], count: int) -> None:
    async with asyncio.timeout(A_MINUTE_S):
        while len(reports) < count:
            reports += [record.read(DriftReport)[0] for record in await consumer.poll()]


async def kept(url: str, count: int) -> None:
    database = await asyncio.to_thread(Database, url, create=True)

    def verdicts() -> int:
        with database.session() as session:
            return queries.totals(session).verdicts

    async with asyncio.timeout(A_MINUTE_S):
        while verdicts() < count:  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.2)
    database.close()
