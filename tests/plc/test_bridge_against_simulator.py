"""The bridge's line session against the simulated PLC: what a PLC programmer would check at the gate."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bridged_cell import TIMING, alternate, cell, line_of, simulated, until, verdict

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.line_status import LinkState
from neverblink.events import Decision, GateAction, Outcome
from neverblink.plc.contract import BridgeState, LineState
from neverblink.plc.errors import EpochError
from neverblink.plc.trigger import PlcTrigger
from neverblink.simulation.plc.simulator import PlcSimulator


async def test_the_gate_does_to_every_part_what_its_verdict_says() -> None:
    async with cell(simulated(), alternate) as made:
        await made.simulator.run_conveyor(60)
        await made.idle()
        expected = {n: "rejected" if n % 3 == 0 else "passed" for n in range(1, 61)}
        assert made.truth() == expected
        assert made.told() == dict.fromkeys(range(1, 61), Outcome.CONFIRMED)
        assert {n: str(action) for n, action in made.gate().items()} == expected
        assert not any(event.incident for event in made.events)
        slack = [e.slack_ms for e in made.events if e.slack_ms is not None]
        assert len(slack) == 60
        assert min(slack) > 0


async def test_every_part_has_exactly_one_told_and_one_gate_event_with_its_decision() -> None:
    async with cell(simulated(), alternate) as made:
        await made.simulator.run_conveyor(30)
        await made.idle()
    stages = sorted((e.tracking.number, e.stage) for e in made.events)
    assert stages == sorted((n, stage) for n in range(1, 31) for stage in ("told", "gate"))
    assert len({e.id for e in made.events}) == 60
    for event in made.events:
        assert event.decision is made.decided[1, event.tracking.number]
        assert len(event.verdicts) == 1


async def test_silence_rejects_the_part_and_is_reported() -> None:
    async with cell(simulated(), lambda t: None if t.number == 5 else Decision.PASS) as made:
        await made.simulator.run_conveyor(10)
        await made.idle()
        assert made.truth()[5] == "fail-safe"
        assert made.told()[5] is Outcome.LATE
        assert made.gate()[5] is GateAction.FAIL_SAFE
        assert [n for n, action in made.truth().items() if action != "passed"] == [5]
        (event,) = [e for e in made.events if e.outcome is Outcome.LATE]
        assert "no verdict of top" in (event.detail or "")


async def test_an_unscored_part_is_not_released() -> None:
    async with cell(simulated(), lambda t: Decision.UNSCORED) as made:
        await made.simulator.run_conveyor(5)
        await made.idle()
        assert set(made.truth().values()) == {"rejected"}


async def test_a_late_verdict_never_reaches_the_next_part() -> None:
    # Four slots: the part that comes four later uses the same slot. Every verdict comes after its gate.
    async with cell(simulated(slots=4, rate_per_s=5.0), delay_s=0.85) as made:
        await made.simulator.run_conveyor(20)
        await made.idle()
        await asyncio.sleep(0.2)
        assert set(made.truth().values()) == {"fail-safe"}
        assert set(made.told().values()) == {Outcome.LATE}
        assert made.simulator.value("LateCount") == 20
        assert made.simulator.value("BridgeState") == BridgeState.DEGRADED


async def test_late_by_little_is_still_told_or_late_but_never_a_wrong_part() -> None:
    async with cell(simulated(slots=32), alternate, delay_s=TIMING.budget_s - 0.05) as made:
        await made.simulator.run_conveyor(40)
        await made.idle()
        assert made.no_defect_passed()
        assert len(made.told()) == 40


async def test_several_stations_release_a_part_only_together() -> None:
    async with cell(simulated(), alternate, stations=("top", "bottom")) as made:
        await made.simulator.run_conveyor(15)
        await made.idle()
        assert made.truth() == {n: "rejected" if n % 3 == 0 else "passed" for n in range(1, 16)}
        assert all(len(e.verdicts) == 2 for e in made.events if e.decision is Decision.PASS)


async def test_a_restarted_plc_gets_nothing_of_the_epoch_before() -> None:
    async with cell(simulated(), alternate) as made:
        await made.simulator.run_conveyor()
        await asyncio.sleep(1.5)
        await made.simulator.restart()
        # By then camera and bridge are back, and parts of the new epoch flow.
        await asyncio.sleep(3.0)
        await made.simulator.run_conveyor(30)
        await made.idle()
        newest = [e for e in made.simulator.gated if e["epoch"] == 2][-30:]
        assert made.no_defect_passed()
        assert {e["action"] for e in newest} == {"passed", "rejected"}
        assert not any(e.incident for e in made.events)
        numbers = [(e.tracking.epoch, e.tracking.number) for e in made.events if e.stage == "told"]
        assert len(numbers) == len(set(numbers))
        failed = [e for e in made.events if e.outcome is Outcome.FAILED]
        assert all(e.tracking.epoch == 1 or "away" in (e.detail or "") for e in failed)


async def test_a_stalled_server_delays_words_but_never_misdirects_them() -> None:
    # 8 parts a second: the ring keeps what the gate did while nobody could read it.
    async with cell(simulated(watchdog_ms=600, rate_per_s=8.0), alternate) as made:
        await made.simulator.run_conveyor()
        for seconds in (0.3, 1.4):
            await asyncio.sleep(0.8)
            await made.simulator.stall(seconds)
        await asyncio.sleep(0.8)
        await made.simulator.run_conveyor(10)
        await made.idle()
        assert made.no_defect_passed()
        assert not any(e.incident for e in made.events)
        assert set(list(made.truth().values())[-5:]) <= {"passed", "rejected"}
        assert {e["number"] for e in made.simulator.gated} <= set(made.told())


async def test_broken_connections_are_replaced_and_no_part_is_lost_from_the_record() -> None:
    async with cell(simulated(), alternate) as made:
        await made.simulator.run_conveyor(60)
        for _ in range(4):
            await asyncio.sleep(0.6)
            await made.simulator.drop_connections()
        await made.idle()
        assert made.no_defect_passed()
        assert set(made.told()) == set(range(1, 61))
        assert set(made.gate()) == set(range(1, 61))


async def test_a_new_epoch_while_connected_costs_the_belt_and_nothing_else() -> None:
    async with cell(simulated(), alternate) as made:
        await made.simulator.run_conveyor()
        await asyncio.sleep(1.2)
        await made.simulator.new_epoch()
        await asyncio.sleep(1.5)
        await made.simulator.run_conveyor(20)
        await made.idle()
        assert made.no_defect_passed()
        old = [e for e in made.events if e.tracking.epoch == 1 and e.stage == "told"]
        assert len({e.tracking.number for e in old}) == len(old)
        assert {e["action"] for e in made.simulator.gated if e["epoch"] == 2} == {"passed", "rejected"}


async def test_a_plc_that_counts_anew_in_the_same_epoch_is_refused_and_served_again_when_its_epoch_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EpochError, "retry_s", 0.2)
    async with cell(simulated(), alternate) as made:
        await made.simulator.run_conveyor(12)
        await made.idle()
        before = len(made.simulator.gated)
        await made.simulator.restart(forgets=True)
        await until(lambda: made.session.state is LinkState.REFUSED, 10)
        assert "the PLC is at part 0 of epoch 1, and part 12 of epoch 1 was seen before" in made.session.sentence
        assert "Set Epoch to 2 or more" in made.session.sentence
        # A camera that has not seen the first twelve tells such parts.
        made.session.take(verdict(made.line, PlcTrigger(1, 77, datetime.now(UTC)), Decision.PASS), {})
        await made.simulator.run_conveyor(15)
        await until(lambda: made.simulator.idle, 10)
        assert 77 not in made.told()
        # They are called as the first twelve were, so nothing is said of them: the gate rejects them by itself.
        assert {entry["action"] for entry in list(made.simulator.gated)[before:]} == {"fail-safe"}
        assert len({event.id for event in made.events}) == len(made.events)

        await made.simulator.new_epoch()
        await until(lambda: made.session.state is LinkState.READY and made.listening.is_set(), 10)
        await made.simulator.run_conveyor()
        await until(lambda: any(e["epoch"] == 2 and e["action"] == "passed" for e in made.simulator.gated), 20)
        assert len({event.id for event in made.events}) == len(made.events)
        assert made.no_defect_passed()


async def test_a_refused_write_is_reported_with_the_plcs_own_status() -> None:
    async with cell(simulated(rate_per_s=5.0)) as made:
        made.simulator.fail_writes(10_000)
        await made.simulator.run_conveyor(3)
        await made.idle()
        assert set(made.told().values()) == {Outcome.FAILED}
        assert all("BadOutOfService" in (e.detail or "") for e in made.events if e.stage == "told")
        assert set(made.truth().values()) == {"fail-safe"}


async def test_a_missing_reject_confirmation_is_told() -> None:
    async with cell(simulated(rate_per_s=5.0), lambda t: Decision.REJECT) as made:
        made.simulator.fail_confirms(1)
        await made.simulator.run_conveyor(2)
        await made.idle()
        assert made.gate() == {1: GateAction.CONFIRM_FAIL, 2: GateAction.REJECTED}


async def test_a_frozen_bridge_makes_the_line_reject_all() -> None:
    async with cell(simulated(watchdog_ms=500), alternate) as made:
        await made.simulator.run_conveyor()
        await asyncio.sleep(0.3)
        assert made.simulator.value("Permit")
        made.stop.set()
        await asyncio.sleep(1.8)
        assert made.simulator.value("BridgeState") == BridgeState.STOPPING
        assert made.simulator.value("LineState") == LineState.FAIL_SAFE
        assert not made.simulator.value("Permit")
        assert list(made.truth().values())[-1] == "fail-safe"


async def test_a_part_that_the_plc_passes_without_our_pass_is_an_incident() -> None:
    async with cell(simulated(rate_per_s=5.0), lambda t: Decision.REJECT) as made:
        await made.simulator.run_conveyor(1)
        await asyncio.sleep(0.4)
        # A PLC program that does not look at the code.
        await made.simulator.put("GateRing", [0, 1 << 12 | 1 << 8 | 1 << 4 | 1, *[0] * 14])
        await asyncio.sleep(0.4)
        (event,) = [e for e in made.events if e.stage == "gate"]
        assert event.incident
        assert made.simulator.value("AlarmWord") & 8


async def test_a_verdict_for_a_part_that_was_never_triggered_is_refused() -> None:
    async with cell(simulated()) as made:
        made.session.take(verdict(made.line, PlcTrigger(1, 77, datetime.now(UTC)), Decision.PASS), {})
        await asyncio.sleep(0.4)
        (event,) = made.events
        assert event.outcome is Outcome.FAILED
        assert "has not triggered part 77" in (event.detail or "")
        assert made.simulator.value("Verdict[13]") == 0


async def test_a_read_only_slot_refuses_the_line_with_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    wrong = simulated(read_only=frozenset({"BridgeHb"}), types={"LateCount": "Int16"}, absent=frozenset({"Permit"}))
    async with PlcSimulator(wrong) as simulator:
        session = LineSession(line_of(simulator), lambda event, trace: None, instruments())
        stop = asyncio.Event()
        task = asyncio.create_task(session.run(stop))
        await until(lambda: session.state is LinkState.REFUSED, 5)
        stop.set()
        await task
    assert "node s=VisionReject.BridgeHb (BridgeHb) is read-only" in caplog.text
    assert "node s=VisionReject.LateCount (LateCount) is Int16, the contract needs UInt32" in caplog.text
    assert "node s=VisionReject.Permit (Permit) does not exist" in caplog.text


async def test_one_lines_trouble_leaves_the_other_line_alone() -> None:
    async with cell(simulated("line-2"), alternate) as healthy, cell(simulated("line-1"), alternate) as sick:
        await healthy.simulator.run_conveyor(60)
        await sick.simulator.run_conveyor(60)
        for _ in range(3):
            await sick.simulator.stall(0.7)
            await sick.simulator.drop_connections()
            await asyncio.sleep(0.1)
        await healthy.idle()
        assert set(healthy.told().values()) == {Outcome.CONFIRMED}
        assert healthy.truth() == {n: "rejected" if n % 3 == 0 else "passed" for n in range(1, 61)}


async def test_the_truth_log_holds_one_line_per_part(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = []
    async with PlcSimulator(simulated(rate_per_s=20), truth=entries.append) as simulator:
        began = time.time()
        await simulator.run_conveyor(10)
        await until(lambda: simulator.idle, 5)
    assert [entry["number"] for entry in entries] == list(range(1, 11))
    assert {entry["action"] for entry in entries} == {"fail-safe"}
    for entry in entries:
        assert entry["gate_at"] - entry["triggered"] == pytest.approx(TIMING.lead_s)
        planned = began + entry["number"] / 20
        assert entry["triggered"] == pytest.approx(planned, abs=0.02)


@pytest.mark.parametrize("behind_s", [0.6, -0.6])
async def test_the_clock_of_a_cameras_host_costs_its_parts_nothing_and_is_told(
    behind_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with cell(simulated(rate_per_s=5.0), delay_s=0.2, camera_behind_s=behind_s) as made:
        await made.simulator.run_conveyor(8)
        await made.idle()
        # The first is known by the bridge's look at its trigger, which may come after its verdict.
        assert {made.truth()[number] for number in range(3, 9)} == {"passed"}
        assert {made.told()[number] for number in range(3, 9)} == {Outcome.CONFIRMED}
        waited = [event.trigger_to_told_ms for event in made.events if event.outcome is Outcome.CONFIRMED]
        assert all(one is not None and one > 0 for one in waited)
    way = "behind" if behind_s > 0 else "ahead of"
    assert f"s {way} ours: its parts' deadlines count by our clock" in caplog.text


async def test_a_program_that_is_loaded_anew_is_served_again_in_its_new_epoch() -> None:
    async with cell(simulated(rate_per_s=10.0)) as made:
        await made.simulator.run_conveyor()
        await until(lambda: len(made.truth()) >= 3, 10)
        await made.simulator.download(0.3)
        after = [entry for entry in made.simulator.gated if entry["epoch"] == 2]
        await until(lambda: any(e["epoch"] == 2 and e["action"] == "passed" for e in made.simulator.gated), 15)
        assert after == []
        assert made.no_defect_passed()
