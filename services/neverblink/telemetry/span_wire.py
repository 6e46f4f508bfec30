"""Spans as OTLP's bytes, written directly: opentelemetry-proto 1.x, its `trace/v1` and `common/v1`.

The library builds a protobuf object for each attribute, event and link, which was a third of what a part's trace cost
the scorer. Most of what spans say they say again and again (topics, operations, lines), and is written once.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import pack
from types import MappingProxyType

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status
from opentelemetry.util.types import AnyValue

# `SpanFlags`: whether a parent is remote is known, and whether it is.
_LOCAL, _REMOTE = pack("<I", 0x100), pack("<I", 0x300)
_REMEMBERED = 4096
_ONCE = frozenset({str, bool, int})
"""Types whose equal values are written alike."""

Attributes = Mapping[str, AnyValue] | None


class Request:
    """An `ExportTraceServiceRequest` that is written when it is asked for, as protobuf's own messages are."""

    def __init__(self, spans: Sequence[ReadableSpan]) -> None:
        self._spans = spans

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Return the request's bytes."""
        return written(self._spans)

    SerializePartialToString = SerializeToString


def written(spans: Sequence[ReadableSpan]) -> bytes:
    """Return the bytes of the request that exports these spans, grouped by resource and by instrumentation scope."""
    # By identity: the resource's own hash writes it as JSON, for each span.
    groups: dict[int, tuple[Resource, dict[int, tuple[InstrumentationScope | None, list[bytes]]]]] = {}
    for span in spans:
        resource, scope = span.resource, span.instrumentation_scope
        scopes = groups.setdefault(id(resource), (resource, {}))[1]
        scopes.setdefault(id(scope), (scope, []))[1].append(_span(span))
    return b"".join(_field(1, _resource_spans(resource, scopes.values())) for resource, scopes in groups.values())


def _resource_spans(resource: Resource, scopes: Iterable[tuple[InstrumentationScope | None, Sequence[bytes]]]) -> bytes:
    parts = [_field(1, _attributes(1, resource.attributes))]
    for scope, spans in scopes:
        about = [_field(1, b"" if scope is None else _scope(scope)), *spans]
        if scope is not None and scope.schema_url:
            about.append(_text(3, scope.schema_url))
        parts.append(_field(2, b"".join(about)))
    if resource.schema_url:
        parts.append(_text(3, resource.schema_url))
    return b"".join(parts)


def _scope(scope: InstrumentationScope) -> bytes:
    version = _text(2, scope.version) if scope.version else b""
    return _text(1, scope.name) + version + _attributes(3, scope.attributes)


def _span(span: ReadableSpan) -> bytes:
    context = span.context
    parts = [_ids(context)]
    if context.trace_state:
        parts.append(_field(3, context.trace_state.to_header().encode()))
    if span.parent is not None:
        parts += (b"\x22\x08", span.parent.span_id.to_bytes(8))
    parts += (
        _text(5, span.name),
        _number(6, span.kind.value + 1),
        pack("<cQcQ", b"\x39", span.start_time or 0, b"\x41", span.end_time or 0),
        _attributes(9, span.attributes),
        _number(10, span.dropped_attributes),
        *[_field(11, _event(event)) for event in span.events],
        _number(12, span.dropped_events),
        *[_field(13, _link(link)) for link in span.links],
        _number(14, span.dropped_links),
        _field(15, _status(span.status)),
        _flags(b"\x85\x01", span.parent),
    )
    return _field(2, b"".join(parts))


def _event(event: Event) -> bytes:
    at = pack("<cQ", b"\x09", event.timestamp)
    return at + _text(2, event.name) + _attributes(3, event.attributes) + _number(4, event.dropped_attributes)


def _link(link: Link) -> bytes:
    said = _attributes(4, link.attributes) + _number(5, link.dropped_attributes)
    return _ids(link.context) + said + _flags(b"\x35", link.context)


def _status(status: Status) -> bytes:
    told = _field(2, status.description.encode()) if status.description else b""
    return told + _number(3, status.status_code.value)


def _ids(context: SpanContext) -> bytes:
    return b"\x0a\x10" + context.trace_id.to_bytes(16) + b"\x12\x08" + context.span_id.to_bytes(8)


def _flags(tag: bytes, context: SpanContext | None) -> bytes:
    return tag + (_REMOTE if context is not None and context.is_remote else _LOCAL)


def _attributes(number: int, attributes: Attributes) -> bytes:
    if not attributes:
        return b""
    # The library's own mapping gives a copy at once, and its items one by one through four calls.
    plain = attributes.copy() if isinstance(attributes, (BoundedAttributes, MappingProxyType)) else attributes
    return b"".join(
        [
            _known(number, key, value) if type(value) in _ONCE else _field(number, _key_value(key, value))
            for key, value in plain.items()
        ]
    )


@lru_cache(_REMEMBERED, typed=True)
def _known(number: int, key: str, value: str | int) -> bytes:
    return _field(number, _key_value(key, value))


def _key_value(key: str, value: AnyValue) -> bytes:
    return _field(1, key.encode()) + _field(2, _any(value))


def _any(value: AnyValue) -> bytes:
    """Return an `AnyValue`; of the one that says nothing there is nothing to write."""
    match value:
        case None:
            return b""
        case str():
            return _field(1, value.encode())
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int():
            return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            return b"\x21" + pack("<d", value)
        case bytes():
            return _field(7, value)
        case Mapping():
            return _field(6, b"".join(_field(1, _key_value(str(key), one)) for key, one in value.items()))
        case _:
            return _field(5, b"".join(_field(1, _any(one)) for one in value))


@lru_cache(_REMEMBERED)
def _text(number: int, text: str) -> bytes:
    """Return a text that comes again and again."""
    return _field(number, text.encode())


def _number(number: int, value: int) -> bytes:
    """Return a number's field, which is left out where it is 0."""
    return _varint(number << 3) + _varint(value) if value else b""


def _field(number: int, body: bytes) -> bytes:
    size = len(body)
    return _TAGS[number] + (_SMALL[size] if size < _FEW else _varint(size)) + body


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


_FEW = 2048
_SMALL = tuple(_varint(value) for value in range(_FEW))
_TAGS = tuple(_varint(number << 3 | 2) for number in range(16))
