"""Every version of every request is read, answered in its shape, and refused where a fault says so."""

import contextlib
import time
from typing import Any

import pytest
from aiokafka.protocol.types import Array, Boolean, Bytes, Schema, String
from hypothesis import given
from hypothesis import strategies as st

from neverblink.brokers.development import protocol
from neverblink.brokers.development.answers import Address
from neverblink.brokers.development.faults import Faults
from neverblink.brokers.development.groups import Groups
from neverblink.brokers.development.handlers import Handlers
from neverblink.brokers.development.protocol import (
    ADVERTISED,
    Api,
    ErrorCode,
    ProtocolError,
    read_call,
    write_answer,
)
from neverblink.brokers.development.topics import Topics

EVERY_VERSION = [(Api(key), version) for key, low, high in ADVERTISED for version in range(low, high + 1)]


def handlers() -> Handlers:
    topics = Topics(1 << 20, 100)
    topics.create("x", 2, 1, {})
    return Handlers(
        topics, Groups(), Faults(), lambda: Address("127.0.0.1", 9092), time.monotonic, auto_create=False,
        fetch_bytes=1 << 20,
    )  # fmt: skip


def sample(kind: Any) -> Any:
    """Return a plain value of every kind of field: ones, x, and lists of one."""
    if isinstance(kind, Schema):
        return tuple(sample(field) for field in kind.fields)
    if isinstance(kind, Array):
        return [sample(kind.array_of)]
    if isinstance(kind, String):
        return "x"
    if kind is Bytes:
        return b"x"
    return False if kind is Boolean else 1


def request(api: Api, version: int) -> bytes:
    schema = protocol._SHAPES[api][version].request.SCHEMA
    header = api.to_bytes(2, "big") + version.to_bytes(2, "big") + (77).to_bytes(4, "big") + b"\x00\x03app"
    return header + bytes(schema.encode(sample(schema)))


def codes(answer: Any) -> set[int]:
    """Return every error code in a decoded answer."""
    if isinstance(answer, dict):
        own = {value for name, value in answer.items() if name == "error_code"}
        return own.union(*(codes(value) for value in answer.values()))
    if isinstance(answer, list):
        return set().union(*(codes(item) for item in answer))
    return set()


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION, ids=lambda value: getattr(value, "name", value))
async def test_every_advertised_version_is_answered_in_its_own_shape(api: Api, version: int) -> None:
    call = read_call(request(api, version), "127.0.0.1")
    assert (call.api, call.version, call.correlation, call.client_id) == (api, version, 77, "app")
    answer = await handlers().answer(call)
    assert answer is not None
    frame = write_answer(call, answer)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert int.from_bytes(frame[4:8], "big") == 77
    shape = protocol._SHAPES[api][version].response
    assert shape.decode(frame[8:]).encode() == frame[8:]


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION, ids=lambda value: getattr(value, "name", value))
async def test_an_injected_error_stands_where_the_client_looks_for_it(api: Api, version: int) -> None:
    call = read_call(request(api, version), "127.0.0.1")
    answer = await handlers().answer(call, ErrorCode.NOT_COORDINATOR)
    assert answer is not None
    frame = write_answer(call, answer)
    found = codes(protocol._named(*_decoded(api, version, frame[8:])))
    assert ErrorCode.NOT_COORDINATOR in found or (api is Api.LIST_GROUPS and version == 0)


def _decoded(api: Api, version: int, body: bytes) -> tuple[Schema, list[Any]]:
    shape = protocol._SHAPES[api][version].response
    decoded = shape.decode(body)
    return shape.SCHEMA, [decoded.get_item(name) for name in shape.SCHEMA.names]


async def test_a_newer_client_that_asks_for_versions_learns_them() -> None:
    frame = (18).to_bytes(2, "big") + (4).to_bytes(2, "big") + (5).to_bytes(4, "big") + b"\x00\x01a\x00\x02a\x02b\x00"
    call = read_call(frame, "127.0.0.1")
    answer = await handlers().answer(call)
    assert answer is not None
    _, values = _decoded(Api.API_VERSIONS, 0, write_answer(call, answer)[8:])
    assert values[0] == ErrorCode.UNSUPPORTED_VERSION
    assert (int(Api.FETCH), 4, 11) in values[1]


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(frame: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        read_call(frame, "127.0.0.1")


@given(st.sampled_from(EVERY_VERSION), st.data())
def test_a_request_cut_or_spoilt_anywhere_is_a_protocol_error_or_a_request(
    which: tuple[Api, int], data: st.DataObject
) -> None:
    frame = bytearray(request(*which))
    cut = data.draw(st.integers(0, len(frame)))
    for _ in range(data.draw(st.integers(0, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        read_call(bytes(frame[:cut]), "127.0.0.1")
