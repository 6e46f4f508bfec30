"""A line with its simulated PLC, a camera and scorer in one function, and the bridge's session."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.events import Actuation, ArtifactRef, Decision, GateAction, Hold, Outcome, Times, Tracking, Verdict
from neverblink.events.identity import frame_id, verdict_id
from neverblink.plant import Line, Plc, SimulatedSource, Station, Timing
from neverblink.plant import PlcTrigger as TriggerSettings
from neverblink.plc.trigger import PlcTrigger, triggers
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.simulator import PlcSimulator

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
            {
                "endpoint": simulator.endpoint,
                "security": {"policy": "None", "allow_insecure": True},
                "profile": simulator.line.profile,
                "accept_silent_pass": simulator.line.profile != "verdict-table",
                "lane_node": simulator.line.lane_node,
                **plc,
            }
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


def verdict(
    line: Line, trigger: PlcTrigger, decision: Decision, station: str = "top", *, holdout: bool = False
) -> Verdict:
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
        holdout=holdout,
    )


Judge = Callable[[PlcTrigger], Decision | None]


@dataclass
class Cell:
    """A line with its simulated PLC, a camera and scorer in one function, and the bridge's session."""

    simulator: PlcSimulator
    line: Line
    judge: Judge
    delay_s: float = 0.05
    holdout: Callable[[PlcTrigger], bool] = lambda trigger: False
    camera_behind_s: float = 0.0
    events: list[Actuation] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    decided: dict[tuple[int, int], Decision] = field(default_factory=dict)
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.session = LineSession(
            self.line,
            lambda event, trace: self.events.append(event),
            instruments(),
            tell_hold=self.holds.append,
        )

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
            # What the camera's host says of time is by its own clock.
            trigger = replace(trigger, at=trigger.at - timedelta(seconds=self.camera_behind_s))
            for station in self.line.stations:
                given = verdict(self.line, trigger, decision, station.name, holdout=self.holdout(trigger))
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
    holdout: Callable[[PlcTrigger], bool] = lambda trigger: False,
    camera_behind_s: float = 0.0,
) -> AsyncIterator[Cell]:
    async with PlcSimulator(simulated_line) as simulator:
        made = Cell(simulator, line_of(simulator, stations), judge, delay_s, holdout, camera_behind_s)
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
