"""Decoders refuse with a sentence whatever they are given, and what they let through can be passed on."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.drift.moments import unmeasurable
from neverblink.drift.statistics import Window
from neverblink.events import EVENTS, DeadLetter, Event, EventError, Identity, Reason, Verdict, decode, encode
from neverblink.events.envelope import Part, Unreadable, _integer_fields
from neverblink.events.examples import examples
from neverblink.kafka import DeadLetters, Record
from neverblink.scorer import verdicts
from neverblink.scorer.work import FramePlace

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
EXAMPLES = {type(event): event for event in examples()}
VERDICT = EXAMPLES[Verdict]


def with_data(event: Event, **fields: Any) -> tuple[list[tuple[str, bytes]], bytes]:
    message = encode(event, source="/test")
    found = orjson.loads(message.value)
    for name, value in fields.items():
        (found["times"] if name == "captured" else found)[name] = value
    return message.headers, orjson.dumps(found)


@pytest.mark.parametrize(
    "instant",
    [
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+01:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize("field", ["captured", "deadline"])
def test_an_instant_at_the_calendars_ends_is_refused(field: str, instant: str) -> None:
    with pytest.raises(EventError, match=r"no date in UTC|years 2 to 9998"):
        decode(*with_data(VERDICT, **{field: instant}), Verdict)


def test_the_years_within_are_taken_and_can_be_shown_in_any_zone() -> None:
    for instant in ("0002-01-01T00:00:00Z", "9998-12-31T23:59:59Z"):
        found, _ = decode(*with_data(VERDICT, deadline=instant), Verdict)
        assert found.deadline.astimezone().year in {1, 2, 9998, 9999}


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 1e25])
def test_an_integer_that_no_database_holds_is_refused(value: float) -> None:
    with pytest.raises(EventError, match=r"64 bits|maximum size"):
        decode(*with_data(VERDICT, seq=value), Verdict)


def test_every_field_of_an_event_that_takes_an_integer_is_looked_at() -> None:
    def kinds(of: type[Part]) -> Iterator[type[Part]]:
        for kind in of.__subclasses__():
            yield kind
            yield from kinds(kind)

    for kind in kinds(Part):
        said = kind.model_json_schema()["properties"] if kind.model_fields else {}
        shapes = {name: (field, *field.get("anyOf", ())) for name, field in said.items()}
        takes = {name for name, some in shapes.items() if any(one.get("type") == "integer" for one in some)}
        assert set(_integer_fields(kind)) == takes, kind


BROKEN = {
    "lists in lists": b"[" * 100_000,
    "objects in objects": b'{"a":' * 100_000,
    "a number of ten thousand digits": b'{"seq":' + b"9" * 10_000 + b"}",
    "half a character": b'{"part":"\\ud800"}',
    "no number": b"NaN",
    "no text": b"\xff",
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN.keys())
def test_deep_huge_and_broken_json_is_refused(value: bytes) -> None:
    with pytest.raises(EventError, match="is not JSON"):
        decode(encode(VERDICT, source="/test").headers, value, Verdict)


def test_a_headers_name_that_is_no_text_is_refused_and_the_sentence_shows_its_bytes() -> None:
    message = encode(VERDICT, source="/test")
    with pytest.raises(EventError, match=r"b'bad\\xff', is not UTF-8 text"):
        decode([*message.headers, ("bad\udcff", b"1")], message.value, Verdict)


def test_what_could_not_be_read_at_all_says_why_and_no_sender_can_say_so() -> None:
    with pytest.raises(EventError, match="the records at offset 5"):
        decode([(Unreadable("the records at offset 5 cannot be read"), b"")], b"", Verdict)
    message = encode(VERDICT, source="/test")
    decode([*message.headers, ("the records at offset 5 cannot be read", b"")], message.value, Verdict)


WRONG = {
    "deadline": "9999-12-31T23:59:59-14:00",
    "captured": "yesterday",
    "seq": "9" * 5000,
    "epoch": "\u00b3",
    "number": "-1",
    "part": "",
    "product": "no/name",
}


@given(st.sets(st.sampled_from(sorted(WRONG))))
def test_a_record_that_is_no_frame_gets_its_verdict_whatever_else_is_wrong_with_it(wrong: set[str]) -> None:
    told = {
        "line": "line-1",
        "station": "top",
        "product": "pcb",
        "part": "p-7",
        "seq": "7",
        "epoch": "1",
        "number": "7",
    }
    attributes = told | {name: WRONG[name] for name in wrong}
    verdict = verdicts.unreadable("f-1", "line-1/top", attributes, Reason.BAD_EVENT, "no frame", NOW)
    assert verdict is not None
    assert (verdict.line, verdict.station, verdict.reason) == ("line-1", "top", "bad-event")
    assert verdict.part == ("p-7" if "part" not in wrong else "unknown/f-1")
    assert (verdict.tracking is None) is bool(wrong & {"epoch", "number"})


def test_a_record_that_is_no_frame_is_told_with_its_identity_and_place_as_far_as_they_are_there() -> None:
    def told(identity: str) -> Verdict:
        attributes = {"identity": identity}
        place = FramePlace(3, 99)
        found = verdicts.unreadable("f-1", "line-1/top", attributes, Reason.BAD_EVENT, "no frame", NOW, place)
        assert found is not None
        return found

    assert told('{"serial":"SN-7"}').identity == Identity(serial="SN-7")
    assert told("{serial").identity is None
    assert (told("").frame_partition, told("").frame_offset) == (3, 99)


def test_a_line_that_headers_get_wrong_is_taken_from_the_key() -> None:
    verdict = verdicts.unreadable("f-1", "line-1/top", {"line": "no/line"}, Reason.BAD_EVENT, "no frame", NOW)
    assert verdict is not None
    assert verdict.line == "line-1"
    assert verdicts.unreadable("f-1", "", {}, Reason.BAD_EVENT, "no frame", NOW) is None


class Letters:
    """A producer that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []

    async def send(self, event: DeadLetter) -> None:
        encode(event, source="/test")
        self.sent.append(event)


@settings(max_examples=200, deadline=None)
@given(
    key=st.text(max_size=600),
    why=st.text(max_size=3000),
    headers=st.lists(st.tuples(st.text(max_size=200), st.binary(max_size=3000)), max_size=8),
    value=st.binary(max_size=100),
)
async def test_a_dead_letter_can_be_made_of_anything_and_carries_no_control_character(
    key: str, why: str, headers: list[tuple[str, bytes]], value: bytes
) -> None:
    kept = Letters()
    record = Record("frames", 3, 17, NOW, key, value, tuple(headers))
    await DeadLetters(kept, "scorer").send(record, why)  # type: ignore[arg-type]
    (letter,) = kept.sent
    assert (letter.partition, letter.offset, letter.body) == (3, 17, value)
    for text in (letter.recordkey, letter.why, letter.recordheaders):
        assert not any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_mutation_of_a_valid_record_makes_a_decoder_fail_otherwise(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(EVENTS))
    message = encode(EXAMPLES[kind], source="/test")
    headers = list(message.headers)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(headers) - 1))
        headers[place] = (headers[place][0], data.draw(st.binary(max_size=40)))
    value = bytearray(message.value)
    for _ in range(data.draw(st.integers(0, 4)) if value else 0):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        found, _ = decode(headers, bytes(value), *EVENTS)
    except EventError:
        return
    again = encode(found, source="/test")
    # What was left out of a frame (`identity_fault`) does not travel on with it; every field does.
    assert decode(again.headers, again.value, *EVENTS)[0].model_dump() == found.model_dump()


def test_numbers_that_no_instrument_measures_are_refused_before_they_spoil_a_mean() -> None:
    assert unmeasurable(VERDICT) is None
    for name in ("score", "ratio", "threshold"):
        assert f"the {name} of 1e+300" in (unmeasurable(VERDICT.model_copy(update={name: 1e300})) or "")


def test_a_flood_of_reasons_is_counted_under_one_word() -> None:
    window = Window(0, 60)
    for number in range(1000):
        window.add(EXAMPLES[Verdict].model_copy(update={"decision": "unscored", "reason": f"reason {number}"}))
    assert len(window.unscored) <= 33
    assert sum(window.unscored.values()) == 1000
    assert math.isfinite(window.pass_ratio.mean)
