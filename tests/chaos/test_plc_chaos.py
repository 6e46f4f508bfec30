"""PLCs, their networks, the bridge and Kafka fail while parts flow, and no gate ever takes the wrong part."""

from pathlib import Path

import pytest

from rigs.plc_audit import CIRCUMSTANCES, audit
from rigs.plc_faults import OF_LINE, do_all, schedule
from rigs.plc_floor import TIMING, Floor, running

SECONDS = 16.0
# Of the few parts of such a short run, so large a share may be the machine's own pauses.
SHARE = 0.05


@pytest.mark.slow
@pytest.mark.plant
async def test_no_fault_lets_a_defect_through_or_takes_another_part_or_leaves_one_unreported(tmp_path: Path) -> None:
    wanted = Floor(lines=2, rate=10.0, seed=3)
    faults = schedule(wanted.names, len(OF_LINE) * 2 + 2, SECONDS, wanted.seed)
    async with running(wanted, tmp_path) as floor:
        await floor.run_conveyors()
        await do_all(floor, faults, lambda fault: None)
        await floor.finish()
        truth = floor.truth()
        outcomes = list(floor.actuations)
    found = audit(truth, floor.scanned, outcomes, faults, TIMING.budget_s)
    assert found.faults == []
    assert found.incidents == 0
    assert {fault.kind for fault in faults} >= {*OF_LINE, "bridge killed", "Kafka away"}
    assert all(fault.ended for fault in faults)
    assert floor.bridge.restarts == 1
    # It did something: parts were passed, defects rejected, and what nobody could tell was rejected fail-safe.
    assert found.parts > 100
    assert min(found.actions[action] for action in ("passed", "rejected", "fail-safe")) > 0
    assert found.outcomes["confirmed"] > found.parts / 3
    assert (
        found.outcomes["confirmed"]
        + found.outcomes["late"]
        + found.outcomes["unknown"]
        + found.outcomes["failed"]
        + found.unseen
        == found.parts
    )
    calm, neighbour = (found.sum(circumstance) for circumstance in CIRCUMSTANCES[:2])
    expected = neighbour.parts * calm.fail_safe / max(1, calm.parts)
    assert neighbour.fail_safe <= expected + max(2, SHARE * neighbour.parts)
