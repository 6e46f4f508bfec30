"""The header of a record batch (message format 2): read, checked, and given its place in a log.

Batches are stored as they came: the checksum covers everything after the base offset and the leader epoch, so
both can be written without touching the records, compressed or not.
"""

from dataclasses import dataclass
from struct import Struct

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

from neverblink.brokers.development.protocol import ErrorCode

_HEADER = Struct(">qiibIhiqqqhii")
_PLACE = Struct(">qii")
_CRC_STARTS = 21
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_FORMAT = 2
NO_PRODUCER = -1


class BatchRefused(Exception):  # noqa: N818
    """A batch that must not enter a log: Kafka's error code and a sentence."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What the broker needs to know of a batch. Times are milliseconds since 1970."""

    length: int
    records: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int


def read_header(batch: bytes, max_bytes: int) -> BatchHeader:
    """Return the header of the one batch in `batch` after checking it. Raises BatchRefused."""
    if len(batch) > max_bytes:
        raise BatchRefused(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"a batch of {len(batch)} bytes is larger than the topic's max.message.bytes of {max_bytes}",
        )
    if len(batch) > 16 and batch[16] != _FORMAT:
        raise BatchRefused(
            ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"message format {batch[16]}; only format 2 is taken"
        )
    if len(batch) < _HEADER.size:
        raise BatchRefused(ErrorCode.CORRUPT_MESSAGE, f"{len(batch)} bytes are no record batch")
    (
        _, length, _, _, crc, attributes, last_delta, _, max_timestamp,
        producer_id, producer_epoch, base_sequence, records,
    ) = _HEADER.unpack_from(batch)  # fmt: skip
    if length + 12 != len(batch):
        raise BatchRefused(
            ErrorCode.INVALID_RECORD if 0 < length + 12 < len(batch) else ErrorCode.CORRUPT_MESSAGE,
            f"a batch says it has {length + 12} bytes and {len(batch)} arrived; one batch per partition is taken",
        )
    if calc_crc32c(memoryview(batch)[_CRC_STARTS:]) != crc:
        raise BatchRefused(ErrorCode.CORRUPT_MESSAGE, "the checksum of a batch does not match")
    if records < 1 or last_delta != records - 1:
        raise BatchRefused(
            ErrorCode.INVALID_RECORD, f"a batch of {records} records whose last has the offset delta {last_delta}"
        )
    if attributes & (_TRANSACTIONAL | _CONTROL):
        raise BatchRefused(
            ErrorCode.INVALID_RECORD, "transactional and control batches need a broker with transactions"
        )
    return BatchHeader(length, records, max_timestamp, producer_id, producer_epoch, base_sequence)


def placed(batch: bytes, header: BatchHeader, base_offset: int) -> bytes:
    """Return the batch with its offset in the log."""
    return b"".join((_PLACE.pack(base_offset, header.length, 0), memoryview(batch)[_PLACE.size :]))


def first_at_or_after(batch: bytes, timestamp_ms: int, from_offset: int) -> tuple[int, int] | None:
    """Return (offset, timestamp) of the first record of a stored batch that is not older, or None.

    Records before `from_offset` are passed over: they are deleted though their batch is still here.
    """
    try:
        for record in DefaultRecordBatch(batch):
            if record.offset >= from_offset and record.timestamp >= timestamp_ms:
                return record.offset, record.timestamp
    except Exception:  # noqa: BLE001 - whoever may write here may write what no parser reads, and it is stored
        base_offset, _, _ = _PLACE.unpack_from(batch)
        return max(base_offset, from_offset), timestamp_ms
    return None
