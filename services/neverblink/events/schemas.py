"""The contracts for the outside, derived from the events: JSON Schemas, an AsyncAPI document, examples."""

from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic.json_schema import models_json_schema

from neverblink.events.envelope import (
    CONTENT_TYPE,
    JSON,
    PREFIX,
    SPEC_VERSION,
    TRACE_HEADERS,
    BinaryEvent,
    Event,
    encode,
)
from neverblink.events.examples import TRACE, examples
from neverblink.events.kinds import EVENTS
from neverblink.events.topics import TOPICS, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFAULT_PREFIX = "neverblink"
DEFAULT_PARTITIONS = 48

_KAFKA_BINDING = "0.5.0"
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg"}

Schema = dict[str, Any]


def export(folder: Path, *, prefix: str = DEFAULT_PREFIX, partitions: int = DEFAULT_PARTITIONS) -> list[Path]:
    """Write everything under `folder` and return the files. The same events give the same bytes.

    `NAME.vN.json` describes a record's value, `NAME.vN.headers.json` its headers, `asyncapi.yaml` the
    topics; `examples/` holds one record of each event in the same two parts.
    """
    written = []
    for name, content in documents(prefix=prefix, partitions=partitions).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)
    return written


def documents(*, prefix: str = DEFAULT_PREFIX, partitions: int = DEFAULT_PARTITIONS) -> dict[str, bytes]:
    """Return every document by its path in the `schemas` folder."""
    found: dict[str, bytes] = {}
    for kind in EVENTS:
        found[f"{file_name(kind)}.headers.json"] = _json(header_schema(kind))
        if not issubclass(kind, BinaryEvent):
            found[f"{file_name(kind)}.json"] = _json(value_schema(kind))
    found["asyncapi.yaml"] = _yaml(asyncapi(prefix, partitions))
    for example in examples():
        message = encode(example, source=f"/plant-1/{TOPICS[example.TOPIC].writers[0]}", trace=TRACE)
        headers = {name: raw.decode() for name, raw in message.headers}
        base = f"examples/{file_name(type(example))}"
        found[f"{base}.headers.json"] = _json(headers)
        if headers[CONTENT_TYPE] == JSON:
            found[f"{base}.json"] = _json(orjson.loads(message.value))
        else:
            found[f"{base}.{_SUFFIXES.get(headers[CONTENT_TYPE], 'bin')}"] = message.value
    return dict(sorted(found.items()))


def file_name(kind: type[Event]) -> str:
    """Return `verdict.v1` for `neverblink.verdict.v1`."""
    return kind.TYPE.removeprefix("neverblink.")


def value_schema(kind: type[Event]) -> Schema:
    """Return the JSON Schema of a JSON event's value. Unknown fields are allowed: readers ignore them."""
    return {"$schema": DIALECT, "$id": f"urn:{kind.TYPE.replace('.', ':')}", **_schema_of(kind)}


def header_schema(kind: type[Event]) -> Schema:
    """Return the JSON Schema of an event's headers, read as an object of texts.

    Kafka's header values are bytes; ours are UTF-8 text, so a number is described by its decimal digits.
    """
    properties: Schema = {
        f"{PREFIX}specversion": {"const": SPEC_VERSION},
        f"{PREFIX}id": {"type": "string", "minLength": 1},
        f"{PREFIX}source": {"type": "string", "minLength": 1, "description": "Who wrote it: /SITE/SERVICE."},
        f"{PREFIX}type": {"const": kind.TYPE},
        f"{PREFIX}time": {"type": "string", "format": "date-time"},
        CONTENT_TYPE: {"const": JSON},
    }
    required = list(properties)
    if issubclass(kind, BinaryEvent):
        properties[CONTENT_TYPE] = {"type": "string", "description": "Media type of the value."}
        whole = _schema_of(kind)
        for name in sorted(whole["properties"].keys() - {"id", "content_type", "body"}):
            properties[PREFIX + name] = _as_text(whole["properties"][name], whole.get("$defs", {}))
            if name in whole["required"]:
                required.append(PREFIX + name)
    for name in TRACE_HEADERS:
        properties[name] = {"type": "string", "description": "W3C trace context."}
    return {
        "$schema": DIALECT,
        "$id": f"urn:{kind.TYPE.replace('.', ':')}:headers",
        "title": f"{kind.__name__} headers",
        "type": "object",
        "properties": properties,
        "required": required,
    }


def asyncapi(prefix: str, partitions: int) -> Schema:
    """Return the AsyncAPI 3.0 document: every topic with its key, retention, message and readers."""
    by_topic = {kind.TOPIC: kind for kind in EVENTS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "neverblink",
            "version": "1.0.0",
            "description": (
                "Inline visual inspection: frames in, verdicts out. Records are CloudEvents 1.0 in Kafka's "
                "binary mode: attributes are headers, the value is the data. Fields are only ever added, "
                "optional and with a default; anything else is a new version beside the old one. Delivery is at "
                "least once: deduplicate by ce_id, the first one stands."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "channels": {name: _channel(topic, by_topic[name], prefix, partitions) for name, topic in TOPICS.items()},
        "operations": {
            f"{action}-{name}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"{'Written' if action == 'send' else 'Read'} by {', '.join(parties)}.",
            }
            for name, topic in TOPICS.items()
            for action, parties in (("send", topic.writers), ("receive", topic.readers))
        },
        "components": {"messages": {kind.__name__: _message(kind) for kind in EVENTS}},
    }


_COPIES = 3  # what a plant's cluster has; the plant file says otherwise where it does


_COMPRESSED: dict[str | None, str] = {
    None: "Records are not compressed.",
    "gzip": "Batches are compressed with gzip; older ones, as long as they are kept, with zstd.",
}


def _channel(topic: Topic, kind: type[Event], prefix: str, partitions: int) -> Schema:
    settings = topic.settings(_COPIES)
    return {
        "address": topic.full_name(prefix),
        "description": f"{topic.about} Keyed by {topic.key}. {_COMPRESSED[topic.compression]}",
        "x-compression": topic.compression or "none",
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}},
        "bindings": {
            "kafka": {
                "topic": topic.full_name(prefix),
                "partitions": partitions,
                "topicConfiguration": {
                    "cleanup.policy": [settings["cleanup.policy"]],
                    "retention.ms": int(settings["retention.ms"]),
                    "retention.bytes": int(settings["retention.bytes"]),
                    "max.message.bytes": int(settings["max.message.bytes"]),
                },
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _message(kind: type[Event]) -> Schema:
    binary = issubclass(kind, BinaryEvent)
    payload = {"type": "string", "format": "binary"} if binary else _referred(f"{file_name(kind)}.json")
    return {
        "name": kind.TYPE,
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").split("\n")[0],
        "contentType": "application/octet-stream" if binary else JSON,
        "headers": _referred(f"{file_name(kind)}.headers.json"),
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": TOPICS[kind.TOPIC].key},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _referred(file: str) -> Schema:
    return {"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": {"$ref": f"./{file}"}}


def _schema_of(kind: type[Event]) -> Schema:
    # One call per event: definitions of one must not be renamed because of another.
    by_kind, definitions = models_json_schema([(kind, "validation")], ref_template="#/$defs/{model}")
    defs = dict(definitions["$defs"])
    schema: Schema = defs.pop(by_kind[kind, "validation"]["$ref"].removeprefix("#/$defs/"))
    return schema | ({"$defs": defs} if defs else {})


def _as_text(field: Schema, defs: Schema) -> Schema:
    """Turn the schema of a field into that of its header: the same value, written as text."""
    if "$ref" in field:
        return _as_text(defs[field["$ref"].removeprefix("#/$defs/")], defs)
    if "anyOf" in field:
        # None is said by leaving the header out.
        inner = next(choice for choice in field["anyOf"] if choice.get("type") != "null")
        return _as_text(inner | {name: field[name] for name in ("description",) if name in field}, defs)
    text: Schema = {
        name: field[name]
        for name in ("description", "pattern", "minLength", "maxLength", "format", "enum", "const")
        if name in field
    }
    match field.get("type"):
        case "boolean":
            text["enum"] = ["true", "false"]
        case "integer":
            text["pattern"] = "^-?[0-9]+$"
        case "object":
            text["contentMediaType"] = JSON
        case "number":
            text["pattern"] = "^-?[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?$"
    bounds = [
        f"{words} {field[name]}" for name, words in (("minimum", "at least"), ("maximum", "at most")) if name in field
    ]
    if bounds:
        described = text.get("description", "").rstrip(".")
        text["description"] = ". ".join(filter(None, (described, " and ".join(bounds).capitalize()))) + "."
    return {"type": "string", **text}


def _json(document: Schema) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _yaml(document: Schema) -> bytes:
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)).encode()
