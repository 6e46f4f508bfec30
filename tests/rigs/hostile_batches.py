"""Record batches as no client of ours writes them: bombs, damage, names that are no text."""

import struct
from collections import Counter
from collections.abc import Sequence
from typing import Self

import cramjam
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import gzip_encode, snappy_encode
from aiokafka.errors import KafkaError, LeaderNotAvailableError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

HEADER = struct.Struct(">qiibIhiqqqhii")
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

Headers = Sequence[tuple[bytes, bytes | None]]


def varint(number: int) -> bytes:
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def field(raw: bytes | None) -> bytes:
    return varint(-1) if raw is None else varint(len(raw)) + raw


def record(
    behind: int,
    *,
    key: bytes | None = b"line-1",
    value: bytes | None = b"{}",
    headers: Headers = (),
    after_ms: int = 0,
    header_count: int | None = None,
) -> bytes:
    """Return one record's bytes; `header_count` may lie."""
    body = b"\0" + varint(after_ms) + varint(behind) + field(key) + field(value)
    body += varint(len(headers) if header_count is None else header_count)
    body += b"".join(field(name) + field(content) for name, content in headers)
    return varint(len(body)) + body


def packed(plain: bytes, codec: str) -> bytes:
    match codec:
        case "gzip":
            return bytes(gzip_encode(plain, 6))
        case "snappy":
            return bytes(snappy_encode(plain, xerial_compatible=False))
        case "xerial":
            return bytes(snappy_encode(plain))
        case "lz4":
            return bytes(cramjam.lz4.compress(plain))
        case "zstd":
            return bytes(cramjam.zstd.compress(plain))
    return plain


def batch(
    plain: bytes,
    count: int,
    *,
    base: int = 0,
    last: int | None = None,
    codec: str = "none",
    first_ms: int = 1_700_000_000_000,
    payload: bytes | None = None,
) -> bytes:
    """Return a batch with a right checksum around these records; `payload` stands in their place as it is."""
    body = packed(plain, codec) if payload is None else payload
    code = CODECS["snappy" if codec == "xerial" else codec]
    behind = count - 1 if last is None else last
    head = HEADER.pack(base, HEADER.size - 12 + len(body), 0, 2, 0, code, behind, first_ms, first_ms, -1, -1, -1, count)
    return with_checksum(head + body)


def with_checksum(raw: bytes) -> bytes:
    """Return the batch with the checksum that its bytes have."""
    return raw[:17] + struct.pack(">I", calc_crc32c(raw[21:])) + raw[21:]


def of_the_library(records: Sequence[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]]) -> bytes:
    """Return what aiokafka's own producer writes of (timestamp, key, value, headers)."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for offset, (timestamp, key, value, headers) in enumerate(records):
        builder.append(offset, timestamp, key, value, headers)
    return bytes(builder.build())


class RawProducer:
    """Writes batches as they are, past every check of a client's own."""

    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaClient(bootstrap_servers=bootstrap, client_id="raw")
        self.refusals: Counter[str] = Counter()
        """How often the broker took nothing, by what it answered; it ends the connection of a request it cannot parse.
        """

    async def __aenter__(self) -> Self:
        await self._client.bootstrap()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def write(self, topic: str, partition: int, raw: bytes) -> int:
        """Write one batch and return its first offset, -1 where the broker refuses it or ends the connection."""
        try:
            await self._client._wait_on_metadata(topic)
            leader = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if leader is None or leader < 0:
                raise LeaderNotAvailableError(topic)
            # Connected anew where the one before has ended.
            answer = await self._client.send(leader, ProduceRequest(None, -1, 10_000, [(topic, [(partition, raw)])]))
        except (KafkaError, OSError) as error:
            self.refusals[type(error).__name__] += 1
            return -1
        ((_, ((_, code, offset, *_),)),) = answer.topics
        if code != 0:
            self.refusals[f"{for_code(code).__name__} ({code})"] += 1
        return int(offset) if code == 0 else -1
