"""One partition of the development broker, and what all of them may hold together."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from neverblink.brokers.development.log import OffsetOutOfRange, PartitionLog
from neverblink.brokers.development.protocol import ErrorCode
from neverblink.brokers.development.record_batch import BatchRefused, read_header
from neverblink.brokers.development.topics import Settings, TopicRefused, Topics

NO_LIMIT = 1 << 30
BEGIN_MS = 1_700_000_000_000


def batch(
    records: int = 1, *, size: int = 10, producer: int = -1, epoch: int = -1, sequence: int = -1, at: int = BEGIN_MS
) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, producer, epoch, sequence, NO_LIMIT)
    for number in range(records):
        builder.append(number, at + number, None, bytes(size), [])
    return bytes(builder.build())


def append(log: PartitionLog, data: bytes, now: float = 0.0) -> int:
    return log.append(data, read_header(data, NO_LIMIT), now)


def offsets(data: bytes) -> list[int]:
    found, records = [], MemoryRecords(data)
    while records.has_next():
        found += [record.offset for record in records.next_batch()]
    return found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("drop"), st.just(0)),
        st.tuples(st.just("delete"), st.integers(0, 60)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 80), st.integers(1, 2000))
def test_whatever_came_and_went_a_reader_gets_every_record_from_its_offset_on(
    steps: list[tuple[str, int]], offset: int, max_bytes: int
) -> None:
    log = PartitionLog()
    for step, number in steps:
        if step == "append":
            assert append(log, batch(number)) == log.next_offset - number
        elif step == "drop":
            log.drop_oldest()
        elif number <= log.next_offset:
            assert log.delete_before(number) >= number
    assert log.start_offset <= log.next_offset
    assert (log.size == 0) == (log.batch_count == 0)
    if not log.start_offset <= offset <= log.next_offset:
        with pytest.raises(OffsetOutOfRange):
            log.read(offset, max_bytes, at_least_one=True)
        return
    found = offsets(log.read(offset, max_bytes, at_least_one=True))
    readable = [one for one in found if one >= offset]
    assert readable == list(range(offset, offset + len(readable)))
    assert bool(readable) == (offset < log.next_offset), "a reader behind the end always moves on"
    everything = offsets(log.read(log.start_offset, NO_LIMIT, at_least_one=True))
    assert [one for one in everything if one >= log.start_offset] == list(range(log.start_offset, log.next_offset))


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=20))
def test_a_producer_that_repeats_its_last_batch_at_will_stores_each_record_once(
    sends: list[tuple[int, bool]],
) -> None:
    log, sequence = PartitionLog(), 0
    for records, repeat in sends:
        data = batch(records, producer=7, epoch=0, sequence=sequence)
        first = append(log, data)
        if repeat:
            assert append(log, data) == first
        sequence += records
    assert log.next_offset == sequence


def test_a_gap_and_an_old_epoch_are_refused_and_a_new_epoch_begins_at_zero() -> None:
    log = PartitionLog()
    append(log, batch(2, producer=7, epoch=1, sequence=0))
    with pytest.raises(BatchRefused) as gap:
        append(log, batch(1, producer=7, epoch=1, sequence=5))
    assert gap.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    with pytest.raises(BatchRefused) as old:
        append(log, batch(1, producer=7, epoch=0, sequence=2))
    assert old.value.code is ErrorCode.INVALID_PRODUCER_EPOCH
    with pytest.raises(BatchRefused):
        append(log, batch(1, producer=7, epoch=2, sequence=2))
    assert append(log, batch(1, producer=7, epoch=2, sequence=0)) == 2


def test_the_sequence_wraps_where_kafkas_does() -> None:
    log = PartitionLog()
    append(log, batch(2, producer=7, epoch=0, sequence=2**31 - 2))
    assert append(log, batch(1, producer=7, epoch=0, sequence=0)) == 2


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda data: data[:40], ErrorCode.CORRUPT_MESSAGE),
        (lambda data: b"", ErrorCode.CORRUPT_MESSAGE),
        (lambda data: data[:-1], ErrorCode.CORRUPT_MESSAGE),
        (lambda data: data + data, ErrorCode.INVALID_RECORD),
        (lambda data: data[:-1] + b"?", ErrorCode.CORRUPT_MESSAGE),
        (lambda data: data[:16] + b"\x01" + data[17:], ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT),
    ],
    ids=["header cut", "nothing", "tail cut", "two batches", "byte flipped", "old format"],
)
def test_a_spoilt_batch_is_refused_with_its_code(spoil: object, code: ErrorCode) -> None:
    assert callable(spoil)
    with pytest.raises(BatchRefused) as refused:
        read_header(spoil(batch()), NO_LIMIT)
    assert refused.value.code is code


def test_a_time_is_found_only_among_the_records_that_are_left() -> None:
    log = PartitionLog()
    for number in range(4):
        append(log, batch(2, at=BEGIN_MS + 1000 * number))
    assert log.offset_at(BEGIN_MS + 1001) == (3, BEGIN_MS + 1001)
    log.delete_before(5)
    assert log.offset_at(BEGIN_MS) == (5, BEGIN_MS + 2001)
    assert log.offset_at(BEGIN_MS + 9000) is None


def fill(topics: Topics, name: str, count: int, *, size: int = 1000, now: float = 0.0) -> PartitionLog:
    topic, log = topics.get(name), topics.partition(name, 0)
    assert topic is not None
    assert log is not None
    for _ in range(count):
        data = batch(size=size)
        append(log, data, now)
        topics.grown(topic, log, len(data))
    return log


def test_a_topic_forgets_what_is_above_its_bytes_and_keeps_the_newest() -> None:
    topics = Topics(NO_LIMIT, 10)
    topics.create("frames", 1, 1, {"retention.bytes": "5000"})
    log = fill(topics, "frames", 20)
    assert 0 < log.size <= 5000
    assert log.next_offset == 20
    assert topics.bytes_held == log.size
    huge = fill(topics, "frames", 1, size=50_000)
    assert (huge.batch_count, huge.start_offset) == (1, 20)


def test_a_topic_forgets_what_is_older_than_its_time() -> None:
    topics = Topics(NO_LIMIT, 10)
    topics.create("frames", 1, 1, {"retention.ms": "60000"})
    topics.create("reviews", 1, 1, {"retention.ms": "-1"})
    fill(topics, "frames", 3, now=0.0)
    log = fill(topics, "frames", 2, now=50.0)
    kept = fill(topics, "reviews", 3, now=0.0)
    topics.expire(59.0)
    assert log.start_offset == 0
    topics.expire(61.0)
    assert (log.start_offset, log.next_offset) == (3, 5)
    topics.expire(1000.0)
    assert (log.start_offset, log.size, kept.start_offset) == (5, 0, 0)
    assert topics.bytes_held == kept.size


def test_above_the_memory_bound_the_oldest_goes_first_and_what_is_promised_for_ever_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topics = Topics(100_000, 10)
    topics.create("reviews", 1, 1, {"retention.ms": "-1"})
    topics.create("models", 1, 1, {"cleanup.policy": "compact"})
    topics.create("old", 1, 1, {})
    topics.create("new", 1, 1, {})
    reviews, models = fill(topics, "reviews", 10, now=0.0), fill(topics, "models", 10, now=0.0)
    old = fill(topics, "old", 40, now=1.0)
    new = fill(topics, "new", 60, now=2.0)
    assert topics.bytes_held <= 100_000
    assert old.start_offset > 0
    assert (new.start_offset, reviews.start_offset, models.start_offset) == (0, 0, 0)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    fill(topics, "reviews", 200, now=3.0)
    assert topics.bytes_held <= 100_000
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("reviews" in text and "raise the bound" in text for text in warnings)
    assert len(warnings) <= 2, "each topic is told of once"


def test_a_deleted_topic_gives_its_memory_back() -> None:
    topics = Topics(NO_LIMIT, 10)
    topics.create("frames", 1, 1, {})
    fill(topics, "frames", 5)
    assert topics.delete("frames")
    assert topics.bytes_held == 0
    assert not topics.delete("frames")


def test_partitions_are_bounded_in_all() -> None:
    topics = Topics(NO_LIMIT, 10)
    topics.create("one", 6, 1, {})
    with pytest.raises(TopicRefused, match="takes 1 to 10 in all"):
        topics.create("two", 5, 1, {})
    with pytest.raises(TopicRefused, match="takes 1 to 10 in all"):
        topics.extend("one", 11)
    topics.extend("one", 10)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"retention.minutes": "5"}, "does not know the topic setting retention.minutes"),
        ({"retention.ms": "an hour"}, "retention.ms is 'an hour': a whole number from -1"),
        ({"cleanup.policy": "shred"}, "use delete, compact or both"),
    ],
)
def test_a_wrong_setting_is_explained(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(TopicRefused, match=sentence):
        Settings.parse(settings)
