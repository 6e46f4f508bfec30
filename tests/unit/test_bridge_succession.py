"""A bridge that begins where another was killed: who told what, and whose outcome is still owed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.succession import READ_AGAIN_S, _shares
from neverblink.events import (
    Actuation,
    ArtifactRef,
    Decision,
    Outcome,
    Times,
    Tracking,
    Verdict,
    encode,
)
from neverblink.events.identity import actuation_id
from neverblink.kafka import Record
from neverblink.plant import EXAMPLE, parse_plant

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LINE = parse_plant(EXAMPLE).lines[0]
LEAD = timedelta(seconds=LINE.timing.lead_s)


def told(number: int, at: datetime, epoch: int = 1) -> Actuation:
    return Actuation(
        id=actuation_id(LINE.name, epoch, number, "told"),
        line=LINE.name,
        tracking=Tracking(epoch=epoch, number=number),
        stage="told",
        verdicts=(f"v-{number}",),
        decision=Decision.PASS,
        code=1,
        outcome=Outcome.CONFIRMED,
        at=at,
        deadline=at + timedelta(seconds=0.3),
        trigger_to_told_ms=200.0,
    )


def record(event: Actuation) -> Record:
    message = encode(event, source="/test/bridge")
    return Record("actuations", 0, 0, event.at, event.key, message.value, tuple(message.headers))


def verdict(number: int, captured: datetime) -> Verdict:
    return Verdict(
        id=f"v-{number}",
        frame_id=f"f-{number}",
        line=LINE.name,
        station=LINE.stations[0].name,
        product="pcb",
        part=str(number),
        seq=number,
        tracking=Tracking(epoch=1, number=number),
        decision=Decision.PASS,
        score=0.5,
        threshold=1.0,
        ratio=0.5,
        artifact=ArtifactRef(name="pcb", version="1", digest="sha256:" + "0" * 64),
        times=Times(captured=captured, emitted=captured),
        deadline=captured + timedelta(seconds=LINE.timing.budget_s),
    )


def test_verdicts_younger_than_the_last_outcome_are_read_again() -> None:
    last = NOW - timedelta(seconds=10)
    shares = _shares([record(told(1, last - timedelta(seconds=1))), record(told(2, last))], True, [LINE], NOW)
    assert [event.tracking.number for event in shares[LINE.name].told] == [1, 2]
    assert last - LEAD - timedelta(seconds=2) < shares[LINE.name].since < last - LEAD


def test_after_a_long_time_only_the_latest_are_read_again() -> None:
    shares = _shares([record(told(1, NOW - timedelta(days=3)))], True, [LINE], NOW)
    assert shares[LINE.name].since == NOW - timedelta(seconds=READ_AGAIN_S)


def test_what_was_told_before_the_records_that_were_read_is_not_told_again() -> None:
    last = NOW - timedelta(seconds=20)
    shares = _shares([record(told(1, last)), record(told(2, last))], False, [LINE], NOW)
    assert shares[LINE.name].since == last


def test_a_quick_successor_begins_at_the_parts_on_the_belt_at_the_latest() -> None:
    shares = _shares([record(told(1, NOW))], False, [LINE], NOW)
    assert shares[LINE.name].since <= NOW - LEAD


def test_a_part_with_an_outcome_gets_no_second_one_and_a_part_without_gets_unknown() -> None:
    events: list[Any] = []
    session = LineSession(LINE, lambda event, trace: events.append(event), instruments(), clock=NOW.timestamp)
    killed = NOW - timedelta(seconds=30)
    session.succeed([told(7, killed)])
    session.take(verdict(7, killed - timedelta(seconds=0.2)), {})
    session.take(verdict(8, killed - timedelta(seconds=0.1)), {})
    (owed,) = events
    assert (owed.tracking.number, owed.outcome) == (8, Outcome.UNKNOWN)
    assert owed.detail == "the verdict was due before this bridge started"
