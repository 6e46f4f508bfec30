"""The bridge's line session against the simulated PLC: what a PLC programmer would check at the gate."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession, LinkState
from neverblink.demo.plc_simulator import PlcSimulator, SimulatedLine
from neverblink.events import Actuation, ArtifactRef, Decision, GateAction, Outcome, Times, Tracking, Verdict
from neverblink.events.identity import frame_id, verdict_id
from neverblink.plant import Line, Plc, SimulatedSource, Station, Timing
from neverblink.plant import PlcTrigger as TriggerSettings
from neverblink.plc.contract import BridgeState, LineState
from neverblink.plc.trigger import PlcTrigger, triggers

# A part is at the gate 0.8 s after its trigger, and its verdict must be there 0.63 s after it.
TIMING = Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
ARTIFACT = ArtifactRef(name="pcb", version="1", digest="sha256:" + "0" * 64)


def simulated(name: str = "line-1", **changes: Any) -> SimulatedLine:
    settings = {"timing": TIMING, "rate_per_s": 20.0, "running": False, **changes}
    return SimulatedLine(name, **settings)


def line_of(simulator: PlcSimulator, stations: tuple[str, ...] = ("top",), **plc: Any) -> Line:
    return Line(
        name=simulator.line.name,
        timing=TIMING,
        plc=Plc.model_validate(
            {"endpoint": simulator.endpoint, "security": {"policy": "None", "allow_insecure": True}, **plc}
        ),
        stations=tuple(
            Station(
                name=name,
                product="pcb",
                source=SimulatedSource(kind="simulated", drawing="pcb"),
                trigger=TriggerSettings(kind="plc", poll_ms=10),
            )
            for name in stations
        ),
    )


def verdict(line: Line, trigger: PlcTrigger, decision: Decision, station: str = "top") -> Verdict:
    scored = decision is not Decision.UNSCORED
    frame = frame_id(trigger.at)
    return Verdict(
        id=verdict_id(frame),
        frame_id=frame,
        line=line.name,
        station=station,
        product="pcb",
        part=f"{line.name}/{trigger.epoch}/{trigger.number}",
        seq=trigger.number,
        tracking=Tracking(epoch=trigger.epoch, number=trigger.number),
        decision=decision,
        reason=None if scored else "corrupt-image",
        score=1.0 if scored else None,
        threshold=1.0 if scored else None,
        ratio=1.0 if scored else None,
        artifact=ARTIFACT if scored else None,
        times=Times(captured=trigger.at, emitted=datetime.now(UTC)),
        deadline=trigger.at + timedelta(seconds=line.timing.budget_s),
    )


Judge = Callable[[PlcTrigger], Decision | None]


@dataclass
class Cell:
    """A line with its simulated PLC, a camera and scorer in one function, and the bridge's session."""

    simulator: PlcSimulator
    line: Line
    judge: Judge
    delay_s: float = 0.05
    events: list[Actuation] = field(default_factory=list)
    decided: dict[tuple[int, int], Decision] = field(default_factory=dict)
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.session = LineSession(self.line, lambda event, trace: self.events.append(event), instruments())

    async def scan(self) -> None:
        """Trigger → verdict, `delay_s` later; a missed part is unscored, as the camera node says it."""
        assert self.line.plc is not None
        loop = asyncio.get_running_loop()

        def on_state(state: str, sentence: str) -> None:
            if state == "connected":
                self.listening.set()

        async for trigger in triggers(self.line.plc, name="camera", poll_ms=10, on_state=on_state):
            decision = Decision.UNSCORED if trigger.missed else self.judge(trigger)
            if decision is None:
                continue
            self.decided[trigger.epoch, trigger.number] = decision
            for station in self.line.stations:
                given = verdict(self.line, trigger, decision, station.name)
                loop.call_later(self.delay_s, self.session.take, given, {})

    def told(self) -> dict[int, Outcome]:
        return {e.tracking.number: e.outcome for e in self.events if e.outcome is not None}

    def gate(self) -> dict[int, GateAction]:
        return {e.tracking.number: e.gate for e in self.events if e.gate is not None}

    def truth(self) -> dict[int, str]:
        return {entry["number"]: entry["action"] for entry in self.simulator.gated}

    async def idle(self, within_s: float = 10.0) -> None:
        await until(lambda: self.simulator.idle and set(self.truth()) <= set(self.gate()), within_s)

    def no_defect_passed(self) -> bool:
        """Return whether every part that the gate passed was judged a pass by us, in that epoch."""
        return all(
            self.decided.get((entry["epoch"], entry["number"])) is Decision.PASS
            for entry in self.simulator.gated
            if entry["action"] == "passed"
        )


async def until(condition: Callable[[], bool], within_s: float) -> None:
    for _ in range(int(within_s / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"it did not happen within {within_s:g} s")


@contextlib.asynccontextmanager
async def cell(
    simulated_line: SimulatedLine,
    judge: Judge = lambda trigger: Decision.PASS,
    *,
    delay_s: float = 0.05,
    stations: tuple[str, ...] = ("top",),
) -> AsyncIterator[Cell]:
    async with PlcSimulator(simulated_line) as simulator:
        made = Cell(simulator, line_of(simulator, stations), judge, delay_s)
        tasks = [asyncio.create_task(made.session.run(made.stop)), asyncio.create_task(made.scan())]
        try:
            async with asyncio.timeout(5):
                await made.session.ready.wait()
                await made.listening.wait()
            # The PLC trusts a heartbeat that it has seen move.
            await asyncio.sleep(0.45)
            yield made
        finally:
            made.stop.set()
            await asyncio.wait_for(tasks[0], 5)
            tasks[1].cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tasks[1]


def alternate(trigger: PlcTrigger) -> Decision:
    return Decision.REJECT if trigger.number % 3 == 0 else Decision.PASS


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
        await made.simulator._put("GateRing", [0, 1 << 12 | 1 << 8 | 1 << 4 | 1, *[0] * 14])
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
