"""Batches leave in time, earliest deadline first; what cannot be in time displaces nothing that can."""

import heapq
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neverblink.scorer.deadline_batcher import BatchClock, DeadlineBatcher, DeadlineQueue

NOW = 100.0


def queue_of(
    *items: tuple[str, float], max_batch: int = 4, delay: float = 0.0, each: float = 0.0
) -> DeadlineQueue[str]:
    """A queue that holds these (item, deadline), each of a station of its own; a batch takes `each` a frame."""
    queue: DeadlineQueue[str] = DeadlineQueue(max_batch=max_batch, max_queue_delay_s=delay)
    queue.coming = 1
    if each:
        for size in range(1, max_batch + 1):
            queue.times.learn(size, each * size)
    for item, deadline in items:
        queue.put(item, deadline, item, NOW)
    return queue


def test_the_earliest_deadline_leaves_first_whatever_the_order_of_arrival() -> None:
    queue = queue_of(("c", 103.0), ("a", 101.0), ("b", 102.0), max_batch=2)
    assert queue.take(NOW).batch == ["a", "b"]
    assert queue.take(NOW).batch == ["c"]


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    assert queue_of(("a", 500.0), ("b", 500.0), max_batch=2, delay=60.0).take(NOW).batch == ["a", "b"]


def test_a_batch_leaves_when_its_oldest_frame_has_waited_long_enough() -> None:
    queue = queue_of(("a", 500.0), delay=0.5)
    assert queue.take(NOW + 0.4).batch == ()
    assert queue.wait_s(NOW + 0.4) == pytest.approx(0.1)
    assert queue.take(NOW + 0.5).batch == ["a"]


def test_a_batch_leaves_at_once_when_nobody_is_coming() -> None:
    queue = queue_of(("a", 500.0), delay=60.0)
    queue.coming = 0
    assert queue.take(NOW).batch == ["a"]


@pytest.mark.parametrize(("two", "leaves"), [(0.2, True), (0.15, False)])
def test_a_batch_waits_for_company_only_where_that_takes_less_time_a_frame(two: float, leaves: bool) -> None:
    queue = queue_of(("a", 500.0), delay=60.0)
    queue.times.learn(1, 0.1)
    queue.times.learn(2, two)
    assert bool(queue.take(NOW).batch) is leaves


def test_the_compute_thread_stops_waiting_when_the_company_does_not_come() -> None:
    batcher: DeadlineBatcher[str] = DeadlineBatcher(max_batch=4, max_queue_delay_s=30, clock=time.monotonic)
    with ThreadPoolExecutor(1) as thread:
        with batcher.coming():
            batcher.put("a", time.monotonic() + 60, "station")
            taken = thread.submit(batcher.take)
            assert wait([taken], timeout=0.05).not_done
        found = taken.result(timeout=5)
    assert found is not None
    assert found.batch == ["a"]


def test_a_batch_leaves_early_when_its_deadline_less_the_batch_time_says_now() -> None:
    # One more frame would make the batch take 0.4 s: there is no time to wait for it.
    assert queue_of(("a", NOW + 0.3), delay=60.0, each=0.2).take(NOW).batch == ["a"]


def test_a_late_frame_expires_and_never_shares_a_batch_with_one_in_time() -> None:
    taken = queue_of(("late", 99.0), ("in time", 200.0)).take(NOW)
    assert (taken.batch, taken.expired) == (["in time"], ["late"])


def test_a_batch_is_no_larger_than_lets_its_first_frame_be_in_time() -> None:
    queue = queue_of(("a", NOW + 0.25), ("b", NOW + 9), ("c", NOW + 9), ("d", NOW + 9), each=0.1)
    assert queue.take(NOW).batch == ["a", "b"]


def test_a_frame_that_cannot_be_in_time_displaces_none_that_can() -> None:
    queue = queue_of(("hopeless", NOW + 0.05), ("a", NOW + 0.2), ("b", NOW + 0.2), each=0.1)
    assert queue.take(NOW).batch == ["a", "b"]


def test_a_frame_that_seems_hopeless_is_tried_when_nothing_else_waits() -> None:
    queue = queue_of(("hopeless", NOW + 0.05), each=0.1)
    assert queue.take(NOW).batch == ["hopeless"]


def test_when_not_all_can_be_in_time_a_full_batch_is_worth_more_than_its_most_urgent_frame() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue(max_batch=4, max_queue_delay_s=0)
    for size in range(1, 5):
        queue.times.learn(size, 0.1 + 0.01 * size)
    for item, left in (("urgent", 0.115), ("a", 0.15), ("b", 0.15), ("c", 0.15), ("d", 0.15)):
        queue.put(item, NOW + left, "station", NOW)
    assert queue.take(NOW).batch == ["a", "b", "c", "d"]


def test_stations_take_turns_while_no_deadline_is_near() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue(max_batch=2, max_queue_delay_s=0)
    queue.times.learn(2, 0.1)
    for number in range(20):
        queue.put(f"backlog {number}", NOW + 100 + number, "backlogged", NOW)
    queue.put("fresh", NOW + 500, "other", NOW)
    assert sorted(queue.take(NOW).batch) == ["backlog 0", "fresh"]
    # Ten batches of 0.1 s are left: 9 s before the deadline of the next, order matters.
    queue.put("fresh again", NOW + 500, "other", NOW + 92)
    assert queue.take(NOW + 92).batch == ["backlog 1", "backlog 2"]


def test_late_frames_are_scored_only_when_nothing_else_waits() -> None:
    queue = queue_of(("in time", 200.0), max_batch=1)
    queue.put_spare("late")
    assert queue.take(NOW).batch == ["in time"]
    assert queue.take(NOW).batch == ["late"]


def test_late_frames_wait_where_the_next_part_could_not_wait_for_them() -> None:
    queue = queue_of(("a", NOW + 0.25), each=0.1)
    assert queue.take(NOW).batch == ["a"]
    for number in range(4):
        queue.put_spare(f"late {number}")
    # The next frame may come with 0.25 s too and needs 0.1 of them.
    assert queue.take(NOW).batch == ["late 0"]
    queue.put("tight", NOW + 0.15, "station", NOW)
    assert queue.take(NOW).batch == ["tight"]
    assert queue.take(NOW).batch == ()
    assert queue.wait_s(NOW) is None


def test_a_part_of_others_waits_for_no_backlog_that_is_through() -> None:
    queue = queue_of(("tight", NOW + 0.15), each=0.1)
    assert queue.take(NOW).batch == ["tight"]
    queue.put_spare("statistics")
    queue.put_spare("of others", first=True)
    assert queue.take(NOW + 0.5).batch == ()
    assert queue.wait_s(NOW + 0.5) == pytest.approx(1.5)
    assert queue.take(NOW + 2.0).batch == ["of others"]
    assert queue.take(NOW + 2.0).batch == ()


@pytest.mark.parametrize(("of_two", "size"), [(None, 1), (0.2, 1), (0.11, 2)])
def test_parts_of_others_are_computed_together_only_where_that_is_known_to_be_quicker(
    of_two: float | None, size: int
) -> None:
    queue: DeadlineQueue[int] = DeadlineQueue(max_batch=4, max_queue_delay_s=0.0)
    queue.times.learn(1, 0.1)
    if of_two is not None:
        queue.times.learn(2, of_two)
    for number in range(4):
        queue.put_spare(number, first=True)
    assert len(queue.take(NOW).batch) == size


def test_what_nobody_waits_for_any_more_keeps_no_part_waiting() -> None:
    queue = queue_of(each=0.1)
    for item in ("too late", "in time"):
        queue.put_spare(item, first=True)
    queue.put_spare("statistics")
    queue.drop_spare("too late")
    queue.drop_spare("left already")
    assert queue.take(NOW).batch == ["in time"]
    assert queue.take(NOW).batch == ["statistics"]


def test_the_batch_clock_expects_nothing_before_it_has_measured() -> None:
    assert BatchClock(8).expect(8) == 0.0


def test_the_batch_clock_scales_up_to_sizes_it_has_not_seen() -> None:
    clock = BatchClock(8)
    clock.learn(2, 0.1)
    assert clock.expect(2) == pytest.approx(0.1)
    assert clock.expect(4) == pytest.approx(0.2)
    assert clock.expect(1) == pytest.approx(0.1)
    assert [clock.largest(8, slack) for slack in (0.05, 0.1, 0.25)] == [0, 2, 5]


def test_the_batch_clock_is_more_cautious_the_more_its_measurements_differ() -> None:
    steady, noisy = BatchClock(1), BatchClock(1)
    for number in range(50):
        steady.learn(1, 0.1)
        noisy.learn(1, 0.05 if number % 2 else 0.15)
    assert steady.cautiously(1) == pytest.approx(0.1)
    assert noisy.cautiously(1) > 0.16


def test_the_compute_thread_is_woken_by_what_is_put_and_by_closing() -> None:
    batcher: DeadlineBatcher[str] = DeadlineBatcher(max_batch=4, max_queue_delay_s=0, clock=time.monotonic)
    found: list[object] = []

    def work() -> None:
        while (taken := batcher.take()) is not None:
            found.extend(taken.batch)

    thread = threading.Thread(target=work)
    thread.start()
    batcher.put("a", time.monotonic() + 10, "station")
    batcher.put_spare("spare")
    give_up = time.monotonic() + 10
    while len(found) < 2 and time.monotonic() < give_up:
        time.sleep(0.001)
    batcher.close()
    thread.join(10)
    assert not thread.is_alive()
    assert found == ["a", "spare"]


@dataclass(frozen=True, order=True)
class Arrival:
    """A frame of the simulation: seconds from its beginning, and what it has left then."""

    at: float
    left: float
    station: str

    @property
    def deadline(self) -> float:
        return self.at + self.left


@dataclass(frozen=True)
class Engine:
    """A batch takes `setup + each × size` seconds."""

    setup: float
    each: float
    max_batch: int

    def takes(self, size: int) -> float:
        return self.setup + self.each * size


def simulated(
    arrivals: Sequence[Arrival], engine: Engine, *, delay: float, spare: int = 0
) -> tuple[list[Arrival], int]:
    """Run the queue on a clock that only the simulation moves; return the frames in time and the spare ones scored."""
    queue: DeadlineQueue[Arrival | None] = DeadlineQueue(max_batch=engine.max_batch, max_queue_delay_s=delay)
    queue.coming = 1  # so it waits for company, whether or not any comes
    for size in range(1, engine.max_batch + 1):
        queue.times.learn(size, engine.takes(size))
    for _ in range(spare):
        queue.put_spare(None)
    waiting, now = sorted(arrivals), 0.0
    in_time: list[Arrival] = []
    scored = 0
    while True:
        while waiting and waiting[0].at <= now:
            came = waiting.pop(0)
            queue.put(came, came.deadline, came.station, came.at)
        batch = queue.take(now).batch
        if batch:
            now += engine.takes(len(batch))
            in_time += [one for one in batch if one is not None and now <= one.deadline + 1e-6]
            scored += sum(one is None for one in batch)
            continue
        wait = queue.wait_s(now)
        events = ([now + wait] if wait is not None else []) + ([waiting[0].at] if waiting else [])
        if not events:
            return in_time, scored
        now = max(now, min(events)) + 1e-9


def one_by_one(arrivals: Sequence[Arrival], engine: Engine, *, reserve: float) -> bool:
    """Say whether a scorer without batches has every frame through `reserve` seconds before its deadline."""
    waiting, now = sorted(arrivals), 0.0
    held: list[tuple[float, float]] = []
    while waiting or held:
        if not held:
            now = max(now, waiting[0].at)
        while waiting and waiting[0].at <= now:
            came = waiting.pop(0)
            heapq.heappush(held, (came.deadline, came.at))
        deadline, _ = heapq.heappop(held)
        now += engine.takes(1)
        if now > deadline - reserve:
            return False
    return True


ENGINES = st.builds(
    Engine, setup=st.floats(0.0, 0.02), each=st.floats(0.002, 0.02), max_batch=st.integers(min_value=1, max_value=8)
)
ARRIVALS = st.lists(
    st.builds(Arrival, at=st.floats(0, 0.5), left=st.floats(0.05, 1.5), station=st.sampled_from("abc")),
    min_size=1,
    max_size=24,
)


@settings(max_examples=300)
@given(ARRIVALS, ENGINES, st.floats(0, 0.02))
def test_batching_makes_no_frame_late_that_could_have_been_in_time(
    arrivals: list[Arrival], engine: Engine, delay: float
) -> None:
    # One batch that left before a frame came, and the wait for company, are all that it may cost.
    assume(one_by_one(arrivals, engine, reserve=delay + engine.takes(engine.max_batch)))
    in_time, _ = simulated(arrivals, engine, delay=delay)
    assert sorted(in_time) == sorted(arrivals)


@settings(max_examples=300)
@given(ARRIVALS, ENGINES)
def test_of_frames_that_all_wait_already_none_is_late_that_could_have_been_in_time(
    arrivals: list[Arrival], engine: Engine
) -> None:
    there = [Arrival(0.0, one.left, one.station) for one in arrivals]
    assume(one_by_one(there, engine, reserve=0))
    in_time, _ = simulated(there, engine, delay=0.02)
    assert sorted(in_time) == sorted(there)


@settings(max_examples=100)
@given(ENGINES, st.integers(2, 6), st.floats(0.5, 1.0), st.integers(2, 20))
def test_a_station_within_its_share_is_not_starved_whatever_the_others_send(
    engine: Engine, stations: int, share: float, flood: int
) -> None:
    # All others send `flood` times what one station's share of the engine is, one frame at a time.
    every = engine.takes(1) * stations / share
    # A frame waits for the batch at work and for one round of the stations.
    left = engine.takes(engine.max_batch) + (stations + 1) * engine.takes(1)
    quiet = [Arrival(number * every, left, "quiet") for number in range(20)]
    loud = [
        Arrival(number * every / flood, left, f"loud {other}")
        for other in range(stations - 1)
        for number in range(20 * flood)
    ]
    in_time, _ = simulated(quiet + loud, engine, delay=0.0)
    # Not all: a frame that waited while all could be in time may be given up for a fuller batch once they cannot.
    assert sum(one.station == "quiet" for one in in_time) >= 0.5 * len(quiet)


@settings(max_examples=100)
@given(ENGINES, st.integers(1, 40), st.floats(0.0, 2.0))
def test_spare_work_makes_no_frame_late(engine: Engine, spare: int, more: float) -> None:
    every = engine.takes(1) * 4
    left = (1.0 + more) * engine.takes(1) + 1e-6
    arrivals = [Arrival(number * every, left, "station") for number in range(20)]
    alone, _ = simulated(arrivals, engine, delay=0.0)
    assert alone == arrivals
    # The queue learns how tight its frames are from the first; only that one may come upon spare work.
    beside, scored = simulated(arrivals, engine, delay=0.0, spare=spare)
    assert beside == arrivals
    assert scored == spare or left < 2 * engine.takes(1) + 1e-6
