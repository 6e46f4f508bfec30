"""Whatever a partition holds is read to its end, within bounds: nothing raises, nothing stands still."""

import random
import struct
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.events import EventError
from neverblink.events.envelope import Unreadable, attributes
from neverblink.kafka import library
from neverblink.kafka.bounded_codecs import MAX_UNPACKED_BYTES, UNPACK, UnpackingError
from neverblink.kafka.record_batches import LATEST_MS, MAX_HEADERS, FetchedRecords, ReadRecord
from rigs.hostile_batches import CODECS, batch, of_the_library, packed, record, with_checksum

MIB = 1024 * 1024
PACKING = ("gzip", "snappy", "xerial", "lz4", "zstd")


def read(*batches: bytes) -> list[ReadRecord]:
    """Read as aiokafka's fetcher does."""
    fetched = FetchedRecords(b"".join(batches))
    found: list[ReadRecord] = []
    while fetched.has_next():
        one = fetched.next_batch()
        assert one is not None
        assert one.validate_crc()
        found.extend(one)
        assert all(passed.offset < one.next_offset for passed in found)
    return found


def why(found: ReadRecord) -> str:
    """Return the sentence that whoever decodes the record gets."""
    with pytest.raises(EventError) as caught:
        attributes([(name, raw) for name, raw in found.headers if raw is not None])
    return str(caught.value)


@pytest.mark.parametrize("codec", PACKING)
def test_a_batch_that_unpacks_to_too_much_is_passed_and_named_without_being_unpacked(codec: str) -> None:
    plain = record(0, value=bytes(64 * MIB)) + record(1, value=b"")
    bomb = batch(plain, 2, base=10, codec=codec)
    behind = batch(record(0, value=b"next"), 1, base=12)
    del plain
    tracemalloc.start()
    refused, following = read(bomb, behind)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "offsets 10 to 11" in why(refused)
    assert str(MAX_UNPACKED_BYTES) in why(refused)
    assert "which lines' they were cannot be known" in why(refused)
    assert (refused.offset, following.offset, following.value) == (11, 12, b"next")
    assert most < 3 * MAX_UNPACKED_BYTES


@pytest.mark.parametrize("codec", PACKING)
def test_what_is_packed_within_the_bound_is_read(codec: str) -> None:
    values = [random.Random(1).randbytes(300_000), bytes(4 * MIB), b"", b"x" * 100]
    plain = b"".join(record(number, value=value) for number, value in enumerate(values))
    assert [found.value for found in read(batch(plain, len(values), codec=codec))] == values


@pytest.mark.parametrize("codec", sorted(UNPACK))
def test_what_is_damaged_or_cut_off_is_refused(codec: str) -> None:
    good = packed(bytes(1000) + b"x" * 1000, codec)
    for bad in (good[: len(good) // 2], b"\xff" * 40, b"\x05"):
        with pytest.raises(UnpackingError):
            UNPACK[codec](bad)


def test_a_snappy_block_of_minus_four_bytes_ends_where_the_library_goes_round_for_ever() -> None:
    stream = b"\x82SNAPPY\x00" + struct.pack(">iii", 1, 1, -4) + bytes(20)
    (refused,) = read(batch(b"", 1, codec="snappy", payload=stream))
    assert "a block of -4 bytes" in why(refused)


def test_gzip_of_a_hundred_thousand_members_is_refused() -> None:
    (refused,) = read(batch(b"", 1, codec="gzip", payload=packed(b"", "gzip") * 100_000))
    assert "more than 64 members" in why(refused)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "in Python"])
def test_the_librarys_own_parsers_unpack_within_the_same_bound(compiled: bool) -> None:
    # In a process of its own: the library decides once, at its import, which parser it has.
    script = f"""
import sys; sys.path.insert(0, "tests")
from neverblink.kafka import library; library.prepare()
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import NO_EXTENSIONS
from neverblink.kafka.bounded_codecs import UnpackingError
from rigs.hostile_batches import batch, record
assert NO_EXTENSIONS is {not compiled}
for codec in {PACKING!r}:
    try:
        list(DefaultRecordBatch(batch(record(0, value=bytes({2 * MAX_UNPACKED_BYTES})), 1, codec=codec)))
    except UnpackingError:
        continue
    raise SystemExit(f"{{codec}} was unpacked")
"""
    environment = {} if compiled else {"AIOKAFKA_NO_EXTENSIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=library_env(environment)
    )
    assert done.returncode == 0, done.stderr


def library_env(more: dict[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, **more}


def test_a_library_that_has_moved_what_we_replace_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import aiokafka.consumer.fetcher

    monkeypatch.setattr(library, "_prepared", set())
    monkeypatch.delattr(aiokafka.consumer.fetcher, "MemoryRecords")
    with pytest.raises(library.LibraryChangedError, match=r"MemoryRecords is gone .*constraints\.txt"):
        library.prepare()


def test_every_seam_of_the_library_is_ours() -> None:
    import aiokafka.client
    import aiokafka.codec
    import aiokafka.consumer.consumer
    import aiokafka.consumer.fetcher
    import aiokafka.producer.producer
    from aiokafka.record._crecords import default_records

    library.prepare()
    assert aiokafka.consumer.fetcher.MemoryRecords is FetchedRecords
    for name, unpack in UNPACK.items():
        assert getattr(aiokafka.codec, f"{name}_decode") is unpack
        assert getattr(default_records, f"{name}_decode") is unpack
    for module in (aiokafka.consumer.consumer, aiokafka.producer.producer):
        assert module.AIOKafkaClient.__module__ == "neverblink.kafka.following_client"


@pytest.mark.parametrize("size", [10, 300_000], ids=["by the library", "by ours"])
def test_a_header_whose_name_is_no_text_costs_its_own_record_alone(size: int) -> None:
    value = b"x" * size
    plain = record(0, value=value, headers=[(b"bad\xff\xfekey", b"1")]) + record(
        1, value=value, headers=[(b"ok", b"1")]
    )
    bad, good = read(batch(plain, 2))
    assert r"b'bad\xff\xfekey', is not UTF-8 text" in why(bad)
    assert (bad.key, bad.value, good.headers) == (b"line-1", value, (("ok", b"1"),))


@pytest.mark.parametrize(
    ("told", "read_as"), [(-9 * 10**15, 0), (1_764_000_000_000_000, LATEST_MS), (2**62, LATEST_MS)]
)
@pytest.mark.parametrize("size", [10, 300_000], ids=["by the library", "by ours"])
def test_a_timestamp_that_no_date_holds_is_clamped(told: int, read_as: int, size: int) -> None:
    (found,) = read(batch(record(0, value=b"x" * size), 1, first_ms=told))
    assert found.timestamp == read_as


def test_a_flood_of_headers_costs_its_own_record_alone() -> None:
    flood = record(0, key=b"line-1/top", headers=[(b"", b"")] * 50_000)
    bad, good = read(batch(flood + record(1), 2))
    assert f"50000 headers; the bound is {MAX_HEADERS}" in why(bad)
    assert (bad.key, bad.value, good.offset) == (b"line-1/top", None, 1)


@pytest.mark.parametrize("size", [10, 300_000], ids=["by the library", "by ours"])
def test_a_count_of_headers_that_lies_takes_no_memory(size: int) -> None:
    tracemalloc.start()
    found = read(batch(record(0, header_count=2**31 - 1, value=bytes(size)), 1))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found[0].headers[0][0], Unreadable)
    assert most < 4 * MIB


def test_records_before_a_damaged_one_are_read_and_the_batch_is_passed() -> None:
    found = read(batch(record(0) + record(1) + b"\x7f" * 9, 5, base=20), batch(record(0), 1, base=25))
    assert [one.offset for one in found] == [20, 21, 24, 25]
    assert "offsets 22 to 24" in why(found[2])


def test_a_wrong_checksum_an_old_format_and_an_unknown_codec_are_passed() -> None:
    good = batch(record(0), 1)
    spoilt = good[:-1] + bytes([good[-1] ^ 1])
    old = good[:16] + b"\x01" + good[17:]
    unknown = with_checksum(good[:21] + b"\x00\x07" + good[23:])
    reasons = [why(one) for one in read(spoilt, old, unknown)]
    assert [word in reason for word, reason in zip(("checksum", "format is 1", "codec 7"), reasons, strict=True)]


def test_an_offset_that_goes_back_or_beyond_the_batch_is_not_believed() -> None:
    for behind in (-5, 10**9):
        found = read(batch(record(0) + record(behind), 2, base=100))
        assert [one.offset for one in found] == [100, 101]
        assert "claims the offset" in why(found[1])


records = st.lists(
    st.tuples(
        st.integers(0, 2**41),
        st.none() | st.binary(max_size=20),
        st.none() | st.binary(max_size=200),
        st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=20)), max_size=5),
    ),
    min_size=1,
    max_size=8,
)


@given(records, st.sampled_from(sorted(CODECS)), st.booleans())
def test_valid_records_are_read_as_they_were_written(
    written: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]], codec: str, large: bool
) -> None:
    if large:  # beyond what the library's parser is given
        written = [*written, (0, None, bytes(300_000), [])]
    raw = of_the_library(written)
    count = len(written)
    first_ms = struct.unpack_from(">q", raw, 27)[0]
    found = read(batch(raw[61:], count, codec=codec, first_ms=first_ms))
    assert [(one.timestamp, one.key, one.value, list(one.headers)) for one in found] == written
    assert [one.offset for one in found] == list(range(count))


@settings(deadline=None)
@given(st.data())
def test_no_damage_raises_and_every_offset_is_passed(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(sorted(CODECS)))
    plain = b"".join(record(number, headers=[(b"ce_id", b"%d" % number)]) for number in range(4))
    raw = bytearray(batch(plain, 4, base=1000, codec=codec))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(21, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = read(with_checksum(bytes(raw)) if data.draw(st.booleans()) else bytes(raw))
    offsets = [one.offset for one in found]
    assert offsets == sorted(set(offsets))
    assert all(0 <= one.timestamp <= LATEST_MS and len(one.headers) <= MAX_HEADERS for one in found)
