"""What Kafka's protocol knows of settings, rights and quotas and the client library has no call for."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import SecurityDisabled, for_code
from aiokafka.protocol.admin import (
    CreateAclsRequest_v1,
    DescribeAclsRequest,
    DescribeClientQuotasRequest,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Float64, Int8, Int16, Int32, Schema, String

from neverblink.kafka.rights.grants import Grant, Operation, Pattern, Resource

_ANY = 1
_DENY, _ALLOW = 2, 3
_SET = 0
_ALL_NAMES = 2  # of a user's quotas: every user that has any
_TOPIC = 2


async def rights_on(admin: AIOKafkaAdminClient) -> tuple[list[Grant], list[Grant]] | None:
    """Return what is allowed and what is denied on a cluster, or None where it has no authorizer.

    Raises the library's errors.
    """
    answer = await admin._send_request(DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY))
    if answer.error_code == SecurityDisabled.errno:
        return None
    _raise(answer.error_code, answer.error_message)
    allowed: list[Grant] = []
    denied: list[Grant] = []
    for resource, name, pattern, acls in answer.resources:
        for principal, host, operation, permission in acls:
            try:
                found = Grant(principal, Resource(resource), name, Pattern(pattern), Operation(operation), host)
            except ValueError:
                continue  # of a kind that came after us, so none of ours
            (allowed if permission == _ALLOW else denied).append(found)
    return allowed, denied


async def allow(admin: AIOKafkaAdminClient, grants: Iterable[Grant]) -> None:
    """Give rights. Raises the library's errors."""
    answer = await admin._send_request(_CreateAcls(list(grants)))
    for code, message in answer.creation_responses:
        _raise(code, message)


async def quotas_on(admin: AIOKafkaAdminClient) -> dict[str, dict[str, float]]:
    """Return the quotas of each user that has its own, for all of its clients. Raises the library's errors."""
    answer = await admin._send_request(DescribeClientQuotasRequest([("user", _ALL_NAMES, None)], True))
    _raise(answer.error_code, answer.error_message)
    return {
        str(entity[0][1]): {str(name): float(value) for name, value in values}
        for entity, values in answer.entries
        if entity[0][1] is not None
    }


async def set_quotas(admin: AIOKafkaAdminClient, quotas: Mapping[str, Mapping[str, float]]) -> None:
    """Set quotas of users; others, and other quotas of theirs, stay. Raises the library's errors."""
    answer = await admin._send_request(_AlterClientQuotas(quotas))
    for code, message, _ in answer.entries:
        _raise(code, message)


async def set_on_topics(admin: AIOKafkaAdminClient, settings: Mapping[str, Mapping[str, str]]) -> None:
    """Set these settings of topics; their others stay as they are. Raises the library's errors."""
    answer = await admin._send_request(_IncrementalAlterConfigs(settings))
    for code, message, _, _ in answer.responses:
        _raise(code, message)


def _raise(code: int, message: str | None) -> None:
    if code:
        raise for_code(code)(message or "")


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    """The library's own asks for one right at a time."""

    API_KEY = 30

    def __init__(self, grants: list[Grant]) -> None:
        self._grants = grants

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(
            [
                (one.resource, one.name, one.pattern, one.principal, one.host, one.operation, _ALLOW)
                for one in self._grants
            ]
        )


class _AlterClientQuotasResponse(Response):  # type: ignore[misc]
    API_KEY = 49
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "entries",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("entity", Array(("entity_type", String("utf-8")), ("entity_name", String("utf-8")))),
            ),
        ),
    )


class _AlterClientQuotasStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 49
    API_VERSION = 0
    RESPONSE_TYPE = _AlterClientQuotasResponse
    SCHEMA = Schema(
        (
            "entries",
            Array(
                ("entity", Array(("entity_type", String("utf-8")), ("entity_name", String("utf-8")))),
                ("ops", Array(("key", String("utf-8")), ("value", Float64), ("remove", Boolean))),
            ),
        ),
        ("validate_only", Boolean),
    )


class _AlterClientQuotas(Request[_AlterClientQuotasStruct]):  # type: ignore[misc]
    API_KEY = 49

    def __init__(self, quotas: Mapping[str, Mapping[str, float]]) -> None:
        self._quotas = quotas

    def build(self, request_struct_class: type[_AlterClientQuotasStruct]) -> _AlterClientQuotasStruct:
        entries: list[Any] = [
            ([("user", user)], [(key, value, False) for key, value in values.items()])
            for user, values in self._quotas.items()
        ]
        return request_struct_class(entries, False)


class _IncrementalAlterConfigsResponse(Response):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _IncrementalAlterConfigsStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _IncrementalAlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class _IncrementalAlterConfigs(Request[_IncrementalAlterConfigsStruct]):  # type: ignore[misc]
    """The library's AlterConfigs takes every setting that it is not given back to its default."""

    API_KEY = 44

    def __init__(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        self._settings = settings

    def build(self, request_struct_class: type[_IncrementalAlterConfigsStruct]) -> _IncrementalAlterConfigsStruct:
        resources: list[Any] = [
            (_TOPIC, topic, [(name, _SET, value) for name, value in values.items()])
            for topic, values in self._settings.items()
        ]
        return request_struct_class(resources, False)
