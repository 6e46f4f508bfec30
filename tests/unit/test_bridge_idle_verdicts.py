"""A verdict of which the PLC hears nothing is told with its reason, and the reason is the right one."""

from datetime import UTC, datetime, timedelta

import pytest

from neverblink import telemetry
from neverblink.bridge.idle_verdicts import IdleVerdicts
from neverblink.bridge.instruments import instruments
from neverblink.bridge.part_tracking import Effect
from neverblink.events import Decision, Reason, Times, Verdict
from neverblink.events.identity import verdict_id
from neverblink.plant import Line, Plc, SimulatedSource, Station, TimerTrigger, Timing
from neverblink.plant import PlcTrigger as TriggerSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = SimulatedSource(kind="simulated", drawing="pcb")
LINE = Line(
    name="line-1",
    timing=Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50),
    plc=Plc.model_validate(
        {"endpoint": "opc.tcp://127.0.0.1:1", "security": {"policy": "None", "allow_insecure": True}}
    ),
    stations=(
        Station(name="top", product="pcb", source=SOURCE, trigger=TriggerSettings(kind="plc")),
        Station(name="bench", product="pcb", source=SOURCE, trigger=TimerTrigger(kind="timer", rate_per_s=1)),
    ),
)


def untracked(station: str, reason: Reason = Reason.BAD_EVENT) -> Verdict:
    return Verdict(
        id=verdict_id("frame"),
        frame_id="frame",
        line="line-1",
        station=station,
        product="pcb",
        part="line-1/?",
        seq=1,
        decision=Decision.UNSCORED,
        reason=reason,
        times=Times(captured=NOW),
        deadline=NOW + timedelta(seconds=1),
    )


@pytest.fixture
def idle() -> IdleVerdicts:
    return IdleVerdicts(LINE, instruments(), telemetry.Recurring(telemetry.logger("bridge")))


def test_a_record_that_cannot_be_read_is_not_blamed_on_the_trigger(
    idle: IdleVerdicts, caplog: pytest.LogCaptureFixture
) -> None:
    idle.count_untracked(untracked("top"))
    assert "a frame of line-1/top could not be read as far as its part number (bad-event)" in caplog.text
    assert "the dead letters have the record" in caplog.text
    assert "let it trigger the station" not in caplog.text


def test_a_station_that_the_plc_does_not_trigger_is_told_so(
    idle: IdleVerdicts, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        idle.count_untracked(untracked("bench"))
    assert caplog.text.count("let it trigger the station (trigger: {kind: plc})") == 3  # the 1st, 2nd and 4th
    assert "could not be read" not in caplog.text


def test_a_second_verdict_of_a_station_is_told_and_one_that_another_station_overruled_is_not(
    idle: IdleVerdicts, caplog: pytest.LogCaptureFixture
) -> None:
    idle.count(Effect.SUPERSEDED, untracked("top"))
    idle.count(Effect.DECIDED, untracked("top"))
    assert "had no effect" not in caplog.text
    idle.count(Effect.SPOKEN_TWICE, untracked("top"))
    assert "its station had spoken of that part before, and the first verdict stands" in caplog.text
