"""What the bridge asks a PLC ten times a second, and what it asks once a second."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from neverblink.bridge.profile import COUNTERS, Profile
from neverblink.bridge.scheduler import Answer, Order
from neverblink.plc.contract import PROFILES

PEOPLES = {*COUNTERS, "LineState", "Permit"}


class Plc:
    """Has all nodes that a look can ask for, and remembers each request."""

    profile = PROFILES["verdict-table"]
    has_lane = False

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.values: dict[str, Any] = {
            "Epoch": 3,
            "LastTriggered": 7,
            "LeadMs": 1000,
            "StopRequest": False,
            "CntPass": 5,
        }

    async def read(self, names: Sequence[str]) -> dict[str, Any]:
        self.asked.append(set(names))
        return {name: self.values.get(name, 0) for name in names}


class Asking(Profile):
    """Tells nobody anything."""

    async def tell(self, orders: Sequence[Order], now: float) -> Mapping[Order, Answer | None]:
        return {}


def asking(plc: Plc) -> Asking:
    agreement: Any = SimpleNamespace(slots=64, optional=("LineHold",))
    connection: Any = plc
    return Asking(connection, agreement)


async def test_what_only_people_look_at_is_asked_once_a_second_and_remembered_between() -> None:
    plc = Plc()
    table = asking(plc)
    looks = []
    for tenth in range(21):
        plc.values["CntPass"] = 5 + tenth
        plc.values["LastTriggered"] = 7 + tenth
        looks.append(await table.look(1000.0 + tenth / 10))
    with_counters = [number for number, names in enumerate(plc.asked) if "CntPass" in names]
    assert with_counters == [0, 10, 20]
    assert all(not names & PEOPLES for number, names in enumerate(plc.asked) if number not in with_counters)
    assert [look.view.last_triggered for look in looks] == [7 + tenth for tenth in range(21)]
    assert [look.counters["CntPass"] for look in looks] == [5] * 10 + [15] * 10 + [25]


async def test_counters_are_new_where_the_plc_begins_or_ends_its_stop() -> None:
    plc = Plc()
    table = asking(plc)
    await table.look(1000.0)
    plc.values |= {"StopRequest": True, "CntPass": 9}
    stopped = await table.look(1000.1)
    assert (stopped.stop_request, stopped.counters["CntPass"]) == (True, 9)
    plc.values |= {"StopRequest": False, "CntPass": 10}
    reset = await table.look(1000.2)
    assert (reset.stop_request, reset.counters["CntPass"]) == (False, 10)


async def test_a_clock_that_is_set_back_does_not_hide_the_counters() -> None:
    plc = Plc()
    table = asking(plc)
    await table.look(1000.0)
    plc.values["CntPass"] = 9
    assert (await table.look(400.0)).counters["CntPass"] == 9
