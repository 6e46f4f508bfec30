"""Events travel whole, and what is not an event of ours is refused with a sentence."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.events import Decision, EventError, Frame, Review, Times, Verdict, decode, encode
from neverblink.events.envelope import MAX_HEADER_BYTES, MAX_JSON_BYTES
from neverblink.events.examples import examples
from neverblink.events.identity import frame_id, shadow_verdict_id, verdict_id

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
VERDICT = next(event for event in examples() if isinstance(event, Verdict))
FRAME = next(event for event in examples() if isinstance(event, Frame))

names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
instants = st.datetimes(
    min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-7))]),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    line=names,
    part=st.text(min_size=1, max_size=128).filter(lambda text: text.isprintable()),
    captured=instants,
    body=st.binary(min_size=1, max_size=2000),
    epoch=st.none() | st.integers(0, 0xFFFF),
    brightness=st.none() | st.floats(0, 1),
    holdout=st.booleans(),
)
def test_a_frame_comes_back_as_it_was_sent(captured: datetime, body: bytes, **fields: Any) -> None:
    frame = Frame.model_validate(
        {**FRAME.model_dump(), **fields, "captured": captured, "body": body, "size": len(body)}
    )
    message = encode(frame, source="/plant-1/camera")
    again, envelope = decode(message.headers, message.value, Frame)
    assert again == frame
    assert envelope.time == captured


@settings(max_examples=50, deadline=None)
@given(
    score=st.floats(0, 1e6), threshold=st.floats(1e-6, 1e6), captured=instants,
    decision=st.sampled_from([Decision.PASS, Decision.REJECT]),
)  # fmt: skip
def test_a_verdict_comes_back_to_the_last_bit(score: float, captured: datetime, **fields: Any) -> None:
    verdict = Verdict.model_validate(
        {**VERDICT.model_dump(), **fields, "score": score, "times": Times(captured=captured)}
    )
    message = encode(verdict, source="/plant-1/scorer")
    assert decode(message.headers, message.value, Verdict)[0] == verdict


@settings(max_examples=100, deadline=None)
@given(headers=st.lists(st.tuples(st.text(max_size=30), st.binary(max_size=50))), value=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(headers: list[tuple[str, bytes]], value: bytes) -> None:
    with pytest.raises(EventError):
        decode(headers, value, Verdict, Review)


@settings(max_examples=100, deadline=None)
@given(value=st.binary(max_size=300) | st.sampled_from([b"null", b"[]", b"{}", b'{"id":1}', b"\xff", b"1e999"]))
def test_a_good_envelope_with_any_value_is_read_or_refused_with_a_sentence(value: bytes) -> None:
    with pytest.raises(EventError):
        decode(encode(VERDICT, source="/x").headers, value, Verdict)


def test_a_record_without_cloudevents_headers_says_which_are_missing() -> None:
    with pytest.raises(EventError, match="no CloudEvents header ce_specversion, ce_id, ce_source, ce_type"):
        decode([], b"{}", Verdict)


def test_another_events_type_is_named_with_those_that_would_do() -> None:
    message = encode(FRAME, source="/x")
    with pytest.raises(EventError, match=r"'neverblink.frame.v1'; this reader knows neverblink.verdict.v1"):
        decode(message.headers, message.value, Verdict)


def test_an_id_that_differs_from_its_header_is_refused() -> None:
    message = encode(VERDICT, source="/x")
    headers = [(name, b"other" if name == "ce_id" else raw) for name, raw in message.headers]
    with pytest.raises(EventError, match="they must be equal"):
        decode(headers, message.value, Verdict)


def test_oversized_headers_and_values_are_refused_before_they_are_parsed() -> None:
    message = encode(VERDICT, source="/x")
    with pytest.raises(EventError, match="the bound is"):
        decode([*message.headers, ("ce_note", b"x" * (MAX_HEADER_BYTES + 1))], message.value, Verdict)
    with pytest.raises(EventError, match="over the bound"):
        decode(message.headers, b" " * (MAX_JSON_BYTES + 1), Verdict)


def test_a_late_verdict_cannot_pass_a_part() -> None:
    with pytest.raises(ValueError, match="a late verdict must not pass a part"):
        Verdict.model_validate({**VERDICT.model_dump(), "decision": "pass", "late": True})


def test_an_unscored_verdict_must_say_why() -> None:
    with pytest.raises(ValueError, match="must state its reason"):
        Verdict.model_validate({**VERDICT.model_dump(), "decision": "unscored", "reason": None})


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        Verdict.model_validate({**VERDICT.model_dump(), "deadline": "2026-03-02T12:00:00"})


def test_a_frame_scored_twice_has_one_verdict_id_and_a_shadow_another() -> None:
    frame = frame_id(NOON)
    assert verdict_id(frame) == verdict_id(frame)
    ids = {verdict_id(frame), shadow_verdict_id(frame, "sha256:a", "shadow-model"), shadow_verdict_id(frame, None, "x")}
    assert len(ids) == 3


def test_frame_ids_sort_by_capture_instant() -> None:
    ids = [frame_id(NOON + timedelta(milliseconds=step)) for step in range(50)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
