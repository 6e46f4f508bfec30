"""Stations of one part decide together, once."""

from datetime import UTC, datetime, timedelta

from neverblink.bridge.gate_feedback import GateEvent
from neverblink.bridge.outcome_reports import gate_report, told_report
from neverblink.bridge.part_tracking import Effect, PartDecision, PartTracking, inherited
from neverblink.bridge.scheduler import Order, Told
from neverblink.events import ArtifactRef, Decision, GateAction, Identity, Outcome, Times, Tracking, Verdict
from neverblink.events.identity import verdict_id
from neverblink.plc.contract import Code

START = datetime(2026, 1, 1, tzinfo=UTC)
T0 = START.timestamp()


def verdict(
    station: str = "top", decision: Decision = Decision.PASS, number: int = 7, *, frame: str | None = None
) -> Verdict:
    scored = decision is not Decision.UNSCORED
    return Verdict(
        id=verdict_id(frame or f"{station}-{number}"),
        frame_id=frame or f"{station}-{number}",
        line="line-1",
        station=station,
        product="pcb",
        part=f"line-1-1-{number}",
        seq=number,
        tracking=Tracking(epoch=1, number=number),
        decision=decision,
        reason=None if scored else "late",
        score=0.5 if scored else None,
        threshold=1.0 if scored else None,
        ratio=0.5 if scored else None,
        artifact=ArtifactRef(name="pcb", version="1", digest="sha256:" + "0" * 64) if scored else None,
        times=Times(captured=START),
        deadline=START + timedelta(seconds=1),
    )


def tracking(*stations: str) -> PartTracking:
    return PartTracking(stations or ("top",), budget_s=1.0)


def add(parts: PartTracking, given: Verdict) -> tuple[Effect, PartDecision | None]:
    return parts.add(given, T0 + 1.0, {"traceparent": "00-1"})


def test_one_station_decides_alone() -> None:
    effect, decision = add(tracking(), verdict())
    assert effect is Effect.DECIDED
    assert decision is not None
    assert (decision.decision, decision.code, decision.trace) == (
        Decision.PASS,
        Code.PASS,
        {"traceparent": "00-1"},
    )


def test_a_part_is_released_only_when_every_station_passed_it() -> None:
    parts = tracking("top", "bottom")
    assert add(parts, verdict("top")) == (Effect.WAITING, None)
    _, decision = add(parts, verdict("bottom"))
    assert decision is not None
    assert decision.code == Code.PASS
    assert len(decision.verdicts) == 2


def test_one_reject_decides_at_once_and_a_later_pass_changes_nothing() -> None:
    parts = tracking("top", "bottom")
    _, decision = add(parts, verdict("top", Decision.REJECT))
    assert decision is not None
    assert decision.code == Code.REJECT
    assert add(parts, verdict("bottom")) == (Effect.SUPERSEDED, None)


def test_a_station_that_speaks_twice_of_a_part_is_told_from_one_that_is_only_overruled() -> None:
    parts = tracking("top", "bottom")
    assert add(parts, verdict("top"))[0] is Effect.WAITING
    assert add(parts, verdict("top"))[0] is Effect.DUPLICATE
    assert add(parts, verdict("top", frame="another"))[0] is Effect.SPOKEN_TWICE
    assert add(parts, verdict("bottom"))[0] is Effect.DECIDED
    assert add(parts, verdict("bottom", Decision.REJECT, frame="yet another"))[0] is Effect.SPOKEN_TWICE


def test_an_unscored_frame_never_releases_its_part() -> None:
    _, decision = add(tracking("top", "bottom"), verdict("top", Decision.UNSCORED))
    assert decision is not None
    assert decision.code == Code.UNSURE


def test_what_the_plc_was_told_and_what_its_gate_did_carry_the_parts_identity() -> None:
    parts, serial = tracking("top", "bottom"), Identity(serial="SN-7")
    add(parts, verdict("top"))
    _, decision = add(parts, verdict("bottom").model_copy(update={"identity": serial}))
    assert decision is not None
    told = told_report("line-1", decision, Told(Order(1, 7, Code.PASS, T0 + 1, T0), Outcome.CONFIRMED, T0, 1))
    gate = gate_report("line-1", GateEvent(1, 7, GateAction.PASSED, True), decision, ours=True, now=T0)
    assert told.identity == gate.identity == serial
    assert inherited(told).identity == serial


def test_the_same_verdict_twice_has_no_second_effect() -> None:
    parts = tracking("top", "bottom")
    add(parts, verdict("top"))
    assert add(parts, verdict("top")) == (Effect.DUPLICATE, None)
    add(parts, verdict("bottom"))
    assert add(parts, verdict("bottom")) == (Effect.DUPLICATE, None)


def test_a_missing_station_leaves_the_part_to_the_fail_safe_and_is_named() -> None:
    parts = tracking("top", "bottom")
    add(parts, verdict("top"))
    assert parts.expire(T0 + 0.999) == []
    (decision,) = parts.expire(T0 + 1.0)
    assert decision.decision is Decision.UNSCORED
    assert decision.missing == ("bottom",)
    assert add(parts, verdict("bottom")) == (Effect.LATE, None)


def test_a_part_that_nobody_photographed_is_reported_too() -> None:
    parts = tracking()
    parts.triggered(1, 6, T0, at_most=64)
    parts.triggered(1, 8, T0, at_most=64)
    assert [decision.number for decision in parts.expire(T0 + 1.0)] == [7, 8]


def test_a_decided_part_is_not_reported_as_missing() -> None:
    parts = tracking()
    parts.triggered(1, 6, T0, at_most=64)
    add(parts, verdict(number=7))
    parts.triggered(1, 7, T0, at_most=64)
    assert parts.expire(T0 + 100) == []


def test_a_verdict_of_a_station_that_the_line_lacks_decides_nothing() -> None:
    assert add(tracking("top"), verdict("side", Decision.PASS)) == (Effect.FOREIGN_STATION, None)


def test_a_new_epoch_abandons_the_parts_of_the_old_one() -> None:
    parts = tracking("top", "bottom")
    add(parts, verdict("top"))
    (decision,) = parts.abandon(but_epoch=2)
    assert (decision.epoch, decision.number) == (1, 7)
    assert list(parts.abandon(but_epoch=2)) == []


def test_a_new_epoch_that_has_passed_the_old_number_before_we_look_opens_all_its_parts() -> None:
    parts = tracking()
    parts.triggered(1, 9, T0, 64)
    parts.triggered(2, 12, T0, 64)
    assert [(part.epoch, part.number) for part in parts.expire(T0 + 1.1)] == [(2, number) for number in range(1, 13)]


def test_a_long_absence_opens_no_more_parts_than_can_be_on_the_belt() -> None:
    parts = tracking()
    parts.triggered(1, 0, T0, at_most=64)
    assert parts.triggered(1, 1000, T0, at_most=64) == 936
    assert parts.open_parts == 64
