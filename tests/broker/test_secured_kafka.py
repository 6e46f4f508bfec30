"""On a Kafka that trusts nobody: passwords that change, rights that are missing, certificates that are not known."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from drift_line import plant as drift_plant
from drift_line import verdict

from neverblink.events import DriftReport, Verdict
from neverblink.kafka import EventConsumer, EventProducer, KafkaError, ensure_topics
from neverblink.plant import Kafka, Plant
from rigs.application_certificates import certificate
from rigs.scored_line import sent
from rigs.secured_kafka import SecuredKafka, secured_kafka

pytestmark = pytest.mark.plant

TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, ALL = AclOperation.READ, AclOperation.WRITE, AclOperation.ALL


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    """One broker for all of these tests; each has users and topics of its own."""
    yield from secured_kafka()


class User:
    """A user with a password file, and the prefix of its topics."""

    def __init__(self, secured: SecuredKafka, folder: Path, password: str = "first") -> None:
        self.name = f"u{uuid4().hex[:8]}"
        self._secured = secured
        self.file = folder / f"{self.name}.password"
        self.rotate(password)
        self.kafka: Kafka = secured.kafka(self.name, self.file, topic_prefix=self.name)

    def rotate(self, password: str) -> None:
        self._secured.user(self.name, password)
        self.told(password)

    def told(self, password: str) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(password + "\n")
        beside.replace(self.file)

    def allow(self, kind: ResourceType, *operations: AclOperation, of: str = "") -> None:
        self._secured.allow(self.name, kind, f"{self.name}{of}", *operations)


async def until(true: Callable[[], object], within_s: float = 40) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - the state of another task
            await asyncio.sleep(0.1)


async def test_a_password_that_is_rotated_is_read_again_and_a_refused_one_is_told(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    user = User(secured, tmp_path)
    user.allow(TOPIC, ALL)
    user.allow(GROUP, ALL)
    await ensure_topics(user.kafka)
    group = f"{user.name}-g"
    seen: list[str] = []
    async with (
        EventProducer(user.kafka, source="/test", client_id="p") as producer,
        EventConsumer(user.kafka, "verdicts", client_id="c", group=group) as consumer,
    ):
        number = 0

        async def passes_through(within_s: float) -> None:
            nonlocal number
            number += 1
            wanted = verdict("line-1", number)
            async with asyncio.timeout(within_s):
                await producer.send(wanted)
                while wanted.id not in seen:
                    seen.extend(record.read(Verdict)[0].id for record in await consumer.poll())

        await passes_through(20)
        user.rotate("second")
        for _ in range(8):  # over two ends of a login
            await passes_through(30)
            await asyncio.sleep(1.5)
        # The broker knows a third one before the file does.
        secured.user(user.name, "third")
        await until(lambda: producer.troubles and consumer.trouble)
        for trouble in (*producer.troubles, consumer.trouble):
            assert trouble is not None
            assert f"the user '{user.name}' or its password was refused" in trouble.what
            assert "third" not in trouble.sentence
        user.told("third")
        await passes_through(60)
        await until(lambda: not (producer.troubles or consumer.trouble))


async def test_drift_goes_on_with_a_password_that_is_rotated(secured: SecuredKafka, tmp_path: Path) -> None:
    commands = pytest.importorskip("neverblink.drift.commands", reason="pip install neverblink[drift]")
    user = User(secured, tmp_path)
    user.allow(TOPIC, ALL)
    user.allow(GROUP, ALL)
    await ensure_topics(user.kafka)
    described, _ = drift_plant("127.0.0.1:1", tmp_path, ("line-1",))
    plant: Plant = described.model_copy(update={"kafka": user.kafka})
    stop = asyncio.Event()
    serving = asyncio.ensure_future(commands.serve(plant, None, stop))
    reports: list[DriftReport] = []
    try:
        async with (
            EventProducer(user.kafka, source="/test", client_id="p") as producer,
            EventConsumer(user.kafka, "drift", client_id="c") as consumer,
        ):
            for windows in (1, 2):
                begin = 1 + 70 * (windows - 1)
                await sent(producer, *(verdict("line-1", number) for number in range(begin, begin + 70)))
                async with asyncio.timeout(90):
                    while len(reports) < windows:
                        assert not serving.done(), serving
                        reports += [record.read(DriftReport)[0] for record in await consumer.poll()]
                if windows == 1:
                    user.rotate("second")
                    await asyncio.sleep(8)
    finally:
        stop.set()
        await serving
    assert [sum((one.passed, one.rejected, *one.unscored.values())) for one in reports[:2]] == [59, 60]


async def test_a_missing_right_is_named_with_its_topic_and_operation_and_granting_it_heals(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    user = User(secured, tmp_path)
    with pytest.raises(KafkaError, match=rf"the user '{user.name}' is not allowed to: .*Create on topic {user.name}\."):
        await ensure_topics(user.kafka, ("verdicts",))
    root = Kafka(bootstrap=secured.plaintext, topic_prefix=user.name, partitions=1, replication=1)
    await ensure_topics(root)

    with pytest.raises(KafkaError, match="not allowed to: Write on a topic, or IdempotentWrite on the cluster"):
        await EventProducer(user.kafka, source="/test", client_id="p").start()
    user.allow(TOPIC, WRITE, of=".dead-letters")
    async with EventProducer(user.kafka, source="/test", client_id="p") as producer:
        with pytest.raises(KafkaError, match=rf"not allowed to: Write and Describe on topic {user.name}\.verdicts"):
            await asyncio.wait_for(producer.send(verdict("line-1", 1)), 60)
        assert [f"write to {user.name}.verdicts" in trouble.what for trouble in producer.troubles] == [True]
        user.allow(TOPIC, WRITE)
        await asyncio.wait_for(producer.send(verdict("line-1", 1)), 60)
        assert not producer.troubles

        member = EventConsumer(user.kafka, "verdicts", client_id="c", group=f"{user.name}-g")
        async with member:
            await told(member, f"not allowed to: Read on group {user.name}-g")
            assert member.trouble is not None
            user.allow(GROUP, READ)
            await told(member, f"Read and Describe on topic {user.name}.verdicts")
            user.allow(TOPIC, READ)
            async with asyncio.timeout(60):
                while True:
                    try:
                        if await member.poll():
                            break
                    except KafkaError:
                        await asyncio.sleep(0.5)
            await until(lambda: member.trouble is None)


async def test_a_certificate_of_another_authority_is_called_that(secured: SecuredKafka, tmp_path: Path) -> None:
    user = User(secured, tmp_path)
    other, _ = certificate(tmp_path, "other", authority=True, pem=True)
    kafka = user.kafka.model_copy(update={"security": user.kafka.security.model_copy(update={"ca_file": other})})
    with pytest.raises(KafkaError, match=r"the broker's certificate is not trusted"):
        await ensure_topics(kafka)


async def test_a_wrong_password_and_a_wrong_mechanism_are_told_apart(secured: SecuredKafka, tmp_path: Path) -> None:
    user = User(secured, tmp_path)
    user.told("wrong")
    with pytest.raises(KafkaError, match="or its password was refused"):
        await ensure_topics(user.kafka)
    other = user.kafka.security.model_copy(update={"mechanism": "PLAIN"})
    with pytest.raises(KafkaError, match="offers no login by PLAIN"):
        await ensure_topics(user.kafka.model_copy(update={"security": other}))


async def told(consumer: EventConsumer, sentence: str) -> None:
    """Poll until it says so; rights that were given just now take a while to hold."""
    async with asyncio.timeout(60):
        while True:
            try:
                await consumer.poll()
            except KafkaError as error:
                if sentence in str(error):
                    return
                await asyncio.sleep(0.2)
