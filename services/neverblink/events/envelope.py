"""CloudEvents on Kafka in binary mode: attributes are headers, the record's value is the data.

Source: CloudEvents 1.0.2 and its Kafka protocol binding, section 3.2. Our own attributes are CloudEvents
extensions, so their names are lower-case letters and digits only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from neverblink.errors import NeverblinkError

Headers = Sequence[tuple[str, bytes]]

JSON = "application/json"
SPEC_VERSION = "1.0"
PREFIX = "ce_"
CONTENT_TYPE = "content-type"
TRACE_HEADERS = ("traceparent", "tracestate")

MAX_HEADER_BYTES = 16 * 1024
# What tells more about a part than its judgement needs: a damaged one is left out, and the record is read without it.
SPARED_ATTRIBUTES = ("identity",)
MAX_JSON_BYTES = 1024 * 1024

_INTEGERS = 1 << 63
_SHOWN = 80


class EventError(NeverblinkError, ValueError):
    """A record that is not an event we can read; the message says what is wrong with it."""


class Unreadable(str):
    """A header's name that comes from no wire: the reader puts it where a record could not be read, and it says why."""

    __slots__ = ()


class Part(BaseModel):
    """A value inside an event. Unknown fields are ignored: a reader outlives the next version's additions."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @model_validator(mode="after")
    def _integers_fit(self) -> Self:
        # Neither JSON writers nor databases take more; what nobody can pass on is refused where it arrives.
        values = self.__dict__
        for name in _integer_fields(type(self)):
            value = values[name]
            if type(value) is int and not -_INTEGERS <= value < _INTEGERS:
                raise ValueError(f"{name} does not fit into 64 bits")
        return self


@cache
def _integer_fields(kind: type[BaseModel]) -> tuple[str, ...]:
    """Return the fields that may hold an integer: of each event that is read, the others are not looked at."""
    return tuple(name for name, field in kind.model_fields.items() if _may_be_integer(field.annotation))


def _may_be_integer(annotation: object) -> bool:
    origin = get_origin(annotation)
    if origin is None:
        return annotation is Any or not isinstance(annotation, type) or issubclass(int, annotation)
    if origin is Annotated:
        return _may_be_integer(get_args(annotation)[0])
    if origin is Union or origin is UnionType:
        return any(_may_be_integer(one) for one in get_args(annotation))
    return origin is Literal and any(type(one) is int for one in get_args(annotation))


class Event(Part):
    """What travels. `TYPE` names the contract and its version, `TOPIC` the topic's short name."""

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]

    id: str

    @property
    def key(self) -> str:
        """Return the record key: what must stay in order together."""
        raise NotImplementedError

    @property
    def occurred(self) -> datetime:
        """Return the instant that `ce_time` states."""
        raise NotImplementedError

    def _data(self) -> tuple[str, bytes, dict[str, str]]:
        """Return content type, value and extension attributes."""
        return JSON, orjson.dumps(self.model_dump(mode="json")), {}

    @classmethod
    def _from_data(cls, attributes: Mapping[str, str], content_type: str, value: bytes) -> Self:
        if len(value) > MAX_JSON_BYTES:
            raise EventError(f"a {cls.TYPE} of {len(value)} bytes is over the bound of {MAX_JSON_BYTES}")
        try:
            return cls.model_validate(orjson.loads(value))
        except orjson.JSONDecodeError as error:
            raise EventError(f"the value of a {cls.TYPE} is not JSON: {error}") from error


class BinaryEvent(Event):
    """An event whose value is bytes (an image, a poison record); its fields are CloudEvents attributes."""

    model_config = ConfigDict(ser_json_bytes="base64")

    content_type: str = "application/octet-stream"
    body: bytes = b""

    def _data(self) -> tuple[str, bytes, dict[str, str]]:
        fields = self.model_dump(mode="json", exclude={"id", "content_type", "body"}, exclude_none=True)
        return self.content_type, self.body, {name: _as_text(value) for name, value in fields.items()}

    @classmethod
    def _from_data(cls, attributes: Mapping[str, str], content_type: str, value: bytes) -> Self:
        known = {name: attributes[name] for name in cls.model_fields if name in attributes}
        return cls.model_validate({**known, "content_type": content_type, "body": value})


E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Message:
    """A record ready for Kafka: topic short name, key, value and headers."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The CloudEvents attributes that came with an event, and its trace context."""

    id: str
    type: str
    source: str
    time: datetime | None
    trace: dict[str, str] = field(default_factory=dict)


def encode(event: Event, *, source: str, trace: Mapping[str, str] | None = None) -> Message:
    """Turn an event into a Kafka record.

    `source` is a URI reference such as `/plant-1/scorer`; `trace` holds `traceparent` and `tracestate`.
    """
    content_type, value, extensions = event._data()
    headers = [
        (f"{PREFIX}specversion", SPEC_VERSION),
        (f"{PREFIX}id", event.id),
        (f"{PREFIX}source", source),
        (f"{PREFIX}type", event.TYPE),
        (f"{PREFIX}time", rfc3339(event.occurred)),
        (CONTENT_TYPE, content_type),
        *((f"{PREFIX}{name}", text) for name, text in extensions.items()),
        *((name, text) for name, text in (trace or {}).items() if name in TRACE_HEADERS),
    ]
    return Message(event.TOPIC, event.key.encode(), value, [(name, text.encode()) for name, text in headers])


def decode(headers: Headers, value: bytes | None, *kinds: type[E]) -> tuple[E, Envelope]:
    """Read a record as one of `kinds`. Raises EventError with a sentence when it is none of them."""
    found = attributes(headers)
    envelope = _envelope(found, trace_of(headers))
    for kind in kinds:
        if envelope.type == kind.TYPE:
            break
    else:
        expected = ", ".join(kind.TYPE for kind in kinds)
        raise EventError(f"the event type is {envelope.type[:_SHOWN]!r}; this reader knows {expected}")
    try:
        event = kind._from_data(found, found.get(CONTENT_TYPE, JSON), value or b"")
    except ValidationError as error:
        raise EventError(f"a {kind.TYPE} does not fit its contract: {first_fault(error)}") from error
    if event.id != envelope.id:
        ids = f"ce_id is {envelope.id[:_SHOWN]!r} and the data's id is {event.id[:_SHOWN]!r}"
        raise EventError(f"{ids}; they must be equal")
    return event, envelope


def attributes(headers: Headers) -> dict[str, str]:
    """Return a record's CloudEvents attributes and content type. Raises EventError for oversized or binary ones."""
    found: dict[str, str] = {}
    for name, raw in headers:
        if type(name) is not str or not name.isascii():  # hardly ever: no call for each header of each record
            _check_name(name)
        if not (name.startswith(PREFIX) or name == CONTENT_TYPE) or raw is None:
            continue
        attribute = name.removeprefix(PREFIX)
        if attribute in SPARED_ATTRIBUTES:
            # Too long or not text: it fails to be read where it is needed, and there alone.
            found[attribute] = raw[:MAX_HEADER_BYTES].decode(errors="surrogateescape")
            continue
        if len(raw) > MAX_HEADER_BYTES:
            raise EventError(f"the header {name} has {len(raw)} bytes; the bound is {MAX_HEADER_BYTES}")
        try:
            found[attribute] = raw.decode()
        except UnicodeDecodeError as error:
            raise EventError(f"the header {name} is not UTF-8 text") from error
    return found


def _check_name(name: str) -> None:
    if isinstance(name, Unreadable):
        raise EventError(str(name))
    try:
        name.encode()
    except UnicodeEncodeError as error:
        # Readers keep such bytes as lone surrogates.
        raw = name.encode(errors="surrogateescape")[:_SHOWN]
        raise EventError(f"the name of a header, {raw!r}, is not UTF-8 text") from error


def trace_of(headers: Headers) -> dict[str, str]:
    """Return the W3C trace context of a record, empty when there is none or it is not text."""
    trace: dict[str, str] = {}
    for name, raw in headers:
        if name in TRACE_HEADERS and raw is not None and len(raw) <= MAX_HEADER_BYTES:
            try:
                trace[name] = raw.decode("ascii")
            except UnicodeDecodeError:
                continue
    return trace


def rfc3339(moment: datetime) -> str:
    """Return the instant as RFC 3339 text in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _envelope(found: Mapping[str, str], trace: dict[str, str]) -> Envelope:
    missing = [name for name in ("specversion", "id", "source", "type") if name not in found]
    if missing:
        raise EventError(f"the record has no CloudEvents header {', '.join(PREFIX + name for name in missing)}")
    if found["specversion"] != SPEC_VERSION:
        raise EventError(
            f"CloudEvents version {found['specversion'][:_SHOWN]!r} is not supported; expected {SPEC_VERSION}"
        )
    time = None
    if "time" in found:
        try:
            time = datetime.fromisoformat(found["time"])
        except ValueError as error:
            raise EventError(f"ce_time {found['time'][:_SHOWN]!r} is not an RFC 3339 instant") from error
    return Envelope(found["id"], found["type"], found["source"], time, trace)


def first_fault(error: ValidationError) -> str:
    """Return the first fault that a model found, and where."""
    fault = error.errors()[0]
    place = ".".join(str(step) for step in fault["loc"]) or "the event"
    return f"{place}: {fault['msg']}"


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    return orjson.dumps(value).decode()
