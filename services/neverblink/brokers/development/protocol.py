"""Kafka's wire protocol seen from the broker: which requests are spoken, and frames in and out.

The shapes of requests and responses are aiokafka's own structures, so the client we run in the plant and this
broker cannot disagree about a field. Responses are written from names, not positions: an answer carries every
field of every version, and the version that was asked for takes the ones it knows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from struct import Struct as Packer
from struct import error as PackingError  # noqa: N812
from typing import Any

from aiokafka.protocol import admin, commit, coordination, fetch, group, metadata, offset, produce, transaction
from aiokafka.protocol.types import Array, Bytes, Schema


class Api(IntEnum):
    """The requests this broker answers, with Kafka's keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    DESCRIBE_CONFIGS = 32
    CREATE_PARTITIONS = 37
    DELETE_GROUPS = 42


class ErrorCode(IntEnum):
    """Kafka's error codes, as far as this broker says them."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    NOT_ENOUGH_REPLICAS = 19
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_CONFIG = 40
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    KAFKA_STORAGE_ERROR = 56
    UNKNOWN_PRODUCER_ID = 59
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    MEMBER_ID_REQUIRED = 79
    FENCED_INSTANCE_ID = 82
    INVALID_RECORD = 87


class ProtocolError(Exception):
    """What arrived is not a request this broker can read; the message says why. The connection is closed."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """One version of one request: how it is read and how its answer is written."""

    request: Any
    response: Any


def _versions(first: int, *pairs: tuple[Any, Any]) -> dict[int, _Shape]:
    return {version: _Shape(*pair) for version, pair in enumerate(pairs, start=first)}


# Versions that aiokafka leaves out (JoinGroup 3 and 4, SyncGroup 2, Heartbeat 2) have the fields of their
# neighbour below, so its structure serves them.
_JOIN_2 = (group.JoinGroupRequest_v2, group.JoinGroupResponse_v2)
_SYNC_1 = (group.SyncGroupRequest_v1, group.SyncGroupResponse_v1)
_HEARTBEAT_1 = (group.HeartbeatRequest_v1, group.HeartbeatResponse_v1)

_SHAPES: dict[Api, dict[int, _Shape]] = {
    # librdkafka before 2.8 takes a broker without Produce 0 for one without compression (Apache Kafka 4
    # advertises it for the same reason). Its records are refused, see `record_requests`.
    Api.PRODUCE: _versions(
        0,
        *((getattr(produce, f"ProduceRequest_v{v}"), getattr(produce, f"ProduceResponse_v{v}")) for v in range(8)),
    ),
    Api.FETCH: _versions(
        4,
        *((getattr(fetch, f"FetchRequest_v{v}"), getattr(fetch, f"FetchResponse_v{v}")) for v in range(4, 12)),
    ),
    Api.LIST_OFFSETS: _versions(
        1, *((getattr(offset, f"OffsetRequest_v{v}"), getattr(offset, f"OffsetResponse_v{v}")) for v in (1, 2, 3))
    ),
    Api.METADATA: _versions(
        0,
        *((getattr(metadata, f"MetadataRequest_v{v}"), getattr(metadata, f"MetadataResponse_v{v}")) for v in range(6)),
    ),
    Api.OFFSET_COMMIT: _versions(
        1,
        (commit.OffsetCommitRequest_v1, commit.OffsetCommitResponse_v1),
        (commit.OffsetCommitRequest_v2, commit.OffsetCommitResponse_v2),
        (commit.OffsetCommitRequest_v3, commit.OffsetCommitResponse_v3),
    ),
    Api.OFFSET_FETCH: _versions(
        1,
        (commit.OffsetFetchRequest_v1, commit.OffsetFetchResponse_v1),
        (commit.OffsetFetchRequest_v2, commit.OffsetFetchResponse_v2),
        (commit.OffsetFetchRequest_v3, commit.OffsetFetchResponse_v3),
    ),
    Api.FIND_COORDINATOR: _versions(
        0,
        (coordination.FindCoordinatorRequest_v0, coordination.FindCoordinatorResponse_v0),
        (coordination.FindCoordinatorRequest_v1, coordination.FindCoordinatorResponse_v1),
    ),
    Api.JOIN_GROUP: _versions(
        0,
        (group.JoinGroupRequest_v0, group.JoinGroupResponse_v0),
        (group.JoinGroupRequest_v1, group.JoinGroupResponse_v1),
        _JOIN_2,
        _JOIN_2,
        _JOIN_2,
        (group.JoinGroupRequest_v5, group.JoinGroupResponse_v5),
    ),
    Api.HEARTBEAT: _versions(0, (group.HeartbeatRequest_v0, group.HeartbeatResponse_v0), _HEARTBEAT_1, _HEARTBEAT_1),
    Api.LEAVE_GROUP: _versions(
        0,
        (group.LeaveGroupRequest_v0, group.LeaveGroupResponse_v0),
        (group.LeaveGroupRequest_v1, group.LeaveGroupResponse_v1),
    ),
    Api.SYNC_GROUP: _versions(
        0,
        (group.SyncGroupRequest_v0, group.SyncGroupResponse_v0),
        _SYNC_1,
        _SYNC_1,
        (group.SyncGroupRequest_v3, group.SyncGroupResponse_v3),
    ),
    Api.DESCRIBE_GROUPS: _versions(
        0,
        *(
            (getattr(admin, f"DescribeGroupsRequest_v{v}"), getattr(admin, f"DescribeGroupsResponse_v{v}"))
            for v in range(4)
        ),
    ),
    Api.LIST_GROUPS: _versions(
        0,
        *((getattr(admin, f"ListGroupsRequest_v{v}"), getattr(admin, f"ListGroupsResponse_v{v}")) for v in range(3)),
    ),
    Api.API_VERSIONS: _versions(
        0,
        *((getattr(admin, f"ApiVersionRequest_v{v}"), getattr(admin, f"ApiVersionResponse_v{v}")) for v in range(3)),
    ),
    Api.CREATE_TOPICS: _versions(
        0,
        *(
            (getattr(admin, f"CreateTopicsRequest_v{v}"), getattr(admin, f"CreateTopicsResponse_v{v}"))
            for v in range(4)
        ),
    ),
    Api.DELETE_TOPICS: _versions(
        0,
        *(
            (getattr(admin, f"DeleteTopicsRequest_v{v}"), getattr(admin, f"DeleteTopicsResponse_v{v}"))
            for v in range(4)
        ),
    ),
    Api.DELETE_RECORDS: _versions(
        0,
        (admin.DeleteRecordsRequest_v0, admin.DeleteRecordsResponse_v0),
        (admin.DeleteRecordsRequest_v1, admin.DeleteRecordsResponse_v1),
    ),
    Api.INIT_PRODUCER_ID: _versions(
        0,
        # Version 1 has the fields of version 0.
        (transaction.InitProducerIdRequest_v0, transaction.InitProducerIdResponse_v0),
        (transaction.InitProducerIdRequest_v0, transaction.InitProducerIdResponse_v0),
    ),
    Api.DESCRIBE_CONFIGS: _versions(
        0,
        *(
            (getattr(admin, f"DescribeConfigsRequest_v{v}"), getattr(admin, f"DescribeConfigsResponse_v{v}"))
            for v in range(3)
        ),
    ),
    Api.CREATE_PARTITIONS: _versions(
        0,
        (admin.CreatePartitionsRequest_v0, admin.CreatePartitionsResponse_v0),
        (admin.CreatePartitionsRequest_v1, admin.CreatePartitionsResponse_v1),
    ),
    Api.DELETE_GROUPS: _versions(
        0,
        (admin.DeleteGroupsRequest_v0, admin.DeleteGroupsResponse_v0),
        (admin.DeleteGroupsRequest_v1, admin.DeleteGroupsResponse_v1),
    ),
}

ADVERTISED: tuple[tuple[int, int, int], ...] = tuple(
    (int(api), min(shapes), max(shapes)) for api, shapes in _SHAPES.items()
)
"""Key, lowest and highest version of every request this broker answers."""

_HEADER = Packer(">hhi")
_CORRELATION = Packer(">i")
_LENGTH = Packer(">i")
_SHORT = Packer(">h")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: what is asked, in which version, by whom. `body` holds the fields by name."""

    api: Api
    version: int
    correlation: int
    client_id: str
    client_host: str
    body: Mapping[str, Any]
    version_known: bool = True


def read_call(frame: bytes, client_host: str) -> Call:
    """Read one request (without its length prefix). Raises ProtocolError."""
    try:
        key, version, correlation = _HEADER.unpack_from(frame)
        client_id, start = _client_id(frame, _HEADER.size)
    except (PackingError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{len(frame)} bytes that do not begin with a request header") from error
    try:
        api = Api(key)
    except ValueError as error:
        raise ProtocolError(f"request key {key}, which this broker does not speak") from error
    shape = _SHAPES[api].get(version)
    if shape is None:
        if api is Api.API_VERSIONS:
            # The one request that is answered in any version: how a newer client learns what to speak.
            return Call(api, 0, correlation, client_id, client_host, {}, version_known=False)
        raise ProtocolError(f"{api.name} version {version}, which this broker does not speak")
    try:
        data = BytesIO(frame)
        data.seek(start)
        values = [field.decode(data) for field in shape.request.SCHEMA.fields]
        body = _named(shape.request.SCHEMA, values)
    except (ValueError, PackingError, IndexError, TypeError) as error:
        raise ProtocolError(f"a {api.name} request (version {version}) that cannot be read: {error}") from error
    return Call(api, version, correlation, client_id, client_host, body)


def write_answer(call: Call, answer: Mapping[str, Any]) -> bytes:
    """Return the response frame with its length prefix; `answer` may carry fields of other versions."""
    pieces = [b"", _CORRELATION.pack(call.correlation)]
    _write(_SHAPES[call.api][call.version].response.SCHEMA, answer, pieces)
    pieces[0] = _LENGTH.pack(sum(map(len, pieces)))
    return b"".join(pieces)


def _client_id(frame: bytes, at: int) -> tuple[str, int]:
    (length,) = _SHORT.unpack_from(frame, at)
    start = at + _SHORT.size
    if length < 0:
        return "", start
    if len(frame) < start + length:
        raise PackingError("the client id is cut off")
    return frame[start : start + length].decode(), start + length


def _named(schema: Schema, values: Iterable[Any]) -> dict[str, Any]:
    return {
        name: _named_field(field, value) for name, field, value in zip(schema.names, schema.fields, values, strict=True)
    }


def _named_field(field: Any, value: Any) -> Any:
    if isinstance(field, Schema):
        return _named(field, value)
    if isinstance(field, Array) and isinstance(field.array_of, Schema) and value is not None:
        return [_named(field.array_of, item) for item in value]
    return value


def _write(kind: Any, value: Any, pieces: list[bytes]) -> None:
    """Append the encoding of `value`; records are appended as they are, so that a fetch copies them once."""
    if isinstance(kind, Schema):
        for name, field in zip(kind.names, kind.fields, strict=True):
            _write(field, value[name], pieces)
    elif isinstance(kind, Array):
        pieces.append(_LENGTH.pack(-1 if value is None else len(value)))
        for item in value or ():
            _write(kind.array_of, item, pieces)
    elif kind is Bytes and value is not None:
        pieces += (_LENGTH.pack(len(value)), value)
    else:
        pieces.append(kind.encode(value))
