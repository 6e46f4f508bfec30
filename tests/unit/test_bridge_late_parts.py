"""Late parts are in the figures: a histogram drops negative amounts, and with them just those that are to be seen."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bridged_cell import until, verdict
from opentelemetry.context import Context

from neverblink.bridge.instruments import Instruments, instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.scheduler import Order, Told
from neverblink.events import Actuation, Decision, Outcome
from neverblink.plant import Line, Plc, SimulatedSource, Station, Timing
from neverblink.plant import PlcTrigger as TriggerSettings
from neverblink.plc.trigger import PlcTrigger

ABOUT = {"line": "line-1"}


@dataclass
class Recorded:
    amounts: list[float] = field(default_factory=list)

    def record(self, amount: float, attributes: Mapping[str, str], context: Context | None = None) -> None:
        self.amounts.append(amount)


def recording() -> tuple[Instruments, Recorded, Recorded]:
    slack, overdue = Recorded(), Recorded()
    spies: dict[str, Any] = {"slack": slack, "overdue": overdue}
    return replace(instruments(), **spies), slack, overdue


@pytest.mark.parametrize(
    ("outcome", "left_s", "slack", "overdue"),
    [
        (Outcome.CONFIRMED, 0.25, [0.25], []),
        (Outcome.CONFIRMED, -0.25, [0.0], [0.25]),  # told in the margin, where silence passes
        (Outcome.LATE, -0.5, [0.0], [0.5]),
        (Outcome.UNKNOWN, -0.5, [0.0], [0.5]),
        (Outcome.LATE, 0.01, [0.0], []),  # given up, because a write would have taken longer
        (Outcome.FAILED, 0.25, [], []),
    ],
)
def test_a_late_part_counts_as_none_left_and_how_late_it_was_stands_beside(
    outcome: Outcome, left_s: float, slack: list[float], overdue: list[float]
) -> None:
    measured, slacks, overdues = recording()
    told = Told(Order(1, 1, 1, 100.0, 99.0), outcome, 100.0 - left_s, 1)
    measured.record_told(told, 100.0, 0.0, ABOUT)
    assert slacks.amounts == slack
    assert overdues.amounts == overdue


def test_what_was_due_before_the_bridge_began_says_nothing_of_it() -> None:
    measured, slacks, overdues = recording()
    measured.record_told(Told(Order(1, 1, 1, 100.0, 99.0), Outcome.UNKNOWN, 200.0, 0), 100.0, 150.0, ABOUT)
    assert not slacks.amounts
    assert not overdues.amounts


async def test_a_part_whose_second_station_never_speaks_is_in_the_slack() -> None:
    measured, slacks, overdues = recording()
    stations = tuple(
        Station(
            name=name,
            product="pcb",
            source=SimulatedSource(kind="simulated", drawing="pcb"),
            trigger=TriggerSettings(kind="plc"),
        )
        for name in ("top", "bottom")
    )
    plc = Plc.model_validate(
        {"endpoint": "opc.tcp://127.0.0.1:1", "security": {"policy": "None", "allow_insecure": True}}
    )
    timing = Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
    line = Line(name="line-1", timing=timing, plc=plc, stations=stations)
    told: list[Actuation] = []
    session, stop = LineSession(line, lambda event, trace: told.append(event), measured), asyncio.Event()
    running = asyncio.create_task(session.run(stop))
    late_for = timedelta(seconds=timing.budget_s - 0.1)
    session.take(verdict(line, PlcTrigger(1, 1, datetime.now(UTC) - late_for), Decision.PASS), {})
    await until(lambda: bool(told), 5)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert told[0].outcome is Outcome.LATE
    assert slacks.amounts == [0.0]
    assert overdues.amounts[0] > 0
