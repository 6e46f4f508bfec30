"""`bridge check` asks live PLCs whether a bridge could serve them, and says what is wrong in their words."""

import pytest
from bridged_cell import line_of, simulated

from neverblink.bridge.plc_check import check_lines
from neverblink.plc.contract import ProfileName
from neverblink.plc.word import encode_verdict
from neverblink.simulation.plc.simulator import PlcSimulator


async def test_a_plc_that_fits_is_written_and_read_back_and_one_that_is_off_says_so() -> None:
    async with PlcSimulator(simulated()) as simulator:
        line = line_of(simulator)
        assert line.plc is not None
        nowhere = line.plc.model_copy(update={"endpoint": "opc.tcp://127.0.0.1:1"})
        absent = line.model_copy(update={"name": "line-2", "plc": nowhere})
        before = simulator.value("Verdict[5]")
        (only_read,) = await check_lines([line])
        assert only_read.good
        assert simulator.value("Verdict[5]") == before == 0
        fits, off = await check_lines([line, absent], 5)
        assert simulator.value("Verdict[5]") == encode_verdict(1, 5, 2)
        assert simulator.value("BridgeHb") == 0
    assert fits.good
    assert "every node of profile verdict-table is there, with its type and rights" in fits.said
    assert "it is at part 0 of epoch 1, has 64 slots, says a lead of 0.8 s, and its line is stopped" in fits.said
    assert "its program runs: PlcHb moves" in fits.said
    assert "Verdict[5] was written and read back: part 5 of epoch 1 is a reject" in fits.said
    assert (off.line, off.good) == ("line-2", False)
    assert "refuses the connection: is its OPC UA server switched on?" in off.said[-1]


@pytest.mark.parametrize("profile", ["mailbox"])
async def test_where_the_plc_answers_its_answer_is_told(profile: ProfileName) -> None:
    async with PlcSimulator(simulated(profile=profile)) as simulator:
        (checked,) = await check_lines([line_of(simulator)], 5)
    assert checked.good
    assert "it answers what it is told of part 5: the PLC says that this part is not on its belt" in checked.said


async def test_a_wrong_program_is_told_node_by_node() -> None:
    wrong = simulated(types={"LateCount": "Int16"}, absent=frozenset({"Permit"}))
    async with PlcSimulator(wrong) as simulator:
        (checked,) = await check_lines([line_of(simulator)])
    assert not checked.good
    assert len([one for one in checked.said if "(LateCount) is Int16" in one or "(Permit) does not exist" in one]) == 2
