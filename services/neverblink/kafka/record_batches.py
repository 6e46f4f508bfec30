"""Reads what a broker sends of a partition, whatever is in it: no byte of it raises, and every offset is passed.

Takes the place of aiokafka's `MemoryRecords`, under aiokafka's consumer and under Faust's. There one damaged batch
makes its partition stand still for ever, one header that is no UTF-8 ends the reader, a packed batch takes whatever
memory it likes, and a snappy block of -4 bytes or a count of 2^31 headers is believed. What cannot be read comes as a
record whose only header is an `Unreadable`: to decode it raises EventError with the sentence, so that whoever reads
sets it aside. Timestamps are clamped to what a date can hold.

Format: Kafka's record batch v2, kafka.apache.org/documentation/#recordbatch. Older formats, which brokers have
rewritten since 0.11, are refused.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

from neverblink.events.envelope import Unreadable
from neverblink.kafka.bounded_codecs import UNPACK, UnpackingError
from neverblink.kafka.instruments import unreadable

MAX_HEADERS = 1000
"""An event of ours has about twenty; each takes a hundred times the two bytes that it costs to send."""

EARLIEST_MS = 0
LATEST_MS = 253_370_764_799_999
"""The last millisecond of 9998: what any time zone can still be applied to."""

_OVERHEAD = struct.Struct(">qi")
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CHECKED_FROM = 21  # the checksum covers everything from the attributes on
_MAGIC_AT = 16
_LEAST_RECORD = 7
_SMALL_BYTES = 256 * 1024
_CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x08, 0x10, 0x20

_passed = unreadable()

Headers = tuple[tuple[str, bytes | None], ...]


class ReadRecord(NamedTuple):
    """One record, with the names that aiokafka reads."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    checksum: None = None


class FetchedRecords:
    """The batches of one partition's part of a fetch response, in their order; a last one that is cut off is left."""

    def __init__(self, fetched: bytes | None) -> None:
        self._fetched = bytes(fetched or b"")
        self._at = 0

    def size_in_bytes(self) -> int:
        """Return how much was fetched."""
        return len(self._fetched)

    def has_next(self) -> bool:
        """Say whether one more whole batch is there."""
        return self._end() is not None

    def next_batch(self) -> "RecordBatch | None":
        """Return the next batch, None where there is none."""
        end = self._end()
        if end is None:
            return None
        batch, self._at = self._fetched[self._at : end], end
        return RecordBatch(batch)

    def _end(self) -> int | None:
        if len(self._fetched) - self._at < _OVERHEAD.size:
            return None
        _, length = _OVERHEAD.unpack_from(self._fetched, self._at)
        # A negative length would go round in circles: what is left of the response is one unreadable batch.
        end = self._at + _OVERHEAD.size + length if length >= 0 else len(self._fetched)
        return end if end <= len(self._fetched) else None


class RecordBatch:
    """One batch. Iterating yields every record that can be read and one for each stretch that cannot."""

    def __init__(self, batch: bytes) -> None:
        self._batch = batch
        self.fault: str | None = None
        self.producer_id: int | None = None
        self._attributes = 0
        self._codec: str | None = None
        self._first_ms = self._last_ms = 0
        self._count = 0
        self.base_offset = last = int.from_bytes(batch[:8], "big", signed=True) if len(batch) >= 8 else 0
        magic = batch[_MAGIC_AT] if len(batch) > _MAGIC_AT else -1
        if magic != 2:
            self.fault = f"its format is {magic}, and this reader knows 2" if magic >= 0 else "it is cut off"
        elif len(batch) < _HEADER.size:
            self.fault = "it is cut off"
        else:
            fields = _HEADER.unpack_from(batch)
            crc, self._attributes, behind, self._first_ms, self._last_ms, self.producer_id = fields[4:10]
            self._count = fields[12]
            last = self.base_offset + max(0, behind)
            code = self._attributes & 0x07
            self._codec = _CODECS.get(code)
            if calc_crc32c(memoryview(batch)[_CHECKED_FROM:]) != crc:
                self.fault = "its checksum does not fit its bytes"
            elif code and self._codec is None:
                self.fault = f"its codec {code} is unknown"
        self.next_offset = last + 1

    def validate_crc(self) -> bool:
        """Say yes: a batch whose checksum is wrong is yielded as unreadable, where the library stands still."""
        return True

    @property
    def is_control_batch(self) -> bool:
        """Say whether it holds a transaction's end instead of records."""
        return self.fault is None and bool(self._attributes & _CONTROL)

    @property
    def is_transactional(self) -> bool:
        """Say whether it belongs to a transaction."""
        return bool(self._attributes & _TRANSACTIONAL)

    def __iter__(self) -> Iterator[ReadRecord]:
        return self._records()

    def _records(self) -> Iterator[ReadRecord]:
        if self.fault is not None:
            yield self._unreadable(self.base_offset, self.fault)
            return
        plain, at = self._batch, _HEADER.size
        if self._codec is not None:
            try:
                plain, at = UNPACK[self._codec](memoryview(plain)[at:]), 0
            except UnpackingError as error:
                yield self._unreadable(self.base_offset, str(error))
                return
        known = self._by_library(plain, at)
        if known is not None:
            yield from known
            return
        expected = self.base_offset
        for _ in range(self._count):
            try:
                record, at = self._record(plain, at, expected)
            except (_DamagedError, IndexError) as error:
                why = "a number is cut off" if isinstance(error, IndexError) else str(error)
                if expected < self.next_offset:
                    yield self._unreadable(expected, why)
                return
            yield record
            expected = record.offset + 1

    def _by_library(self, plain: bytes, at: int) -> list[ReadRecord] | None:
        """Let aiokafka's compiled parser, ten times as fast, read a small batch; None where anything is unusual.

        It believes every count and size that it reads, so it gets no more than could do harm: 256 KiB, what our own
        producers put into a batch, hold 128,000 headers, 16 MB of memory.
        """
        if len(plain) - at > _SMALL_BYTES:
            return None
        head = bytearray(self._batch[: _HEADER.size])
        struct.pack_into(">h", head, _CHECKED_FROM, self._attributes & ~0x07)
        found: list[ReadRecord] = []
        expected = self.base_offset
        try:
            for record in DefaultRecordBatch(bytes(head) + plain[at:]):
                if not expected <= record.offset < self.next_offset or len(record.headers) > MAX_HEADERS:
                    return None
                time_ms = min(max(record.timestamp, EARLIEST_MS), LATEST_MS)
                kind, headers = record.timestamp_type, tuple(record.headers)
                found.append(ReadRecord(record.offset, time_ms, kind, record.key, record.value, headers))
                expected = record.offset + 1
        except Exception:  # noqa: BLE001 - the boundary: what it raises for damage is not written down anywhere
            return None
        return found

    def _record(self, plain: bytes, at: int, expected: int) -> tuple[ReadRecord, int]:
        """Read the record at `at`; return it and where the next one begins. Raises _DamagedError, IndexError."""
        length, at = _varint(plain, at)
        end = at + length
        if length < _LEAST_RECORD - 1 or end > len(plain):
            raise _DamagedError(f"a record of {length} bytes does not fit")
        after_ms, at = _varint(plain, at + 1)
        behind, at = _varint(plain, at)
        offset = self.base_offset + behind
        if not expected <= offset < self.next_offset:
            raise _DamagedError(f"a record claims the offset {offset}")
        key, at = _bytes(plain, at, end)
        value, at = _bytes(plain, at, end)
        count, at = _varint(plain, at)
        appended = bool(self._attributes & _LOG_APPEND_TIME)
        time_ms = self._last_ms if appended else self._first_ms + after_ms
        time_ms = min(max(time_ms, EARLIEST_MS), LATEST_MS)
        if not 0 <= count <= MAX_HEADERS:
            # Where the record ends is known: those behind it can be read, and its key says whose it is.
            refusal = Unreadable(f"the record has {count} headers; the bound is {MAX_HEADERS}")
            return ReadRecord(offset, time_ms, int(appended), key, None, ((refusal, b""),)), end
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, at = _bytes(plain, at, end)
            if name is None:
                raise _DamagedError("a header has no name")
            content, at = _bytes(plain, at, end)
            headers.append((name.decode(errors="surrogateescape"), content))
        if at != end:
            raise _DamagedError(f"a record of {length} bytes ends {end - at} bytes early")
        return ReadRecord(offset, time_ms, int(appended), key, value, tuple(headers)), end

    def _unreadable(self, first: int, why: str) -> ReadRecord:
        """Return what stands for the offsets from `first` to the batch's last one."""
        last = self.next_offset - 1
        count = last - first + 1
        _passed.add(count)
        span = f"offset {last}" if count == 1 else f"offsets {first} to {last}"
        sentence = f"the records at {span} cannot be read: {why}; which lines' they were cannot be known"
        return ReadRecord(last, EARLIEST_MS, 0, None, None, ((Unreadable(sentence), b""),))


class _DamagedError(Exception):
    """What is wrong inside a batch."""


def _varint(plain: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag integer of up to ten bytes; IndexError where it is cut off."""
    byte = plain[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 0x7F, 7
    while True:
        byte = plain[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > 63:
            raise _DamagedError("a number has more than ten bytes")


def _bytes(plain: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = _varint(plain, at)
    if size < 0:
        return None, at
    if size > end - at:
        raise _DamagedError(f"a field of {size} bytes does not fit into its record")
    return plain[at : at + size], at + size
