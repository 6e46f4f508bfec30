"""Parts that people shall inspect take the lane for it, where the PLC has one, and the gate minds its verdict alone."""

from typing import Any

import pytest
from bridged_cell import cell, line_of, simulated

from neverblink.bridge.scheduler import Answer, Order
from neverblink.bridge.verdict_table import VerdictTable
from neverblink.events import Decision
from neverblink.plant import Plc
from neverblink.plc.contract import INSPECT, PROFILES, Code
from neverblink.plc.errors import ContractError
from neverblink.plc.opening import connect
from neverblink.plc.trigger import PlcTrigger
from neverblink.plc.validation import Agreement, validate
from neverblink.plc.word import encode_verdict
from neverblink.simulation.plc.simulator import PlcSimulator

LANE = "s=VisionReject.{name}[{index}]"


def mixed(trigger: PlcTrigger) -> Decision:
    return Decision.REJECT if trigger.number % 4 == 0 else Decision.PASS


def held_out(trigger: PlcTrigger) -> bool:
    return trigger.number % 3 == 0


async def test_holdouts_that_pass_go_to_inspection_and_nothing_else_does() -> None:
    async with cell(simulated(lane_node=LANE), mixed, stations=("top", "side"), holdout=held_out) as made:
        await made.simulator.run_conveyor(24)
        await made.idle()
        assert made.no_defect_passed()
        passed = {entry["number"] for entry in made.simulator.gated if entry["action"] == "passed"}
        assert {entry["number"] for entry in made.simulator.gated if entry["inspect"]} == {
            number for number in passed if number % 3 == 0
        }
        assert passed & set(range(3, 25, 3))


async def test_a_plc_whose_lane_is_not_there_is_refused_in_a_sentence() -> None:
    async with PlcSimulator(simulated()) as simulator:
        plc = line_of(simulator, lane_node="s=Lane.{index}").plc
        assert plc is not None
        async with connect(plc, "bridge line-1") as connection:
            with pytest.raises(ContractError, match=r"node s=Lane.0 \(Lane\[0\]\) does not exist"):
                await validate(connection)


class Plcs:
    """A session that takes verdicts, and answers lane words as the test says."""

    profile = PROFILES["verdict-table"]

    def __init__(self, *, has_lane: bool, says: str | None = None) -> None:
        self.has_lane, self._says = has_lane, says
        self.written: list[tuple[str, int]] = []

    async def write(self, values: dict[str, int]) -> dict[str, str | None]:
        self.written += values.items()
        return {name: self._says if name.startswith("Lane") else None for name in values}


def orders() -> list[Order]:
    return [
        Order(1, 66, Code.PASS, 10.0, 0.0, inspect=True),
        Order(1, 67, Code.PASS, 10.0, 0.0),
    ]


async def told(connection: Plcs) -> dict[Order, Answer | None]:
    table = VerdictTable(connection, Agreement(64, 1, 67))  # type: ignore[arg-type]
    return dict(await table.tell(orders(), 0.0))


async def test_the_lane_word_stands_before_its_verdict_in_one_request() -> None:
    connection = Plcs(has_lane=True)
    assert await told(connection) == dict.fromkeys(orders())
    assert connection.written == [
        ("Lane[2]", encode_verdict(1, 66, INSPECT)),
        ("Verdict[2]", encode_verdict(1, 66, Code.PASS)),
        ("Verdict[3]", encode_verdict(1, 67, Code.PASS)),
    ]
    without = Plcs(has_lane=False)
    assert await told(without) == dict.fromkeys(orders())
    assert [name for name, _ in without.written] == ["Verdict[2]", "Verdict[3]"]


async def test_a_refused_lane_word_is_told_and_costs_no_part_its_verdict(caplog: pytest.LogCaptureFixture) -> None:
    assert await told(Plcs(has_lane=True, says="BadOutOfService")) == dict.fromkeys(orders())
    assert "the PLC refuses Lane[2] (BadOutOfService): parts for inspection go the ordinary way" in caplog.text


@pytest.mark.parametrize(
    ("plc", "told"),
    [
        ({"slot_node": "s=DB.Verdict[{index}]", "lane_node": "s=DB.Verdict[{index}]"}, "would overwrite a verdict"),
        ({"profile": "mailbox", "accept_silent_pass": True, "lane_node": LANE}, "profile mailbox has no lane words"),
    ],
)
def test_a_lane_that_cannot_be_one_is_refused_in_the_plant_file(plc: dict[str, Any], told: str) -> None:
    security = {"policy": "None", "allow_insecure": True}
    with pytest.raises(ValueError, match=told):
        Plc.model_validate({"endpoint": "opc.tcp://plc:4840", "security": security, **plc})
