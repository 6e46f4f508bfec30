"""`bridge browse` finds the contract's nodes in live PLCs, whatever they are called there."""

import pytest
from bridged_cell import line_of, simulated

from neverblink.bridge.plc_browse import browse_lines
from neverblink.plc.contract import ProfileName
from neverblink.simulation.plc.simulator import PlcSimulator


@pytest.mark.parametrize("profile", ["verdict-table", "mailbox", "method"])
async def test_a_plc_with_names_of_its_own_is_found_and_what_is_proposed_fits(profile: ProfileName) -> None:
    there = simulated(
        profile=profile,
        namespace_uri="urn:plant:plc",
        node='s="Cell 7"."{name}"',
        slot_node='s="Cell 7"."{name}"[{index}]',
    )
    async with PlcSimulator(there) as simulator:
        (found,) = await browse_lines([line_of(simulator)])
    assert found.fits
    said = [one.strip() for one in found.said]
    assert "namespace_uri: urn:plant:plc" in said
    assert 'node: s="Cell 7"."{name}"' in said
    assert ('slot_node: s="Cell 7"."{name}"[{index}]' in said) == (profile != "method")


async def test_a_wrong_program_is_told_beside_its_proposal_and_nothing_is_written() -> None:
    wrong = simulated(types={"LateCount": "Int16"}, absent=frozenset({"Permit"}))
    async with PlcSimulator(wrong) as simulator:
        (found,) = await browse_lines([line_of(simulator)])
        assert simulator.value("BridgeHb") == 0
    assert not found.fits
    told = "\n".join(found.said)
    assert "not there: Permit" in told
    assert "(LateCount) is Int16" in told
