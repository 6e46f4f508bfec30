"""On a Kafka that trusts nobody: who may write answers is proven by the broker, not by a name in an event."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from review_plant import plant_file, scored

from neverblink.events import Judgement, Review
from neverblink.events.identity import verdict_id
from neverblink.kafka import KafkaError, LatestEvents, ensure_topics
from neverblink.ledger import writing
from neverblink.plant import Kafka, Plant, load_plant
from neverblink.records.database import Database
from neverblink.reviewing import Answer, Desk
from neverblink.reviewing.desk import Where
from rigs.secured_kafka import SecuredKafka, secured_kafka

pytestmark = pytest.mark.plant

TOPIC, READ, WRITE, DESCRIBE = ResourceType.TOPIC, AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
MINE = [Answer("line-1-SN-1", Judgement.NORMAL)]


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    """One broker with users and rights."""
    yield from secured_kafka()


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """A plant whose records hold one rejected part."""
    described = load_plant(plant_file("127.0.0.1:1", tmp_path))
    database = Database(described.storage.ledger, create=True)
    writing.keep(database, [scored(1)], datetime.now(UTC))
    database.close()
    return described


async def test_who_may_read_sees_the_queue_and_who_may_not_write_says_nothing(
    secured: SecuredKafka, plant: Plant, tmp_path: Path
) -> None:
    name = f"u{uuid4().hex[:8]}"
    secured.user(name, "first")
    password = tmp_path / "password"
    password.write_text("first\n")
    kafka = secured.kafka(name, password, topic_prefix=name)
    root = Kafka(bootstrap=secured.plaintext, topic_prefix=name, partitions=2, replication=1)
    await ensure_topics(root, ("claims", "reviews"))
    theirs = Desk(plant.model_copy(update={"kafka": kafka}), "a")
    for topic in ("claims", "reviews"):
        secured.allow(name, TOPIC, f"{name}.{topic}", READ, DESCRIBE)

    page, _ = await theirs.waiting(Where(), 10)
    assert [row.judged.part for row in page.rows] == ["1-1"]
    assert (await theirs.show("line-1-SN-1")).wants == "first"
    with pytest.raises(KafkaError, match=rf"the user '{name}' is not allowed to: .*Write"):
        await asyncio.wait_for(theirs.answer(MINE), 60)
    assert await _reviews(root) == []

    # The rights that the guide names are enough, and none is missing among them.
    for topic in ("claims", "reviews"):
        secured.allow(name, TOPIC, f"{name}.{topic}", WRITE)
    async with asyncio.timeout(60):
        while True:
            try:
                taken = await theirs.take(Where())
                break
            except KafkaError:
                await asyncio.sleep(0.5)  # rights that were given just now take a while to hold
    assert taken is not None
    (done,) = await theirs.answer(MINE)
    assert [(one.verdict, one.reviewer, one.id) for one in await _reviews(root)] == [
        (verdict_id("line-1-1"), "a", done.review.id)
    ]


async def _reviews(kafka: Kafka) -> list[Review]:
    async with LatestEvents(kafka, Review, client_id="test") as events:
        return [event for _, event in await events.to_the_end(20) if event is not None]
