"""What a PLC's program says of its parts reaches their triggers: each part has its own serial number or none."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from neverblink.plant import IdentityNodes, Plc, Timing
from neverblink.plc.trigger import PlcTrigger, triggers
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.part_names import serial_of
from neverblink.simulation.plc.simulator import PlcSimulator

TIMING = Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
NODES = IdentityNodes.model_validate(
    {
        "serial": "s=Part.Serial",
        "lot": "i=4711",
        "attributes": {"press": "s=Part.Press"},
        "number": "s=Part.Number",
        "wait_ms": 1000,
    }
)
BELT = SimulatedLine("line-1", TIMING, rate_per_s=20, running=False, identity=NODES)


async def triggered(simulator: PlcSimulator, parts: int) -> list[PlcTrigger]:
    """Run so many parts past a camera's trigger."""
    security = {"policy": "None", "allow_insecure": True}
    plc = Plc.model_validate({"endpoint": simulator.endpoint, "security": security, "identity": NODES.model_dump()})
    ready = asyncio.Event()

    async def begin() -> None:
        await ready.wait()
        await simulator.run_conveyor(parts)

    beginning, found = asyncio.create_task(begin()), list[PlcTrigger]()
    told = triggers(plc, poll_ms=10, on_state=lambda state, _: ready.set() if state == "connected" else None)
    async with asyncio.timeout(60), contextlib.aclosing(told):
        async for trigger in told:
            found.append(trigger)
            if trigger.identity is not None:
                await trigger.identity.result(60)
            if trigger.number == parts:
                break
    await beginning
    return found


async def test_each_part_has_its_own_serial_number_and_a_node_that_is_missing_costs_its_field_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with PlcSimulator(replace(BELT, absent=frozenset({"Identity.lot"}))) as simulator:
        found = await triggered(simulator, 20)
    assert "node i=4711 (identity lot) cannot be read (BadNodeIdUnknown): parts go without it" in caplog.text
    named = 0
    for trigger in found:
        if trigger.identity is None:
            assert trigger.missed
            continue
        read = await trigger.identity.result(0)
        assert "lot" in read.faults
        if "serial" in read.faults:
            continue  # a busy machine read it when the next part was there: it says none, not the next one's
        named += 1
        assert read.identity.serial == serial_of(1, trigger.number)
        assert (read.identity.lot, read.identity.attributes.keys()) == (None, {"press"})
    assert named
