"""What a line says of itself and of its PLC: degraded after trouble, alarms for a while, a silent program once."""

import pytest

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_status import ALARM_HOLD_S, DEGRADED_AFTER, LineStatus, LinkState
from neverblink.bridge.plc_watch import PLC_HEARTBEAT_S, PlcWatch
from neverblink.bridge.profile import Look
from neverblink.bridge.scheduler import PlcView
from neverblink.events import Outcome
from neverblink.plc.contract import Alarm, BridgeState


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def status_of(clock: Clock) -> LineStatus:
    status = LineStatus("line-1", "opc.tcp://plc:4840", instruments(), clock)
    status.enter(LinkState.READY)
    return status


def look(heartbeat: int, *, stop: bool = False) -> Look:
    return Look(PlcView(1, 7, 64, 0.0), 0.5, 1, True, stop, heartbeat, (), {"CntPass": 3})


def test_parts_in_a_row_that_were_not_told_degrade_the_line_and_the_next_one_mends_it() -> None:
    status = status_of(Clock())
    for number in range(DEGRADED_AFTER):
        assert status.state is LinkState.READY
        status.count(Outcome.LATE, number)
    assert (status.state, status.is_served) == (LinkState.DEGRADED, True)
    assert status.words()["BridgeState"] == BridgeState.DEGRADED
    assert f"{DEGRADED_AFTER} parts in a row" in status.sentence
    status.count(Outcome.CONFIRMED, DEGRADED_AFTER)
    assert (status.state, status.sentence) == (LinkState.READY, "")


def test_an_alarm_is_shown_for_a_while_and_an_incident_until_the_bridge_ends() -> None:
    clock = Clock()
    status = status_of(clock)
    status.count(Outcome.UNKNOWN, 41)
    status.alarm(Alarm.INCIDENT, float("inf"))
    shown = status.words()
    assert (shown["LateCount"], shown["LateLastPart"], shown["AlarmWord"]) == (1, 41, Alarm.UNKNOWN + Alarm.INCIDENT)
    clock.now += ALARM_HOLD_S + 0.1
    assert status.words()["AlarmWord"] == Alarm.INCIDENT


def test_why_a_line_is_not_served_is_told_once_for_as_long_as_it_stays_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = status_of(Clock())
    for sentence in ("no answer", "no answer", "no free session"):
        status.enter(LinkState.CONNECTING)
        status.enter(LinkState.DOWN, sentence)
    assert [record.getMessage() for record in caplog.records] == ["no answer", "no free session"]
    assert status.sentence == "no free session"


def test_a_plc_whose_heartbeat_stands_is_told_of_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    watch, now = PlcWatch("line-1", instruments()), 1000.0
    with caplog.at_level("INFO", logger="neverblink"):
        for _ in range(4):
            watch.look(look(5), None, {}, now)
            now += PLC_HEARTBEAT_S
        watch.look(look(6), None, {}, now)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "PlcHb has not moved for 2 s",
        "the PLC's program runs again",
    ]


def test_a_stop_that_the_plc_asks_for_is_told_when_it_changes_and_never_of_the_first_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch, before = PlcWatch("line-1", instruments()), None
    for number, stop in enumerate((True, True, False)):
        seen = look(number, stop=stop)
        watch.look(seen, before, {}, 1000.0 + number)
        before = seen
    assert [record.getMessage() for record in caplog.records] == ["the PLC's stop was reset"]
