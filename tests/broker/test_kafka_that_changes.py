"""A cluster that moves, forgets or locks: clients find it again, and say what is lost and what cannot be done."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaError as ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import TOPICS, Verdict
from neverblink.events.examples import examples
from neverblink.kafka import EventConsumer, EventProducer, KafkaError, ensure_topics
from neverblink.kafka.following_client import FollowingClient, PasswordFile
from neverblink.plant import Kafka
from rigs.forwarding import Forwarding

(VERDICT,) = (event for event in examples() if isinstance(event, Verdict))


def verdict(number: int) -> Verdict:
    return VERDICT.model_copy(update={"id": f"v-{number}"})


def kafka_at(bootstrap: str, partitions: int = 1) -> Kafka:
    return Kafka(bootstrap=bootstrap, topic_prefix=f"t{uuid4().hex[:8]}", partitions=partitions, replication=1)


@pytest.fixture
async def kafka() -> AsyncIterator[Kafka]:
    """Topics of the test's own on a development broker of its own."""
    async with DevelopmentBroker() as broker:
        found = kafka_at(broker.bootstrap)
        await ensure_topics(found)
        yield found


async def read(consumer: EventConsumer, count: int, within_s: float = 20) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(within_s):
        while len(found) < count:
            found += [record.read(Verdict)[0].id for record in await consumer.poll()]
    return found


async def until(true: Callable[[], object], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - the state of another task
            await asyncio.sleep(0.05)


async def test_a_cluster_at_another_address_behind_the_same_name_is_found_within_a_minute() -> None:
    async with Forwarding() as name:
        kafka = kafka_at(name.address)
        first = DevelopmentBroker()
        await first.start()
        name.target = int(first.bootstrap.rpartition(":")[2])
        await ensure_topics(kafka)
        async with (
            EventProducer(kafka, source="/test", client_id="p") as producer,
            EventConsumer(kafka, "verdicts", client_id="alone") as alone,
            EventConsumer(kafka, "verdicts", client_id="member", group=f"{kafka.topic_prefix}-g") as member,
        ):
            # Nothing is read of the first one: to a consumer, two topics of the same length are the same topic.
            await asyncio.gather(until_assigned(alone), until_assigned(member))
            await first.stop()
            await until(lambda: producer.troubles and alone.trouble and member.trouble, 60)
            assert "no broker answers there" in producer.troubles[0].what
            assert alone.trouble is not None
            assert "(since 20" in alone.trouble.sentence
            async with DevelopmentBroker() as second:
                name.target = int(second.bootstrap.rpartition(":")[2])
                await ensure_topics(kafka)
                async with asyncio.timeout(60):
                    await producer.send(verdict(2))
                assert await read(alone, 1, 60) == ["v-2"]
                assert await read(member, 1, 60) == ["v-2"]
                await until(lambda: not (producer.troubles or alone.trouble or member.trouble))


async def test_what_retention_deletes_before_it_is_read_is_counted_and_told(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    topic = TOPICS["verdicts"].full_name(kafka.topic_prefix)
    async with EventProducer(kafka, source="/test", client_id="p") as producer:
        for number in range(10):
            await producer.send(verdict(number))
        async with EventConsumer(kafka, "verdicts", client_id="c", group=f"{kafka.topic_prefix}-g") as consumer:
            await read(consumer, 10)
            await consumer.commit({("verdicts", 0): 2})
        await deleted_before(kafka, topic, 7)
        async with EventConsumer(kafka, "verdicts", client_id="c", group=f"{kafka.topic_prefix}-g") as consumer:
            with caplog.at_level(logging.ERROR, "neverblink.kafka"):
                assert await read(consumer, 3) == ["v-7", "v-8", "v-9"]
    assert f"records 2 to 6 of {topic}[0] were deleted before they were read: 5 are lost" in caplog.text


@pytest.mark.parametrize("start", ["earliest", "latest"])
@pytest.mark.parametrize("grouped", [True, False], ids=["a member", "alone"])
async def test_a_topic_made_anew_is_read_from_its_beginning_and_told(
    kafka: Kafka, caplog: pytest.LogCaptureFixture, grouped: bool, start: str
) -> None:
    topic = TOPICS["verdicts"].full_name(kafka.topic_prefix)
    group = f"{kafka.topic_prefix}-g" if grouped else None
    async with (
        EventProducer(kafka, source="/test", client_id="p") as producer,
        EventConsumer(kafka, "verdicts", client_id="c", group=group, start=start) as consumer,  # type: ignore[arg-type]
    ):
        await until_assigned(consumer)
        for number in range(5):
            await producer.send(verdict(number))
        await read(consumer, 5)
        await made_anew(kafka, topic, 1)
        with caplog.at_level(logging.ERROR, "neverblink.kafka"):
            async with EventProducer(kafka, source="/test", client_id="p2") as other:
                await other.send(verdict(10))
                assert await read(consumer, 1, 60) == ["v-10"]
    assert f"{topic}[0] ends at" in caplog.text
    assert "the topic was made anew or cut back" in caplog.text


async def test_who_reads_alone_reads_the_partitions_that_there_are_now(kafka: Kafka) -> None:
    topic = TOPICS["verdicts"].full_name(kafka.topic_prefix)
    async with EventConsumer(kafka, "verdicts", client_id="c", start="latest") as consumer:
        assert consumer.assignment == {("verdicts", 0)}
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_partitions({topic: NewPartitions(4)})
        await admin.close()
        consumer._client._client.force_metadata_update()
        async with asyncio.timeout(30):
            while len(consumer.assignment) < 4:
                await consumer.poll()


async def test_a_client_whose_own_task_has_ended_is_replaced_and_reads_on_where_it_was(kafka: Kafka) -> None:
    async with (
        EventProducer(kafka, source="/test", client_id="p") as producer,
        EventConsumer(kafka, "verdicts", client_id="c") as consumer,
    ):
        for number in range(3):
            await producer.send(verdict(number))
        await read(consumer, 3)
        # As an unexpected answer does: the library logs it, and every later poll is empty.
        consumer._client._fetcher._fetch_task.cancel()
        await producer.send(verdict(3))
        assert await read(consumer, 1, 30) == ["v-3"]


async def test_a_producer_whose_own_task_has_ended_is_replaced(kafka: Kafka) -> None:
    async with (
        EventProducer(kafka, source="/test", client_id="p") as producer,
        EventConsumer(kafka, "verdicts", client_id="c") as consumer,
    ):
        await producer.send(verdict(1))
        client = producer._clients["gzip"]
        client._message_accumulator.fail_all(ClientError("Unexpected error during batch delivery"))
        client._sender.sender_task.cancel()
        await until(client._sender.sender_task.done)
        async with asyncio.timeout(20):
            await producer.send(verdict(2))
        assert await read(consumer, 2) == ["v-1", "v-2"]


async def test_the_password_is_read_again_at_every_login(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    client = FollowingClient(
        bootstrap_servers="127.0.0.1:1", security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username="camera", sasl_plain_password=PasswordFile(file),
    )  # fmt: skip
    assert client._sasl_plain_password == "first"
    file.write_text("second\n")
    assert client._sasl_plain_password == "second"
    file.write_text("")  # half replaced
    assert client._sasl_plain_password == "second"
    file.unlink()
    assert client._sasl_plain_password == "second"
    assert "second" not in repr(PasswordFile(written(file, "second")))


async def test_a_certificate_of_an_unknown_authority_is_called_that(tmp_path: Path) -> None:
    server = certificate(tmp_path, "server")
    other = certificate(tmp_path, "other")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server, server.with_suffix(".key"))
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    kafka = Kafka.model_validate(
        {"bootstrap": f"127.0.0.1:{port}", "security": {"protocol": "SSL", "ca_file": str(other)}}
    )
    with pytest.raises(KafkaError, match=r"certificate is not trusted .*kafka\.security\.ca_file"):
        await ensure_topics(kafka)
    for client in (EventConsumer(kafka, "verdicts", client_id="c"), EventProducer(kafka, source="/", client_id="p")):
        with pytest.raises(KafkaError, match="certificate is not trusted"):
            await client.start()
    plain = await asyncio.start_server(answer_in_http, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    with pytest.raises(KafkaError, match=r"TLS with the broker failed .*is it a TLS listener"):
        await ensure_topics(kafka.model_copy(update={"bootstrap": f"127.0.0.1:{port}"}))
    listening.close()
    plain.close()


async def test_a_name_that_cannot_be_resolved_is_called_that() -> None:
    with pytest.raises(KafkaError, match="the name cannot be resolved"):
        await ensure_topics(Kafka(bootstrap="no-such-host.invalid:9092"))


async def test_an_existing_topic_that_differs_is_warned_of_and_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async with DevelopmentBroker() as broker:
        kafka = kafka_at(broker.bootstrap)
        frames = TOPICS["frames"].full_name(kafka.topic_prefix)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics(
            [NewTopic(frames, 1, 1, topic_configs={"retention.ms": "1000", "min.insync.replicas": "2"})]
        )
        with caplog.at_level(logging.WARNING, "neverblink.kafka"):
            await ensure_topics(kafka, ("frames", "evidence"))
        await admin.close()
    told = [record.getMessage() for record in caplog.records if "we would make it with" in record.getMessage()]
    assert [any(name in one for one in told) for name in ("retention.ms=1000", "retention.bytes=-1")] == [True, True]
    assert any("min.insync.replicas=2, and we would make it with 1" in one for one in told)
    assert all(frames in one and "left as it is" in one for one in told)


def test_images_are_bounded_by_bytes_and_three_copies_by_two_of_them() -> None:
    for name in ("frames", "evidence"):
        assert int(TOPICS[name].settings(3)["retention.bytes"]) > 0
    assert [TOPICS["verdicts"].settings(copies)["min.insync.replicas"] for copies in (1, 2, 3, 5)] == list("1122")


async def until_assigned(consumer: EventConsumer) -> None:
    async with asyncio.timeout(20):
        while not consumer.assignment:
            await consumer.poll()
        await consumer.poll()


async def deleted_before(kafka: Kafka, topic: str, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(offset)})
    await admin.close()


async def made_anew(kafka: Kafka, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([topic])
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()


async def answer_in_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def certificate(folder: Path, name: str) -> Path:
    """Make a certificate that signs itself, for 127.0.0.1; its key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    file.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file
