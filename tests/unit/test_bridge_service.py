"""What stands between the lines and Kafka: it never blocks, never grows without bound, never stops for poison."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from neverblink.bridge import outbox as outbox_module
from neverblink.bridge.outbox import Outbox
from neverblink.bridge.service import _Desk, lines_with_plc
from neverblink.bridge.succession import Inheritance
from neverblink.events import Actuation, Event, Outcome, Tracking, encode
from neverblink.kafka import Record
from neverblink.plant import EXAMPLE, PlantError, parse_plant

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def actuation(number: int) -> Actuation:
    return Actuation(
        id=f"a-{number}",
        line="line-1",
        tracking=Tracking(epoch=1, number=number),
        stage="told",
        outcome=Outcome.CONFIRMED,
        at=NOW,
    )


class Kafka:
    """A producer that can be away, and that can refuse an event."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.got: list[str] = []

    async def send(self, event: Event, *, trace: Mapping[str, str] | None = None) -> None:
        await self.there.wait()
        if event.id == "a-13":
            raise RuntimeError("too large")
        self.got.append(event.id)


async def test_the_write_path_never_waits_for_kafka_and_drops_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "BOUND", 100)
    kafka = Kafka()
    dropped: list[str] = []
    async with Outbox(kafka, dropped.append) as outbox:
        for number in range(300):
            outbox.put(actuation(number), {})
            await asyncio.sleep(0)
        assert kafka.got == []
        kafka.there.set()
    assert set(dropped) == {"line-1"}
    assert len(kafka.got) + len(dropped) == 300
    # A hundred wait at least, and one of them cannot be sent.
    assert len(kafka.got) >= 99


async def test_one_event_that_cannot_be_sent_does_not_stop_the_others() -> None:
    kafka = Kafka()
    dropped: list[str] = []
    kafka.there.set()
    async with Outbox(kafka, dropped.append) as outbox:
        for number in range(20):
            outbox.put(actuation(number), {})
    assert sorted(kafka.got) == sorted(f"a-{n}" for n in range(20) if n != 13)
    assert dropped == ["line-1"]


async def test_events_of_one_moment_leave_together_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "GATHER_S", 3600.0)
    kafka = Kafka()
    kafka.there.set()
    async with Outbox(kafka, lambda line: None) as outbox:
        for number in range(5):
            outbox.put(actuation(number), {})
            await asyncio.sleep(0)
        assert kafka.got == []
    assert kafka.got == [f"a-{n}" for n in range(5)]


def record(value: bytes, headers: Any, key: str = "line-1") -> Record:
    return Record("verdicts", 0, 7, NOW, key, value, tuple(headers))


class Session:
    """Takes verdicts and remembers them."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def take(self, verdict: Any, trace: Mapping[str, str]) -> None:
        self.taken.append(verdict)


class DeadLetterDesk:
    """Remembers what was set aside."""

    def __init__(self) -> None:
        self.why: list[str] = []

    async def send(self, poison: Record, why: str) -> None:
        self.why.append(why)


async def test_poison_is_set_aside_and_other_bridges_lines_are_ignored() -> None:
    session, dead, kafka = Session(), DeadLetterDesk(), Kafka()
    message = encode(actuation(1), source="/test")
    async with Outbox(kafka, lambda line: None) as outbox:
        desk = _Desk({"line-1": session}, {"line-1": Inheritance(NOW)}, dead, outbox)  # type: ignore[dict-item,arg-type]
        desk.hand_over(record(b"not json", []))
        desk.hand_over(record(message.value, message.headers))
        desk.hand_over(record(b"not json", [], key="line-9"))
    assert session.taken == []
    assert len(dead.why) == 2
    assert "ce_specversion" in dead.why[0]
    assert "neverblink.verdict.v1" in dead.why[1]


def test_a_line_without_plc_is_refused_by_name() -> None:
    plant = parse_plant(EXAMPLE)
    bare = plant.model_copy(update={"lines": (plant.lines[0].model_copy(update={"plc": None}),)})
    assert [line.name for line in lines_with_plc(plant, None)] == ["line-1"]
    with pytest.raises(PlantError, match="line-1 has no plc section"):
        lines_with_plc(bare, ["line-1"])
    with pytest.raises(PlantError, match="no line of this plant file has a plc section"):
        lines_with_plc(bare, None)
    with pytest.raises(PlantError, match="has no line 'line-7'"):
        lines_with_plc(plant, ["line-7"])
