"""What of a fetch the drift service's agent gets at once, and what has to wait: in order, and nothing twice."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

faust = pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")

from faust.transport.consumer import Consumer as FaustConsumer  # noqa: E402
from faust.types import TP  # noqa: E402
from mode.utils.queues import FlowControlEvent, ThrowableQueue  # noqa: E402

from neverblink.drift.faust_app import _Consumer  # noqa: E402
from neverblink.kafka.record_batches import ReadRecord  # noqa: E402

VERDICTS, CHANGELOG = TP("verdicts", 0), TP("changelog", 0)
SECOND = TP("verdicts", 1)


class Fetched:
    """A consumer that has fetched these, with an agent that has room for so many verdicts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, records: dict[TP, list[int]], *, room: int = 128) -> None:
        flow = FlowControlEvent(initially_suspended=False)
        self.queue: ThrowableQueue[Any] = ThrowableQueue(maxsize=room, flow_control=flow)
        channel = SimpleNamespace(queue=self.queue)
        self.app: Any = SimpleNamespace(
            at_once="verdicts",
            flow_control=flow,
            consumer_generation_id=1,
            monitor=SimpleNamespace(track_tp_end_offset=lambda place, end: None),
            topics=SimpleNamespace(_tp_index=dict.fromkeys((VERDICTS, SECOND, CHANGELOG), (channel,))),
        )
        self.consumer: Any = _Consumer.__new__(_Consumer)
        self.consumer.app = self.app
        self.consumer.flow_active = True
        self.consumer._read_offset = defaultdict(lambda: None)
        monkeypatch.setattr(_Consumer, "should_stop", False)
        monkeypatch.setattr(_Consumer, "highwater", lambda self, place: 100)
        fetched = {place: [_record(place, offset) for offset in offsets] for place, offsets in records.items()}

        async def wait(consumer: Any, timeout: float) -> tuple[Any, set[TP]]:
            return fetched, set(fetched)

        monkeypatch.setattr(FaustConsumer, "_wait_next_records", wait)

    async def wait(self) -> dict[TP, list[int]]:
        """Return the offsets of what has to wait."""
        waiting, _ = await self.consumer._wait_next_records(1.0)
        return {place: [record.offset for record in records] for place, records in waiting.items()}

    def handed_on(self) -> list[tuple[int, int]]:
        """Return partition and offset of what the agent has."""
        return [(event.message.partition, event.message.offset) for event in self.queue._queue]  # type: ignore[attr-defined]


def _record(place: TP, offset: int) -> Any:
    read = ReadRecord(offset, 1_764_000_000_000, 0, b"line-1", b"{}", (("ce_id", b"1"),))
    sizes = {"serialized_key_size": 6, "serialized_value_size": 2}
    return SimpleNamespace(topic=place.topic, partition=place.partition, **read._asdict(), **sizes)


async def test_verdicts_are_handed_on_in_their_order_and_what_is_none_waits_for_faust(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched = Fetched(monkeypatch, {VERDICTS: [7, 8, 9], CHANGELOG: [3, 4], SECOND: [0]})
    assert await fetched.wait() == {CHANGELOG: [3, 4]}
    assert fetched.handed_on() == [(0, 7), (0, 8), (0, 9), (1, 0)]
    assert {event.message.refcount for event in fetched.queue._queue} == {1}  # type: ignore[attr-defined]


async def test_what_the_agent_has_no_room_for_waits_from_there_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = Fetched(monkeypatch, {VERDICTS: [7, 8, 9, 10], SECOND: [0, 1]}, room=3)
    assert await fetched.wait() == {VERDICTS: [10], SECOND: [0, 1]}
    assert fetched.handed_on() == [(0, 7), (0, 8), (0, 9)]


async def test_behind_a_gap_faust_is_asked_so_that_it_knows_what_never_came(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = Fetched(monkeypatch, {VERDICTS: [7, 8, 12, 13]})
    assert await fetched.wait() == {VERDICTS: [12, 13]}
    assert fetched.handed_on() == [(0, 7), (0, 8)]


@pytest.mark.parametrize("stopped", ["the consumer", "the streams"])
async def test_nothing_is_handed_on_while_partitions_move(monkeypatch: pytest.MonkeyPatch, stopped: str) -> None:
    fetched = Fetched(monkeypatch, {VERDICTS: [7, 8]})
    if stopped == "the consumer":
        fetched.consumer.flow_active = False
    else:
        fetched.app.flow_control.suspend()
    assert await fetched.wait() == {VERDICTS: [7, 8]}
    assert fetched.handed_on() == []
