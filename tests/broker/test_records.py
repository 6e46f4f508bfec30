"""Records: what is produced is read, in order, whole, once; what must not enter is refused. Both brokers."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidPartitionsError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

MIB = 1024 * 1024


async def test_a_topic_has_the_partitions_and_settings_it_was_made_with(clients: Any) -> None:
    topic = await clients.topic(7, retention_ms="3600000", max_message_bytes="12345")
    assert sorted(await clients.partitions(topic)) == list(range(7))
    admin = await clients.admin()
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert (settings["retention.ms"], settings["max.message.bytes"]) == ("3600000", "12345")


async def test_a_topic_is_made_once_and_can_be_deleted(clients: Any) -> None:
    topic = await clients.topic(2)
    admin = await clients.admin()
    again = await admin.create_topics([NewTopic(topic, 2, 1)])
    assert [error[1] for error in again.topic_errors] == [36]
    await admin.delete_topics([topic])
    assert topic not in await admin.list_topics()


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (NewTopic("no spaces please", 1, 1), 17),
        (NewTopic("no-partitions", 0, 1), 37),
        (NewTopic("too-many-copies", 1, 3), 38),
        (NewTopic("wrong-setting", 1, 1, topic_configs={"retention.minutes": "5"}), 40),
        (NewTopic("wrong-value", 1, 1, topic_configs={"retention.ms": "an hour"}), 40),
    ],
    ids=lambda value: value.name if isinstance(value, NewTopic) else "",
)
async def test_an_impossible_topic_is_refused_with_kafkas_code(clients: Any, wanted: NewTopic, code: int) -> None:
    admin = await clients.admin()
    answer = await admin.create_topics([wanted])
    assert answer.topic_errors[0][1] == code, answer


async def test_a_topic_can_be_given_more_partitions_but_not_fewer(clients: Any) -> None:
    topic = await clients.topic(2)
    admin = await clients.admin()
    await admin.create_partitions({topic: NewPartitions(5)})
    assert sorted(await clients.partitions(topic)) == list(range(5))
    with pytest.raises(InvalidPartitionsError):
        await admin.create_partitions({topic: NewPartitions(3)})


async def test_key_value_headers_and_timestamp_come_back_as_sent(clients: Any) -> None:
    topic = await clients.topic()
    producer = await clients.producer()
    headers = [("ce_id", b"0190"), ("empty", b""), ("binary", bytes(range(256)))]
    await producer.send_and_wait(topic, b"value", key=b"line/1", headers=headers, timestamp_ms=1_700_000_000_123)
    await producer.send_and_wait(topic, None, key=b"")
    first, second = await clients.values(topic, 2)
    assert (first.key, first.value, first.timestamp) == (b"line/1", b"value", 1_700_000_000_123)
    assert list(first.headers) == headers
    assert (second.key, second.value, second.offset) == (b"", None, 1)


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_every_compression_passes_through(clients: Any, codec: str | None) -> None:
    topic = await clients.topic(3)
    producer = await clients.producer(compression_type=codec, linger_ms=20)
    sent = [f"{number} ".encode() * 50 for number in range(60)]
    for future in [await producer.send(topic, value) for value in sent]:
        await future
    found = await clients.values(topic, len(sent))
    assert sorted(record.value for record in found) == sorted(sent)


async def test_a_frame_of_three_megabytes_is_read_with_default_fetch_sizes(clients: Any) -> None:
    topic = await clients.topic(max_message_bytes=str(8 * MIB))
    producer = await clients.producer()
    frame = bytes(range(256)) * (3 * MIB // 256)
    await producer.send_and_wait(topic, frame)
    await producer.send_and_wait(topic, b"next")
    first, second = await clients.values(topic, 2)
    assert first.value == frame
    assert second.value == b"next"


async def test_a_record_above_the_topics_bound_is_refused_and_the_next_one_taken(clients: Any) -> None:
    topic = await clients.topic(max_message_bytes="2000")
    producer = await clients.producer()
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(topic, b"x" * 3000)
    producer = await clients.producer()
    await producer.send_and_wait(topic, b"x" * 1000)
    (record,) = await clients.values(topic, 1)
    assert len(record.value) == 1000


async def test_records_of_one_key_stay_in_order(clients: Any) -> None:
    topic = await clients.topic(4)
    producer = await clients.producer(linger_ms=5)
    keys = [b"line-%d" % number for number in range(8)]
    for number in range(400):
        await producer.send(topic, b"%d" % number, key=keys[number % len(keys)])
    await producer.flush()
    found = await clients.values(topic, 400)
    for key in keys:
        mine = [int(record.value) for record in found if record.key == key]
        assert mine == sorted(mine)
        assert len({record.partition for record in found if record.key == key}) == 1


async def test_beginning_and_end_are_told_by_record_not_by_batch(clients: Any) -> None:
    topic = await clients.topic()
    producer = await clients.producer(linger_ms=50)
    for future in [await producer.send(topic, b"x") for _ in range(25)]:
        await future
    place = TopicPartition(topic, 0)
    consumer = await clients.consumer()
    assert await consumer.beginning_offsets([place]) == {place: 0}
    assert await consumer.end_offsets([place]) == {place: 25}


async def test_a_reader_that_begins_at_the_end_sees_only_what_follows(clients: Any) -> None:
    topic = await clients.topic()
    producer = await clients.producer()
    await producer.send_and_wait(topic, b"old")
    consumer = await clients.consumer()
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    await consumer.seek_to_end(place)
    assert await consumer.position(place) == 1
    await producer.send_and_wait(topic, b"new")
    assert (await consumer.getone()).value == b"new"


async def test_the_offset_of_a_time_is_found_inside_a_batch(clients: Any) -> None:
    topic = await clients.topic()
    producer = await clients.producer(linger_ms=50)
    begin = 1_700_000_000_000
    for future in [await producer.send(topic, b"x", timestamp_ms=begin + 1000 * n) for n in range(10)]:
        await future
    place = TopicPartition(topic, 0)
    consumer = await clients.consumer()
    assert (await consumer.offsets_for_times({place: begin + 4500}))[place].offset == 5
    assert (await consumer.offsets_for_times({place: begin}))[place].offset == 0
    assert (await consumer.offsets_for_times({place: begin + 60_000}))[place] is None


async def test_deleted_records_are_gone_and_offsets_go_on(clients: Any) -> None:
    topic = await clients.topic()
    producer = await clients.producer()
    for number in range(10):
        await producer.send_and_wait(topic, b"%d" % number)
    place = TopicPartition(topic, 0)
    admin = await clients.admin()
    await admin.delete_records({place: RecordsToDelete(before_offset=6)})
    consumer = await clients.consumer()
    assert await consumer.beginning_offsets([place]) == {place: 6}
    assert [record.offset for record in await clients.values(topic, 4)] == [6, 7, 8, 9]
    assert (await producer.send_and_wait(topic, b"10")).offset == 10


async def test_reading_before_the_first_record_is_an_error_without_a_reset_rule(clients: Any) -> None:
    topic = await clients.topic()
    producer = await clients.producer()
    for _ in range(5):
        await producer.send_and_wait(topic, b"x")
    place = TopicPartition(topic, 0)
    await (await clients.admin()).delete_records({place: RecordsToDelete(before_offset=3)})
    consumer = await clients.consumer(auto_offset_reset="none")
    consumer.assign([place])
    consumer.seek(place, 0)
    with pytest.raises(OffsetOutOfRangeError):
        await consumer.getone()


async def test_an_unknown_topic_is_named_as_such(clients: Any) -> None:
    admin = await clients.admin()
    (described,) = await admin.describe_topics(["nobody-made-this"])
    assert described["error_code"] == UnknownTopicOrPartitionError.errno


async def test_an_idle_reader_waits_and_a_new_record_wakes_it(clients: Any) -> None:
    topic = await clients.topic()
    consumer = await clients.consumer(fetch_max_wait_ms=5000)
    consumer.assign([TopicPartition(topic, 0)])
    assert await consumer.getmany(timeout_ms=300) == {}
    producer = await clients.producer()
    metadata = await producer.send_and_wait(topic, b"wake up")
    found = await consumer.getmany(timeout_ms=1000)
    assert [record.offset for records in found.values() for record in records] == [metadata.offset]


class Sender:
    """Sends batches with a producer id and sequences of the test's choice."""

    def __init__(self, client: AIOKafkaClient, topic: str, producer_id: int, epoch: int) -> None:
        self._client, self._topic, self._producer_id, self._epoch = client, topic, producer_id, epoch

    async def send(self, sequence: int, records: int = 2) -> tuple[int, int]:
        """Return the error code and the offset that the broker answers."""
        builder = DefaultRecordBatchBuilder(
            magic=2, compression_type=0, is_transactional=0, producer_id=self._producer_id,
            producer_epoch=self._epoch, base_sequence=sequence, batch_size=65536,
        )  # fmt: skip
        for number in range(records):
            builder.append(number, 1_700_000_000_000, None, b"%d" % (sequence + number), [])
        request = ProduceRequest(None, -1, 5000, [(self._topic, [(0, bytes(builder.build()))])])
        node = self._client.cluster.leader_for_partition(TopicPartition(self._topic, 0))
        answer = await self._client.send(node, request)
        _, code, offset, *_ = answer.topics[0][1][0]
        return code, offset


async def test_a_batch_that_is_sent_again_is_acknowledged_and_stored_once(clients: Any) -> None:
    topic = await clients.topic()
    client = AIOKafkaClient(bootstrap_servers=clients.bootstrap)
    await client.bootstrap()
    try:
        await client.add_topic(topic)
        node = client.get_random_node()
        answer = await client.send(node, InitProducerIdRequest(None, 1000))
        sender = Sender(client, topic, answer.producer_id, answer.producer_epoch)
        assert await sender.send(0) == (0, 0)
        assert await sender.send(2) == (0, 2)
        assert await sender.send(2) == (0, 2), "a retry is told the offset it got the first time"
        assert await sender.send(0) == (0, 0)
        code, _ = await sender.send(9)
        assert code == 45, "a gap in the sequence is OUT_OF_ORDER_SEQUENCE_NUMBER"
        assert await sender.send(4) == (0, 4)
        found = await clients.values(topic, 6)
        assert [record.value for record in found] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    finally:
        await client.close()


async def test_a_batch_with_a_wrong_checksum_is_refused(clients: Any) -> None:
    topic = await clients.topic()
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 65536)
    builder.append(0, 1_700_000_000_000, None, b"true", [])
    batch = bytearray(builder.build())
    batch[-2] ^= 0xFF
    client = AIOKafkaClient(bootstrap_servers=clients.bootstrap)
    await client.bootstrap()
    try:
        await client.add_topic(topic)
        node = client.cluster.leader_for_partition(TopicPartition(topic, 0))
        answer = await client.send(node, ProduceRequest(None, -1, 5000, [(topic, [(0, bytes(batch))])]))
        assert answer.topics[0][1][0][1] == 2
    finally:
        await client.close()
    place = TopicPartition(topic, 0)
    assert await (await clients.consumer()).end_offsets([place]) == {place: 0}
