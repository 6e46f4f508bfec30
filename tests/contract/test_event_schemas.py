"""The contracts for the outside: what is checked in is what the events say, and readers of v1 keep working."""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from contract.compatibility import breaking_changes
from neverblink.events import EVENTS, TOPICS, Event, Evidence, Frame, Identity, Verdict, decode, encode
from neverblink.events.envelope import JSON, BinaryEvent
from neverblink.events.examples import examples
from neverblink.events.schemas import documents, export, file_name, header_schema, value_schema
from neverblink.plant import Kafka

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"
FROZEN = Path(__file__).parent / "frozen"

JSON_EVENTS = [kind for kind in EVENTS if not issubclass(kind, BinaryEvent)]


def example_of(kind: type[Event]) -> Event:
    return next(example for example in examples() if type(example) is kind)


def headers_of(event: Event) -> dict[str, str]:
    return {name: raw.decode() for name, raw in encode(event, source="/plant-1/test").headers}


def test_every_topic_has_a_kind_and_every_kind_a_topic() -> None:
    assert {kind.TOPIC for kind in EVENTS} == TOPICS.keys()


def test_the_checked_in_schemas_are_what_the_events_say() -> None:
    expected = documents()
    found = {str(path.relative_to(SCHEMAS)): path.read_bytes() for path in SCHEMAS.rglob("*") if path.is_file()}
    stale = sorted(name for name in expected if found.get(name) != expected[name])
    assert not stale, f"run `neverblink schemas export`: {', '.join(stale)} are not what the events say now"
    others = ("plc/", "jobs/", "telemetry.yaml", "ledger-api.json")
    written_by_none = {name for name in found.keys() - expected.keys() if not name.startswith(others)}
    assert not written_by_none, f"no event writes {', '.join(sorted(written_by_none))}: remove them"


def test_an_export_writes_the_same_bytes_every_time(tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in export(tmp_path / "a")}
    assert first == {path.name: path.read_bytes() for path in export(tmp_path / "b")}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.TYPE)
def test_every_schema_is_a_valid_schema(kind: type[Event]) -> None:
    jsonschema.Draft202012Validator.check_schema(header_schema(kind))
    jsonschema.Draft202012Validator.check_schema(value_schema(kind))


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.TYPE)
def test_the_example_of_an_event_fits_its_schemas(kind: type[Event]) -> None:
    base = SCHEMAS / "examples" / file_name(kind)
    headers = orjson.loads(base.with_name(f"{base.name}.headers.json").read_bytes())
    check = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(header_schema(kind), format_checker=check).validate(headers)
    if headers["content-type"] == JSON:
        value = orjson.loads(base.with_name(f"{base.name}.json").read_bytes())
        jsonschema.Draft202012Validator(value_schema(kind), format_checker=check).validate(value)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.TYPE)
def test_a_reader_gets_back_what_the_writer_sent(kind: type[Event]) -> None:
    event = example_of(kind)
    message = encode(event, source="/plant-1/test", trace={"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"})
    again, envelope = decode(message.headers, message.value, kind)
    assert again == event
    assert envelope.time == event.occurred
    assert message.key.decode() == event.key
    assert "traceparent" in envelope.trace


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.TYPE)
def test_attribute_names_are_lower_case_letters_and_digits(kind: type[Event]) -> None:
    """CloudEvents 1.0.2, section Attribute Naming Convention."""
    for header in headers_of(example_of(kind)):
        if header.startswith("ce_"):
            assert re.fullmatch(r"[a-z0-9]{1,20}", header.removeprefix("ce_")), header
    if issubclass(kind, BinaryEvent):
        for name in kind.model_fields.keys() - {"content_type", "body"}:
            assert re.fullmatch(r"[a-z0-9]{1,20}", name), name


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.TYPE)
def test_a_field_of_a_newer_version_does_not_disturb_an_older_reader(kind: type[Event]) -> None:
    event = example_of(kind)
    message = encode(event, source="/plant-1/test")
    if issubclass(kind, BinaryEvent):
        message.headers.append(("ce_moonphase", b"waxing"))
        value = message.value
    else:
        value = orjson.dumps({**orjson.loads(message.value), "moonphase": {"name": "waxing"}})
    assert decode(message.headers, value, kind)[0] == event


def test_a_value_that_breaks_the_contract_is_refused_by_its_schema() -> None:
    value = orjson.loads(encode(example_of(Verdict), source="/x").value)
    validator = jsonschema.Draft202012Validator(value_schema(Verdict))
    for name, wrong in (("decision", "maybe"), ("seq", -1), ("line", "line 1"), ("times", {})):
        assert not validator.is_valid({**value, name: wrong}), name


# Compatibility with readers and records of version 1


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.TYPE)
def test_readers_and_records_of_the_frozen_version_keep_working(kind: type[Event]) -> None:
    frozen = orjson.loads((FROZEN / f"{file_name(kind)}.headers.json").read_bytes())
    broken = breaking_changes(frozen, header_schema(kind))
    if not issubclass(kind, BinaryEvent):
        frozen = orjson.loads((FROZEN / f"{file_name(kind)}.json").read_bytes())
        broken += breaking_changes(frozen, value_schema(kind))
    assert not broken, "\n".join(f"{kind.TYPE}: {sentence}" for sentence in broken)


@pytest.mark.parametrize(
    "kind", [kind for kind in EVENTS if "identity" in kind.model_fields], ids=lambda kind: kind.TYPE
)
def test_a_reader_of_the_frozen_version_takes_what_tells_all_that_came_since(kind: type[Event]) -> None:
    event = example_of(kind)
    assert event.model_dump()["identity"]["serial"] == "SN-0048211"
    frozen = orjson.loads((FROZEN / f"{file_name(kind)}.headers.json").read_bytes())
    jsonschema.Draft202012Validator(frozen).validate(headers_of(event))
    if not issubclass(kind, BinaryEvent):
        frozen = orjson.loads((FROZEN / f"{file_name(kind)}.json").read_bytes())
        jsonschema.Draft202012Validator(frozen).validate(orjson.loads(encode(event, source="/x").value))


# The identity of a part on frames and evidence


DAMAGED = {
    "not JSON": b"{lot: L42",
    "not an object": b'"L42"',
    "not text in it": b'{"lot": 42}',
    "not UTF-8": b'{"lot": "L\xff42"}',
    "a control character": b'{"serial": "SN\\u0000"}',
    "longer than a header may be": b'{"lot": "' + b"4" * 20_000 + b'"}',
    "over the bound in all": b"{" + b'"attributes": {' + b",".join(
        b'"a%d": "%s"' % (number, b"x" * 250) for number in range(9)
    ) + b"}}",
    "too many attributes": b'{"attributes": {' + b",".join(b'"a%d": "x"' % number for number in range(17)) + b"}}",
    "deep": b'{"attributes": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", [Frame, Evidence], ids=lambda kind: kind.TYPE)
@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_identity_costs_the_record_nothing_but_the_identity(kind: type[Frame], damaged: bytes) -> None:
    event = example_of(kind)
    headers = [(name, raw) for name, raw in encode(event, source="/x").headers if name != "ce_identity"]
    again, _ = decode([*headers, ("ce_identity", damaged)], event.model_dump()["body"], kind)
    assert again.identity is None
    assert again.identity_fault
    assert again.model_copy(update={"identity": Identity()}).model_dump() == {
        **event.model_dump(),
        "identity": Identity().model_dump(),
    }


def test_identities_that_say_the_same_are_one_in_a_set() -> None:
    attributes = {"press": "3", "crew": "2"}
    turned = dict(reversed(attributes.items()))
    found = {Identity(serial="SN-7", attributes=attributes), Identity(serial="SN-7", attributes=turned), Identity()}
    assert len(found) == 2


def test_an_identity_is_at_most_2_kib_and_leaves_out_what_nobody_said() -> None:
    assert Identity(lot="L42", attributes={"press": "3"}).as_json() == b'{"lot":"L42","attributes":{"press":"3"}}'
    assert not Identity()
    with pytest.raises(ValueError, match="over the bound of 2048"):
        Identity(attributes={f"a{number}": "x" * 250 for number in range(9)})


def changed(edit: Any) -> list[str]:
    schema = value_schema(Verdict)
    newer = copy.deepcopy(schema)
    edit(newer)
    return breaking_changes(schema, newer)


def test_adding_an_optional_field_passes() -> None:
    def edit(schema: dict[str, Any]) -> None:
        schema["properties"]["lot"] = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
        schema["$defs"]["Defect"]["properties"]["depth_mm"] = {"type": "number", "default": 0}
        schema["description"] = "Said better."

    assert changed(edit) == []


def test_removing_a_field_is_told() -> None:
    assert changed(lambda schema: schema["properties"].pop("detail")) == [
        "the field detail is gone: its readers would miss it; removing or renaming needs a new event version"
    ]


def test_renaming_a_nested_field_is_told() -> None:
    def edit(schema: dict[str, Any]) -> None:
        box = schema["$defs"]["BoundingBox"]
        box["properties"]["w"] = box["properties"].pop("width")
        box["required"] = ["x", "y", "w", "height"]

    told = changed(edit)
    assert any("the field defects[].bbox.width is gone" in sentence for sentence in told)
    assert any("the field defects[].bbox.w is new and required" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda s: s["properties"].update(seq={"type": "string"}), "the field seq was integer and is string"),
        (lambda s: s["properties"].update(score={"type": "number"}),
         "the field score was null or number and is number"),
        (lambda s: (s["properties"].update(lot={"type": "string"}), s["required"].append("lot")),
         "the field lot is new and required"),
        (lambda s: s["required"].append("score"), "the field score has become required"),
        (lambda s: s["required"].remove("seq"), "the field seq has become optional"),
        (lambda s: s["$defs"]["Decision"]["enum"].append("rework"), "the field decision: enum was"),
        (lambda s: s["properties"]["seq"].update(minimum=1), "the field seq: minimum was 0 and is 1"),
    ],
)  # fmt: skip
def test_a_change_that_breaks_a_reader_is_told_in_a_sentence(edit: Any, sentence: str) -> None:
    told = changed(edit)
    assert len(told) == 1
    assert told[0].startswith(sentence)


# AsyncAPI


def test_the_asyncapi_document_describes_every_topic_and_its_files_exist() -> None:
    document = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"].keys() == TOPICS.keys()
    for name, channel in document["channels"].items():
        assert channel["address"] == f"neverblink.{name}"
        settings = channel["bindings"]["kafka"]["topicConfiguration"]
        assert settings["retention.ms"] == TOPICS[name].retention_ms
    for message in document["components"]["messages"].values():
        for part in ("headers", "payload"):
            reference = message[part].get("schema", {}).get("$ref")
            assert reference is None or (SCHEMAS / reference).is_file(), reference


def test_the_asyncapi_document_states_the_plant_files_defaults() -> None:
    document = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())
    frames = document["channels"]["frames"]
    assert frames["bindings"]["kafka"]["partitions"] == Kafka().partitions
    assert frames["address"] == TOPICS["frames"].full_name(Kafka().topic_prefix)
