"""Following the models topic: the last word counts, a fault is tried again, and no broker's trouble ends it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from neverblink.events import ModelSlots
from neverblink.scorer import slot_follower
from neverblink.scorer.models import Place, StationModels
from neverblink.scorer.slot_follower import SlotFollower

TOP = ("line-1", "top")


class Topic:
    """A models topic whose polls are scripted; when they are used up nothing comes any more."""

    def __init__(self) -> None:
        self.polls: list[list[tuple[str, ModelSlots | None]] | Exception] = []

    async def poll(self, timeout_s: float) -> list[tuple[str, ModelSlots | None]]:
        await asyncio.sleep(0.001)
        found = self.polls.pop(0) if self.polls else []
        if isinstance(found, Exception):
            raise found
        return found


class Slots:
    """Models of one station; `broken` says whether what is opened has a fault."""

    def __init__(self) -> None:
        self.stations = {TOP: StationModels("pcb")}
        self.broken = False
        self.opens: list[tuple[str, str]] = []

    def opened(self, place: Place, wanted: ModelSlots | None) -> StationModels:
        self.opens.append(("" if wanted is None else wanted.id, threading.current_thread().name))
        return StationModels("pcb", wanted=wanted, faults=("active: broken",) if self.broken else ())

    def put(self, place: Place, found: StationModels) -> None:
        self.stations[place] = found


def event(identity: str) -> ModelSlots:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    return ModelSlots(id=identity, line="line-1", station="top", product="pcb", by="me", at=at)


@pytest.fixture
def slots() -> Slots:
    return Slots()


@pytest.fixture
async def topic(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Topic]:
    """A topic that is followed; what has a fault is tried again at once."""
    monkeypatch.setattr(slot_follower, "_AGAIN_S", 0.001)
    found = Topic()
    follower = SlotFollower(found, slots, retry_s=0)  # type: ignore[arg-type]
    work = asyncio.create_task(follower.run())
    yield found
    assert not work.done(), "nothing ends a follower"
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def test_models_are_opened_in_a_thread_of_their_own_and_only_the_last_event_counts(
    topic: Topic, slots: Slots
) -> None:
    topic.polls.append([("line-1/top", event("first")), ("line-1/top", event("second")), ("line-9/top", event("x"))])
    await until(lambda: slots.stations[TOP].wanted is not None)
    ((identity, thread),) = slots.opens
    assert identity == "second"
    assert thread.startswith("models")


async def test_what_has_a_fault_is_tried_again_until_it_has_none(topic: Topic, slots: Slots) -> None:
    slots.broken = True
    topic.polls.append([("line-1/top", event("first"))])
    await until(lambda: len(slots.opens) > 3)
    assert {identity for identity, _ in slots.opens} == {"first"}
    slots.broken = False
    await until(lambda: not slots.stations[TOP].faults)
    tried = len(slots.opens)
    await asyncio.sleep(0.05)
    assert len(slots.opens) == tried


async def test_a_broker_in_trouble_is_waited_for(topic: Topic, slots: Slots, caplog: pytest.LogCaptureFixture) -> None:
    topic.polls += [ConnectionError("away"), RuntimeError("odd"), [("line-1/top", event("after"))]]
    await until(lambda: slots.stations[TOP].wanted is not None)
    assert "changes of models are not seen: ConnectionError('away')" in caplog.text
