"""State that another version has written ends the drift service; no verdict is blamed for it, and all of them wait."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from drift_line import plant, verdict

pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")

from faust.types import TP

from neverblink.drift.alert_sink import AlertSink
from neverblink.drift.app import DriftApp
from neverblink.drift.changelog import Layout
from neverblink.drift.commands import _raise_if_crashed
from neverblink.drift.errors import LayoutError
from neverblink.drift.faust_app import Store
from neverblink.drift.instruments import instruments
from neverblink.events import encode


@dataclass
class Message:
    """What Faust has read."""

    partition: int
    offset: int
    headers: list[tuple[str, bytes]]
    topic: str = "verdicts"
    timestamp: float = 1_700_000_000.0


@dataclass
class Read:
    """An event of Faust's stream, which notes whether it was acknowledged."""

    message: Message
    key: bytes
    value: bytes
    acked: bool = False

    def ack(self) -> bool:
        self.acked = True
        return True


@dataclass
class Channel:
    """Where nothing waits behind the event in hand."""

    queue: asyncio.Queue[Read] = field(default_factory=asyncio.Queue)


@dataclass
class Stream:
    """A stream that has these events."""

    read: list[Read]
    channel: Channel = field(default_factory=Channel)

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Read]:
        for event in self.read:
            yield event


@dataclass
class Letters:
    """Keeps what was set aside."""

    sent: list[str] = field(default_factory=list)

    async def send(self, record: Any, why: str) -> None:
        self.sent.append(why)


@dataclass
class Gauge:
    """Keeps what was last measured."""

    now: float | None = None

    def set(self, value: float) -> None:
        self.now = value


@dataclass
class Consumer:
    """What the brokers told of the end of the one partition that is read; Faust reads its own topics besides."""

    topic: str
    end: int

    def assignment(self) -> set[TP]:
        return {TP(self.topic, 0), TP("changelog", 0)}

    def highwater(self, place: TP) -> int:
        return self.end if place.topic == self.topic else 1_000_000


async def test_no_verdict_is_set_aside_because_the_state_is_another_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = plant("127.0.0.1:1", tmp_path)
    letters, events, age = Letters(), Gauge(), Gauge()
    measured = replace(instruments(), lag=events, lag_time=age)  # type: ignore[arg-type]
    drift = DriftApp(
        found.kafka, found.drift, Layout(2, 1), None, letters, Store(tmp_path, on_disk=False),  # type: ignore[arg-type]
        AlertSink(measured, None), measured,
    )  # fmt: skip

    def refuse() -> None:
        raise LayoutError("the drift state", 9, 3)

    monkeypatch.setattr(drift, "_load_if_stale", refuse)
    messages = [encode(verdict("line-1", number), source="/test") for number in range(1, 4)]
    read = [Read(Message(0, at, one.headers), one.key, one.value) for at, one in enumerate(messages)]
    await drift._count_verdicts(Stream(read))
    assert letters.sent == []
    assert not any(event.acked for event in read), "they are counted when the right program runs again"
    with pytest.raises(LayoutError, match="layout 9; this program reads 3"):
        _raise_if_crashed(drift)
    monkeypatch.setattr(drift.app, "consumer", Consumer(found.kafka.topic_prefix + ".verdicts", 5))
    drift.measure()
    assert events.now == 5, "three were read, two wait in Kafka, and none is counted"
    assert age.now is not None
    assert age.now > 3600
