"""Profiles B and C against the simulated PLC: what the bridge can do so that silence passes nothing bad."""

import asyncio

import pytest
from bridged_cell import alternate, cell, line_of, simulated, until

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.line_status import LinkState
from neverblink.events import Decision, GateAction, Outcome
from neverblink.plc.contract import BridgeState, LineState, ProfileName
from neverblink.simulation.plc.simulator import PlcSimulator

PROFILES: tuple[ProfileName, ...] = ("mailbox", "method")
both = pytest.mark.parametrize("profile", PROFILES)


@both
async def test_a_part_that_nobody_judged_in_time_is_told_as_not_good_and_every_other_as_judged(
    profile: ProfileName,
) -> None:
    async with cell(simulated(profile=profile), lambda t: None if t.number == 5 else alternate(t)) as made:
        await made.simulator.run_conveyor(20)
        await made.idle()
        assert made.truth() == {n: "rejected" if n % 3 == 0 or n == 5 else "passed" for n in range(1, 21)}
        assert made.told() == dict.fromkeys(range(1, 21), Outcome.CONFIRMED)
        assert made.simulator.value("CntSilent") == 0
        (unjudged,) = [e for e in made.events if e.stage == "told" and e.tracking.number == 5]
        assert unjudged.decision is Decision.UNSCORED
        assert unjudged.detail == "no verdict of top by the deadline, so it was told as not good"
        assert unjudged.slack_ms is not None
        assert not any(event.incident for event in made.events)


@both
async def test_what_is_not_answered_is_repeated_and_no_confirmed_reject_passes(profile: ProfileName) -> None:
    async with cell(simulated(profile=profile, rate_per_s=10.0), lambda t: Decision.REJECT) as made:
        await made.simulator.run_conveyor(12)
        await asyncio.sleep(0.4)
        made.simulator.mute(0.35)
        await asyncio.sleep(0.5)
        made.simulator.fail_writes(2)
        await made.simulator.drop_connections()
        await made.idle()
        confirmed = {number for number, outcome in made.told().items() if outcome is Outcome.CONFIRMED}
        assert confirmed <= {number for number, action in made.truth().items() if action == "rejected"}
        assert len(confirmed) > 1
        assert set(made.told()) == set(range(1, 13))
        attempts = {e.tracking.number: e.attempts for e in made.events if e.stage == "told"}
        assert max(attempts.values()) > 1


@both
async def test_an_answer_that_comes_too_late_is_late_and_the_pass_an_incident(profile: ProfileName) -> None:
    async with cell(simulated(profile=profile, rate_per_s=5.0), lambda t: Decision.REJECT) as made:
        made.simulator.mute(1.5)
        await made.simulator.run_conveyor(1)
        await made.idle()
        assert made.truth() == {1: "passed"}
        assert made.simulator.value("CntSilent") == 1
        assert made.told() == {1: Outcome.UNKNOWN}
        (gate,) = [e for e in made.events if e.stage == "gate"]
        assert (gate.gate, gate.incident) == (GateAction.PASSED, True)


@both
async def test_nothing_is_told_across_an_epoch(profile: ProfileName) -> None:
    async with cell(simulated(profile=profile), alternate) as made:
        await made.simulator.run_conveyor()
        await asyncio.sleep(0.8)
        await made.simulator.new_epoch()
        await asyncio.sleep(1.2)
        await made.simulator.run_conveyor(10)
        await made.idle()
        newest = [e for e in made.simulator.gated if e["epoch"] == 2][-10:]
        for entry in newest:
            rejected = made.decided[2, entry["number"]] is Decision.REJECT
            assert entry["action"] == ("rejected" if rejected else "passed")


async def test_a_bridge_that_stops_rejects_what_it_has_not_judged_and_then_the_line_stops() -> None:
    async with cell(simulated(profile="mailbox", rate_per_s=10.0, watchdog_ms=500), lambda t: None) as made:
        await made.simulator.run_conveyor()
        await asyncio.sleep(0.55)
        await made.simulator.put("Conveyor.Run", False)
        await asyncio.sleep(0.15)
        triggered = made.simulator.value("LastTriggered")
        made.stop.set()
        await until(lambda: made.simulator.value("BridgeState") == BridgeState.STOPPING, 5)
        await until(lambda: len(made.truth()) == triggered, 5)
        assert set(made.truth().values()) == {"rejected"}
        await until(lambda: made.simulator.value("LineState") == LineState.HALTED, 5)
        assert not made.simulator.value("Permit")


async def test_without_a_bridge_and_without_the_plcs_own_watch_every_part_passes() -> None:
    """What these profiles cannot do: the reason why a plant file must accept them."""
    line = simulated(profile="mailbox", rate_per_s=10.0, stop_without_bridge=False, running=True, parts=5)
    async with PlcSimulator(line) as simulator:
        await until(lambda: len(simulator.gated) == 5, 10)
        assert {entry["action"] for entry in simulator.gated} == {"passed"}
        assert simulator.value("CntSilent") == 5


async def test_a_program_without_gate_records_and_counters_is_served_all_the_same() -> None:
    absent = frozenset({"GateRing", "CntPass", "CntReject", "CntSilent", "CntConfirmFail", "Permit", "LineState"})
    async with cell(simulated(profile="method", absent=absent), alternate) as made:
        await made.simulator.run_conveyor(6)
        await until(lambda: len(made.truth()) == 6, 10)
        assert made.truth() == {n: "rejected" if n % 3 == 0 else "passed" for n in range(1, 7)}
        assert set(made.told().values()) == {Outcome.CONFIRMED}


async def test_a_part_that_the_plc_has_rejected_for_another_is_reported_with_its_answer() -> None:
    async with cell(simulated(profile="method"), lambda t: Decision.PASS, delay_s=0.3) as made:
        await made.simulator.run_conveyor(1)
        await until(lambda: made.simulator.value("LastTriggered") == 1, 5)
        made.simulator._told.call(1, 12345, 1, 2)
        await made.idle()
        (told,) = [e for e in made.events if e.stage == "told"]
        assert (told.outcome, told.detail) == (
            Outcome.FAILED,
            "the PLC says that this part was told as a reject before",
        )


async def test_a_line_is_refused_while_its_mailbox_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    async with PlcSimulator(simulated(profile="mailbox", absent=frozenset({"AckWord"}))) as simulator:
        session, stop = LineSession(line_of(simulator), lambda event, trace: None, instruments()), asyncio.Event()
        task = asyncio.create_task(session.run(stop))
        await until(lambda: session.state is LinkState.REFUSED, 5)
        stop.set()
        await task
    assert "node s=VisionReject.AckWord (AckWord) does not exist" in caplog.text


async def test_a_simulated_line_that_stood_without_its_bridge_is_released_once_the_bridge_permits_it() -> None:
    there = simulated(profile="mailbox", running=True, watchdog_ms=300.0, reset_after_s=0.2)
    async with PlcSimulator(there) as simulator:
        await simulator.put("BridgeState", BridgeState.READY)
        beating = asyncio.Event()
        beating.set()

        async def beat() -> None:
            while True:
                await beating.wait()
                await simulator.put("BridgeHb", simulator.value("BridgeHb") + 1)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(beat())
        try:
            await until(lambda: bool(simulator.value("Permit")), 5)
            beating.clear()
            await until(lambda: bool(simulator.value("StopRequest")), 5)
            beating.set()
            await until(lambda: not simulator.value("StopRequest") and bool(simulator.value("Conveyor.Run")), 5)
        finally:
            task.cancel()
