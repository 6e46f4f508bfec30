"""A line on hold against a simulated PLC: rejected and known, nobody's trouble, and released again."""

import asyncio
from datetime import UTC, datetime

import pytest
from bridged_cell import cell, simulated, until

from neverblink.events import GateAction, Hold, Outcome
from neverblink.events.hold import BYPASS, HELD, PEOPLE, RELEASED
from neverblink.plc.contract import Alarm, Code, LineHold

PROFILES = ["verdict-table", "mailbox", "method"]


def said(state: str) -> Hold:
    now = datetime.now(UTC)
    return Hold(id=str(now), line="line-1", source=PEOPLE, state=state, at=now, by="m.okafor", why="a new blade")


@pytest.mark.parametrize("profile", PROFILES)
async def test_parts_of_a_held_line_are_rejected_as_held_and_count_as_nobodys_trouble(profile: str) -> None:
    async with cell(simulated(profile=profile)) as made:
        made.session.hear(said(HELD))
        await made.simulator.run_conveyor(8)
        await made.idle()
        assert set(made.truth().values()) == {"rejected"}, (
            "by a word, so that no count of fail-safe rejects stops the line"
        )
        told = {event.tracking.number: event for event in made.events if event.stage == "told"}
        assert {event.code for event in told.values()} == {Code.HELD}
        assert {event.outcome for event in told.values()} == {Outcome.CONFIRMED}
        await until(lambda: made.simulator.value("AlarmWord") == Alarm.HELD, 2)
        assert made.simulator.value("LateCount") == 0
        made.session.hear(said(RELEASED))
        await until(lambda: made.simulator.value("AlarmWord") == 0, 2)
        await asyncio.sleep(0.3)
        await made.simulator.run_conveyor(4)
        await made.idle()
        assert [made.truth()[number] for number in range(9, 13)] == ["passed"] * 4


async def test_a_line_that_its_cameras_are_off_for_is_silent_on_hold() -> None:
    async with cell(simulated(), judge=lambda trigger: None) as made:
        made.session.hear(said(HELD))
        await made.simulator.run_conveyor(5)
        await made.idle()
        assert set(made.truth().values()) == {"rejected"}
        assert made.simulator.value("LateCount") == 0


async def test_the_plc_puts_its_line_on_hold_and_back() -> None:
    async with cell(simulated()) as made:
        await made.simulator.put("LineHold", LineHold.HOLD)
        await until(lambda: made.simulator.value("AlarmWord") == Alarm.HELD, 2)
        await made.simulator.run_conveyor(4)
        await made.idle()
        assert set(made.truth().values()) == {"rejected"}
        assert [hold.state for hold in made.holds] == [RELEASED, HELD]
        await made.simulator.put("LineHold", LineHold.NONE)
        await until(lambda: made.simulator.value("AlarmWord") == 0, 2)
        await asyncio.sleep(0.3)
        await made.simulator.run_conveyor(3)
        await made.idle()
        assert [made.truth()[number] for number in range(5, 8)] == ["passed"] * 3


async def test_a_gate_in_bypass_is_told_and_its_passes_are_no_incident() -> None:
    from neverblink.events import Decision

    async with cell(simulated(), judge=lambda trigger: Decision.REJECT) as made:
        await made.simulator.put("LineHold", LineHold.BYPASS)
        await until(lambda: [hold.state for hold in made.holds] == [RELEASED, BYPASS], 2)
        await made.simulator.run_conveyor(3)
        await made.idle()
        gated = [event for event in made.events if event.stage == "gate"]
        assert {event.gate for event in gated} == {GateAction.PASSED}
        assert not any(event.incident for event in gated)
        assert all("bypass" in (event.detail or "") for event in gated)
        assert made.simulator.value("AlarmWord") == 0


async def test_a_program_without_the_node_is_served_as_before() -> None:
    async with cell(simulated(absent=frozenset({"LineHold"}))) as made:
        await made.simulator.run_conveyor(3)
        await made.idle()
        assert set(made.truth().values()) == {"passed"}
        assert made.holds == []
