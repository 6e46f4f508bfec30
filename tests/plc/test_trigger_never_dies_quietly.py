"""A trigger that tells nothing any more while its session lives: noticed, told, begun anew, and no part left out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncua.ua
import pytest
import pytest_asyncio
from asyncua.server.server import Server
from bridged_cell import until

from neverblink.plant import Plc
from neverblink.plc.trigger import PlcTrigger, triggers

ua: Any = asyncua.ua

# One server for all of them: to make its address space takes longer than any of these.
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The server library's own goodbye to the items of a node that is deleted.
    pytest.mark.filterwarnings("ignore:coroutine 'MonitoredItemService"),
]


class BarePlc:
    """The trigger's two nodes and nothing else, to be taken away, spoilt and set at will."""

    def __init__(self) -> None:
        self.server = Server()
        self.namespace = 0
        self.epoch = 1
        self.folder: Any = None
        self.nodes: dict[str, Any] = {}

    async def start(self) -> None:
        await self.server.init()
        self.server.set_endpoint("opc.tcp://127.0.0.1:0/")
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self.namespace = await self.server.register_namespace("urn:neverblink:plc")
        await self.load(1, 0)
        await self.server.start()

    @property
    def plc(self) -> Plc:
        assert self.server.bserver is not None
        endpoint = f"opc.tcp://127.0.0.1:{self.server.bserver.port}/"
        return Plc.model_validate({"endpoint": endpoint, "security": {"policy": "None", "allow_insecure": True}})

    async def load(self, epoch: int, last: int) -> None:
        """Load the program: its nodes are there, with these counts."""
        objects = self.server.nodes.objects
        self.folder = await objects.add_object(ua.NodeId("VisionReject", self.namespace), "VisionReject")
        for name, kind, value in (("Epoch", "UInt16", epoch), ("LastTriggered", "UInt32", last)):
            variant = ua.Variant(value, getattr(ua.VariantType, kind))
            node_id = ua.NodeId(f"VisionReject.{name}", self.namespace)
            self.nodes[name] = await self.folder.add_variable(node_id, name, variant)

    async def unload(self) -> None:
        """Take the program's nodes away, as a download does."""
        await self.server.delete_nodes([self.folder], recursive=True)

    async def count(self, number: int, *, stated: datetime | None = None, epoch: int | None = None) -> None:
        """Trigger a part, at the PLC's own time."""
        if epoch is not None:
            await self.nodes["Epoch"].write_value(ua.Variant(epoch, ua.VariantType.UInt16))
        variant = ua.Variant(number, ua.VariantType.UInt32)
        data = ua.DataValue(variant, SourceTimestamp=stated or datetime.now(UTC))
        await self.nodes["LastTriggered"].write_value(data)

    async def spoil(self, number: int) -> None:
        """Keep the value and say that it is bad, as a PLC in stop does."""
        variant = ua.Variant(number, ua.VariantType.UInt32)
        bad = ua.StatusCode(ua.StatusCodes.BadOutOfService)
        await self.nodes["LastTriggered"].write_value(ua.DataValue(variant, StatusCode=bad))

    async def drop_subscriptions(self) -> None:
        """Lose every subscription; sessions and connections live."""
        service = self.server.iserver.subscription_service
        await service.delete_subscriptions(list(service.subscriptions))


class Heard:
    """What a camera hears of its trigger."""

    def __init__(self) -> None:
        self.parts: list[PlcTrigger] = []
        self.states: list[tuple[str, str]] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    async def hear(self, plc: Plc) -> None:
        async for trigger in triggers(
            plc, poll_ms=10, clock=lambda: self.now, on_state=lambda *state: self.states.append(state)
        ):
            self.parts.append(trigger)

    @property
    def numbers(self) -> list[int]:
        return [part.number for part in self.parts]

    @property
    def connected(self) -> bool:
        return bool(self.states) and self.states[-1][0] == "connected"

    def away(self, words: str) -> Callable[[], bool]:
        return lambda: any(state == "away" and words in sentence for state, sentence in self.states)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[BarePlc]:
    plc = BarePlc()
    await plc.start()
    yield plc
    await plc.server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def plc(running: BarePlc) -> BarePlc:
    """Return a PLC that has counted nothing in its epoch."""
    running.epoch += 10
    await running.count(0, epoch=running.epoch)
    return running


@pytest_asyncio.fixture(loop_scope="module")
async def heard(plc: BarePlc) -> AsyncIterator[Heard]:
    """Hear what a camera that began before the first part hears."""
    heard = Heard()
    hearing = asyncio.create_task(heard.hear(plc.plc))
    await until(lambda: heard.connected, 10)
    yield heard
    hearing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await hearing


async def test_a_lost_subscription_is_noticed_and_the_parts_between_are_told_as_missed(
    plc: BarePlc, heard: Heard
) -> None:
    await plc.count(1)
    await until(lambda: heard.numbers == [1], 10)
    await plc.drop_subscriptions()
    for number in (2, 3, 4):
        await plc.count(number)
    await until(lambda: heard.numbers == [1, 2, 3, 4], 10)
    assert heard.away("the PLC has dropped our subscription (BadSubscriptionIdInvalid)")()
    assert [part.missed for part in heard.parts] == [False, True, True, True]
    await plc.count(5)
    await until(lambda: heard.numbers[-1] == 5, 10)
    assert not heard.parts[-1].missed


async def test_a_subscription_that_is_lost_while_the_line_stands_is_noticed_before_the_next_part(
    plc: BarePlc, heard: Heard
) -> None:
    await plc.drop_subscriptions()
    await until(heard.away("dropped our subscription"), 10)
    await until(lambda: heard.connected, 10)
    await plc.count(1)
    await until(lambda: heard.numbers == [1], 10)
    assert not heard.parts[0].missed


async def test_a_server_that_keeps_the_subscription_and_tells_nothing_is_noticed_by_its_count(
    plc: BarePlc,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = plc.server.iserver.subscription_service
    for subscription in service.subscriptions.values():
        monkeypatch.setattr(subscription, "publish_results", lambda *_, **__: asyncio.sleep(0))
    await plc.count(1)
    await until(heard.away("the PLC counts parts, and its subscription no longer tells them"), 10)
    await until(lambda: heard.numbers == [1], 10)
    assert heard.parts[0].missed


async def test_a_program_that_is_loaded_anew_costs_the_parts_of_that_time_and_no_more(
    plc: BarePlc, heard: Heard
) -> None:
    for number in range(1, 6):
        await plc.count(number)
    await until(lambda: heard.numbers == [1, 2, 3, 4, 5], 10)
    await plc.unload()
    await until(heard.away("LastTriggered: BadNodeIdUnknown): is its program stopped, or being loaded?"), 10)
    await plc.load(plc.epoch, 7)
    await until(lambda: heard.connected, 10)
    await plc.count(8)
    await until(lambda: heard.numbers == list(range(1, 9)), 10)
    assert [part.number for part in heard.parts if part.missed] == [6, 7]


async def test_values_that_stay_bad_are_no_trigger_and_no_silence(plc: BarePlc, heard: Heard) -> None:
    await plc.count(1)
    await until(lambda: heard.numbers == [1], 10)
    await plc.spoil(9)
    await until(heard.away("LastTriggered: BadOutOfService"), 10)
    assert heard.numbers == [1]
    await plc.count(3)
    await until(lambda: heard.numbers == [1, 2, 3], 10)
    assert all(part.missed for part in heard.parts[1:])


async def test_a_plc_that_counts_anew_in_the_same_epoch_is_away_until_its_epoch_has_grown(
    plc: BarePlc, heard: Heard
) -> None:
    await plc.count(1)
    await plc.count(40)
    await until(lambda: len(heard.parts) == 40, 10)
    await plc.count(2)
    await until(heard.away(f"at part 2 of epoch {plc.epoch}, and part 40 of epoch {plc.epoch} was seen before"), 10)
    assert heard.away(f"Set Epoch to {plc.epoch + 1} or more")()
    # The old count is passed some day, and looks right again: the epoch stays refused.
    await plc.count(41)
    before = len(heard.states)
    await until(lambda: len(heard.states) > before, 10)
    assert not heard.connected
    assert len(heard.parts) == 40
    await plc.count(1, epoch=plc.epoch + 1)
    await until(lambda: (heard.parts[-1].epoch, heard.parts[-1].number) == (plc.epoch + 1, 1), 10)
    assert heard.parts[-1].missed


async def test_a_new_epoch_that_is_written_after_its_first_count_is_no_fault(plc: BarePlc, heard: Heard) -> None:
    await plc.count(40)
    await until(lambda: len(heard.parts) == 40, 10)
    await plc.count(0)
    await asyncio.sleep(0.05)
    await plc.count(1, epoch=plc.epoch + 1)
    await until(lambda: (heard.parts[-1].epoch, heard.parts[-1].number) == (plc.epoch + 1, 1), 10)
    assert [state for state, _ in heard.states] == ["connected"]


async def test_a_plc_clock_that_is_behind_costs_the_parts_nothing_and_is_told(
    plc: BarePlc, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    behind = timedelta(seconds=0.6)
    began = heard.now
    for number in range(1, 9):
        heard.now += timedelta(seconds=0.3)
        await plc.count(number, stated=heard.now - behind)
        await until(lambda number=number: heard.numbers[-1:] == [number], 10)
    charged = [began + timedelta(seconds=0.3) * part.number - part.at for part in heard.parts]
    # Two parts may have been late themselves; from the third on it is the clock.
    assert charged == [behind] * 2 + [timedelta(0)] * 6
    assert "is 0.60 s behind ours: parts count by our clock, and none pays for it; set it by NTP or PTP" in caplog.text
