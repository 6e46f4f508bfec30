"""Cameras that run by themselves: the part gets its own fresh picture, and a lost one is never silent."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.camera.live import LiveSource, Shot, StreamEndedError
from neverblink.camera.picture import SourceError
from neverblink.camera.picture_counter import PictureCounter
from neverblink.events import Reason
from neverblink.plant import LiveSettings, Payload
from neverblink.service_life.back_off import BackOff
from neverblink.vision.decode import decode

RAW = Payload(format="raw")


class Script:
    """A stream that plays what the test hands it: pictures, None for silence, exceptions."""

    def __init__(self) -> None:
        self._items: list[Shot | Exception] = []
        self._there = threading.Condition()
        self.closed = 0

    def say(self, *items: Shot | Exception) -> None:
        with self._there:
            self._items += items
            self._there.notify_all()

    def read(self, timeout_s: float) -> Shot | None:
        with self._there:
            self._there.wait_for(lambda: self._items, 0.05)
            if not self._items:
                return None
            item = self._items.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self.closed += 1


def shot(level: int, at: datetime | None = None, count: int | None = None) -> Shot:
    return Shot(np.full((4, 6), level, np.uint8), at or datetime.now(UTC), count)


def source_of(connect: Callable[[], Script], *, every: int | None = None, **settings: float) -> LiveSource:
    return LiveSource(
        "line-1/top",
        connect,
        LiveSettings(**{"max_age_ms": 100, "wait_ms": 200, **settings}),
        RAW,
        every_bound=every,
        labels={"line": "line-1", "station": "top"},
        back_off=BackOff(0.01, 0.02),
    )


@pytest.fixture
def script() -> Script:
    return Script()


def until(condition: Callable[[], object], within_s: float = 5) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.002)


def level_of(source: LiveSource, at: datetime | None = None) -> int:
    picture = source.grab(1, at or datetime.now(UTC))
    return int(decode(picture.body, content_type=picture.content_type)[0, 0, 0])


def test_a_trigger_gets_the_newest_of_all_pictures_that_came_meanwhile(script: Script) -> None:
    source = source_of(lambda: script)
    source.start()
    script.say(*(shot(level) for level in range(1, 51)))
    until(lambda: source._newest and source._newest[-1].pixels[0, 0] == 50)
    assert level_of(source) == 50
    source.close()


def test_a_picture_serves_one_part_only(script: Script) -> None:
    source = source_of(lambda: script)
    script.say(shot(7))
    assert level_of(source) == 7
    with pytest.raises(
        SourceError, match=r"newest picture is the part's before, and no other came within 0\.2 s"
    ) as told:
        source.grab(2, datetime.now(UTC))
    assert told.value.reason is Reason.NO_IMAGE
    source.close()


def test_a_picture_older_than_the_bound_is_no_image(script: Script) -> None:
    source = source_of(lambda: script)
    source.start()
    script.say(shot(7, datetime.now(UTC) - timedelta(seconds=2)))
    until(lambda: source._newest)
    with pytest.raises(SourceError, match=r"newest picture came 2\.\d+ s before the trigger") as told:
        source.grab(1, datetime.now(UTC))
    assert told.value.reason is Reason.NO_IMAGE
    source.close()


def test_a_trigger_waits_for_the_picture_that_comes_after_it(script: Script) -> None:
    source = source_of(lambda: script, max_age_ms=0, wait_ms=5000)
    source.start()
    script.say(shot(1, datetime.now(UTC) - timedelta(milliseconds=50)))
    until(lambda: source._newest)
    at = datetime.now(UTC)
    threading.Timer(0.05, lambda: script.say(shot(2))).start()
    assert level_of(source, at) == 2
    source.close()


def moments(script: Script, source: LiveSource, *offsets_ms: int) -> datetime:
    """Let pictures arrive so long after a trigger, each as bright as its place in the list; return the trigger."""
    at = datetime.now(UTC)
    source.start()
    script.say(*(shot(level, at + timedelta(milliseconds=ms)) for level, ms in enumerate(offsets_ms, start=1)))
    until(lambda: source._newest and source._newest[-1].pixels[0, 0] == len(offsets_ms))
    return at


def test_a_part_that_had_to_wait_for_its_turn_gets_its_own_picture_and_not_the_next_parts(script: Script) -> None:
    source = source_of(lambda: script, max_age_ms=50, wait_ms=150)
    first = moments(script, source, 10, 260)
    assert level_of(source, first) == 1
    assert level_of(source, first + timedelta(milliseconds=250)) == 2
    source.close()


def test_a_camera_that_runs_freely_shows_the_picture_nearest_to_the_trigger(script: Script) -> None:
    source = source_of(lambda: script)
    at = moments(script, source, -70, -35, 5, 40)
    assert level_of(source, at) == 3
    source.close()


def test_a_lost_picture_costs_its_own_part_only(script: Script) -> None:
    source = source_of(lambda: script, max_age_ms=50, wait_ms=150)
    # Parts every 250 ms; the picture of the second is lost.
    first = moments(script, source, 10, 510, 760)
    found: list[int | Reason] = []
    for part in range(4):
        try:
            found.append(level_of(source, first + timedelta(milliseconds=250 * part)))
        except SourceError as error:
            found.append(error.reason)
    assert found == [1, Reason.NO_IMAGE, 2, 3]
    source.close()


def test_a_picture_that_came_after_the_part_had_gone_by_is_not_its_own(script: Script) -> None:
    source = source_of(lambda: script, max_age_ms=50, wait_ms=150)
    at = moments(script, source, 400)
    with pytest.raises(
        SourceError, match=r"came after the part had gone by, the last 0\.400 s after its trigger; do the clocks"
    ):
        source.grab(1, at)
    source.close()


def test_parts_that_come_closer_than_the_window_for_their_pictures_are_warned_about(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    source = source_of(lambda: script, max_age_ms=50, wait_ms=150)
    at = moments(script, source, 10, 110)
    level_of(source, at)
    level_of(source, at + timedelta(milliseconds=100))
    (told,) = (record.message for record in caplog.records if "two parts came within" in record.message)
    assert told.startswith("line-1/top: two parts came within 100 ms, and max_age_ms and wait_ms make 200 ms")
    source.close()


def test_a_camera_that_is_away_is_told_as_such(script: Script) -> None:
    def refuse() -> Script:
        raise SourceError(Reason.NO_IMAGE, "the cable is out")

    source = source_of(refuse)
    with pytest.raises(SourceError, match="the camera is away: the cable is out"):
        source.grab(1, datetime.now(UTC))
    source.close()


@pytest.mark.parametrize("fault", [SourceError(Reason.NO_IMAGE, "gone"), OSError("driver"), MemoryError()])
def test_a_lost_camera_is_connected_again(fault: Exception) -> None:
    streams: list[Script] = []

    def connect() -> Script:
        streams.append(Script())
        streams[-1].say(shot(len(streams)))
        return streams[-1]

    source = source_of(connect)
    assert level_of(source) == 1
    streams[0].say(fault)
    assert level_of(source) == 2
    assert streams[0].closed == 1
    source.close()
    assert streams[1].closed == 1


def test_a_driver_that_raises_anything_while_connecting_is_asked_again(script: Script) -> None:
    tries = []

    def connect() -> Script:
        tries.append(1)
        if len(tries) < 4:
            raise RuntimeError("the driver is confused")
        return script

    source = source_of(connect, wait_ms=5000)
    script.say(shot(9))
    assert level_of(source) == 9
    source.close()


def test_every_picture_is_taken_once_and_gaps_of_the_counter_are_told_with_the_next(script: Script) -> None:
    source = source_of(lambda: script, every=10)
    source.start()
    script.say(*(shot(count, count=count) for count in (5, 6, 9, 10)), StreamEndedError())
    until(lambda: source.ended)
    taken = [source.take() for _ in range(5)]
    assert [None if one is None else (one.shot.count, one.lost) for one in taken] == [
        (5, 0), (6, 0), (9, 2), (10, 0), None,
    ]  # fmt: skip


def test_pictures_that_nobody_takes_are_dropped_oldest_first_and_counted_as_lost(script: Script) -> None:
    source = source_of(lambda: script, every=3)
    source.start()
    script.say(*(shot(count, count=count) for count in (1, 2, 4, 5, 6, 7)), StreamEndedError())
    until(lambda: source.ended)
    taken = [one for one in (source.take() for _ in range(4)) if one is not None]
    assert [(one.shot.count, one.lost) for one in taken] == [(5, 4 - 1 + 1), (6, 0), (7, 0)]


def test_a_camera_that_counts_anew_after_a_connection_has_not_lost_thousands() -> None:
    streams: list[Script] = []

    def connect() -> Script:
        streams.append(Script())
        return streams[-1]

    source = source_of(connect, every=10)
    source.start()
    until(lambda: streams)
    streams[0].say(shot(1, count=1), shot(2, count=2), OSError("gone"))
    until(lambda: len(streams) == 2)
    streams[1].say(shot(3, count=70), shot(4, count=71))
    until(lambda: source._arrivals and source._arrivals[-1].shot.count == 71)
    source.close()
    assert [one.lost for one in (source.take() for _ in range(4)) if one is not None] == [0, 0, 0, 0]


def test_what_arrived_before_the_end_can_still_be_taken(script: Script) -> None:
    source = source_of(lambda: script, every=4)
    changes: list[None] = []
    source.start(lambda: changes.append(None))
    script.say(shot(1))
    until(lambda: len(changes) >= 2)
    source.close()
    assert source.ended
    assert source.take() is not None
    assert source.take() is None


def test_a_closed_source_starts_no_thread(script: Script) -> None:
    source = source_of(lambda: script)
    source.close()
    with pytest.raises(SourceError, match="the source is closed"):
        source.grab(1, datetime.now(UTC))


# The counter


@given(st.integers(0, 1 << 40), st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_what_is_lost_and_what_arrived_make_up_what_the_camera_counted(first: int, steps: list[int]) -> None:
    counter = PictureCounter()
    counter.lost_before(first)
    count, lost = first, 0
    for step in steps:
        count += step
        lost += counter.lost_before(count)
    assert lost + len(steps) == count - first


@pytest.mark.parametrize(
    ("counts", "lost"),
    [
        ((65534, 65535, 1, 2), [0, 0, 0, 0]),  # GigE Vision's 16 bits leave out 0
        ((65533, 2), [0, 3]),  # 65534, 65535 and 1
        ((500, 1), [0, 0]),  # a camera that began anew
        ((1 << 40, 5), [0, 0]),
        ((None, None), [0, 0]),
        ((3, None, 9), [0, 0, 0]),
    ],
)
def test_a_counter_that_goes_back_has_wrapped_or_begun_anew(counts: tuple[int | None, ...], lost: list[int]) -> None:
    counter = PictureCounter()
    assert [counter.lost_before(count) for count in counts] == lost


def test_waits_double_up_to_the_longest_with_a_fifth_of_jitter() -> None:
    back_off = BackOff(0.25, 1.0, random.Random(1))
    waits = [back_off.next() for _ in range(5)]
    for wait, middle in zip(waits, (0.25, 0.5, 1, 1, 1), strict=True):
        assert 0.8 * middle <= wait <= 1.2 * middle
    assert len(set(waits)) == 5
    back_off.reset()
    assert back_off.next() <= 0.3
