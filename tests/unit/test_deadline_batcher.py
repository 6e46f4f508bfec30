"""Batches leave in time, earliest deadline first."""

import asyncio

import pytest

from neverblink.scorer.deadline_batcher import BatchClock, DeadlineBatcher, LateError


class Clock:
    """Seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def batcher(clock: Clock, *, max_batch: int = 4, delay: float = 0.0, size: int = 8) -> DeadlineBatcher[str]:
    return DeadlineBatcher(max_batch=max_batch, max_queue_delay_s=delay, max_queue_size=size, clock=clock)


async def put(queue: DeadlineBatcher[str], *items: tuple[str, float]) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.create_task(queue.put(item, deadline)) for item, deadline in items]
    await asyncio.sleep(0)
    return tasks


async def test_the_earliest_deadline_leaves_first_whatever_the_order_of_arrival() -> None:
    queue = batcher(Clock(), max_batch=2)
    await put(queue, ("c", 103.0), ("a", 101.0), ("b", 102.0))
    assert await queue.take() == ["a", "b"]
    assert await queue.take() == ["c"]


async def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    queue = batcher(Clock(), max_batch=2, delay=60.0)
    await put(queue, ("a", 500.0), ("b", 500.0))
    assert await asyncio.wait_for(queue.take(), 1) == ["a", "b"]


async def test_a_batch_leaves_when_its_oldest_frame_has_waited_long_enough() -> None:
    clock = Clock()
    queue = batcher(clock, delay=0.5)
    await put(queue, ("a", 500.0))
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0.02)
    assert not taking.done()
    clock.now += 0.5
    assert await asyncio.wait_for(taking, 1) == ["a"]


async def test_a_batch_leaves_early_when_its_deadline_less_the_batch_time_says_now() -> None:
    clock = Clock()
    queue = batcher(clock, delay=60.0)
    queue.times.learn(1, 0.2)
    await put(queue, ("a", clock.now + 0.3))
    # One more frame would make the batch take 0.4 s: there is no time to wait for it.
    assert await asyncio.wait_for(queue.take(), 1) == ["a"]


async def test_a_late_frame_is_refused_and_never_shares_a_batch_with_one_in_time() -> None:
    clock = Clock()
    queue = batcher(clock)
    late, in_time = await put(queue, ("late", 99.0), ("in time", 200.0))
    assert await queue.take() == ["in time"]
    with pytest.raises(LateError):
        await late
    await in_time


async def test_late_frames_are_scored_only_when_nothing_else_waits() -> None:
    queue = batcher(Clock(), max_batch=1)
    queue.put_late("late")
    await put(queue, ("in time", 200.0))
    assert await queue.take() == ["in time"]
    assert await queue.take() == ["late"]


async def test_late_frames_without_room_give_way_and_are_counted() -> None:
    queue = batcher(Clock(), size=2)
    assert queue.put_late("1") is None
    assert queue.put_late("2") is None
    assert queue.put_late("3") == "1"
    assert queue.late_dropped == 1


async def test_a_full_queue_holds_the_next_frame_back_until_there_is_room() -> None:
    queue = batcher(Clock(), max_batch=1, size=1)
    first, second = await put(queue, ("a", 200.0), ("b", 300.0))
    assert len(queue) == 1
    assert await queue.take() == ["a"]
    assert await queue.take() == ["b"]
    await first
    await second


def test_the_batch_clock_expects_nothing_before_it_has_measured() -> None:
    assert BatchClock().expect(8) == 0.0


def test_the_batch_clock_scales_up_to_sizes_it_has_not_seen() -> None:
    clock = BatchClock()
    clock.learn(2, 0.1)
    assert clock.expect(2) == pytest.approx(0.1)
    assert clock.expect(4) == pytest.approx(0.2)
    assert clock.expect(1) == pytest.approx(0.1)
