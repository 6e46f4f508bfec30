"""A camera node that is told to stop while its broker stands still, and what it says of an outage."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from camera_line import Wire, line_of

from neverblink.camera import service
from neverblink.camera.service import CameraNode
from neverblink.events import Event, Frame
from neverblink.plant import Storage

WITHIN_S = 30.0


class SlowWire(Wire):
    """Takes each event, a minute later."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def send(self, event: Event, *, trace: Mapping[str, str] | None = None) -> None:
        self.asked += 1
        await asyncio.sleep(60)
        self.sent.append(event)


def node_of(wire: Wire, folder: Path, *, budget_s: float = 60, **trigger: object) -> CameraNode:
    line = line_of({"trigger": {"kind": "timer", "rate_per_s": 50, **trigger}}, budget_s=budget_s)
    settings = Storage.model_validate({"spool": folder / "spool"})
    return CameraNode(line, line.stations[0], wire, settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("wire", [SlowWire(), Wire()], ids=["slow", "stands still"])
async def test_a_node_that_is_told_to_stop_keeps_what_its_broker_does_not_take_and_goes(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part has a minute, and no broker would make the node wait for that."""
    monkeypatch.setattr(service, "FINISH_S", 0.3)
    wire.there.clear()
    node = node_of(wire, tmp_path)
    stop = asyncio.Event()
    running = asyncio.create_task(node.run(stop))
    async with asyncio.timeout(WITHIN_S):
        while node._open < 5:  # noqa: ASYNC110 - the node tells nobody
            await asyncio.sleep(0.01)
        stop.set()
        await running
    assert node._open == 0, "each part is told or kept"
    assert wire.sent == []
    assert len(node._backlog) == 2 * node._seq, "the frame of each, and its verdict"


async def test_a_replay_whose_last_part_is_through_waits_for_its_broker_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FINISH_S", 0.05)
    wire = Wire()
    wire.there.clear()
    node = node_of(wire, tmp_path, parts=3)
    running = asyncio.create_task(node.run(asyncio.Event()))
    async with asyncio.timeout(WITHIN_S):
        while node._open < 3:  # noqa: ASYNC110 - the node tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        wire.there.set()
        await running
    assert len([event for event in wire.sent if isinstance(event, Frame)]) == 3
    assert len(node._backlog) == 0


async def test_an_outage_of_thirty_parts_is_told_in_fewer_than_ten_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_VERDICT_TIMEOUT_S", 0.3)
    caplog.set_level(logging.INFO, "neverblink")
    wire = Wire()
    wire.there.clear()
    node = node_of(wire, tmp_path, budget_s=0.2, rate_per_s=100, parts=30)
    async with asyncio.timeout(WITHIN_S):
        await node.run(asyncio.Event())
    assert len(node._backlog) == 60
    lines = [record for record in caplog.records if record.name.startswith("neverblink")]
    assert 1 <= len(lines) < 10, [record.getMessage() for record in lines]
    assert any("is not scored" in record.getMessage() for record in lines)
