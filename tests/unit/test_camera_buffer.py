"""Frames on their way to Kafka: bounded, earliest deadline first, and a frozen camera is noticed."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from neverblink.camera.frame_buffer import FrameBuffer
from neverblink.camera.frozen import FrozenWatch
from neverblink.events import Frame

START = datetime(2026, 1, 1, tzinfo=UTC)


def frame(seq: int, deadline_s: float) -> Frame:
    body = str(seq).encode()
    return Frame(
        id=f"frame-{seq}",
        line="line-1",
        station="top",
        product="pcb",
        part=f"line-1/1/{seq}",
        seq=seq,
        captured=START,
        published=START,
        deadline=START + timedelta(seconds=deadline_s),
        sha256=hashlib.sha256(body).hexdigest(),
        size=len(body),
        body=body,
    )


async def test_the_earliest_deadline_is_published_first() -> None:
    buffer = FrameBuffer(4)
    buffer.put(frame(1, 9))
    buffer.put(frame(2, 3))
    assert (await buffer.get()).seq == 2
    assert (await buffer.get()).seq == 1


def test_a_full_buffer_hands_back_the_frame_with_the_least_time_left() -> None:
    buffer = FrameBuffer(2)
    assert buffer.put(frame(1, 5)) is None
    assert buffer.put(frame(2, 9)) is None
    displaced = buffer.put(frame(3, 7))
    assert displaced is not None
    assert displaced.seq == 1
    assert len(buffer) == 2


def test_identical_pictures_in_a_row_are_a_frozen_camera() -> None:
    watch = FrozenWatch(3)
    assert [watch.frozen_cycle(digest) > 0 for digest in "aaab"] == [False, False, True, False]


def test_the_frozen_check_can_be_switched_off() -> None:
    watch = FrozenWatch(None)
    assert not any(watch.frozen_cycle("a") > 0 for _ in range(100))


@pytest.mark.parametrize("length", range(1, 13))
def test_a_camera_that_shows_a_few_pictures_in_turn_is_frozen_after_the_third_turn(length: int) -> None:
    watch = FrozenWatch(3, cycles=True)
    told = [watch.frozen_cycle(f"old {number % length}") for number in range(5 * length)]
    assert told == [0] * (3 * length - 1) + [length] * (2 * length + 1)


def test_a_cycle_that_is_broken_must_come_three_times_again() -> None:
    watch = FrozenWatch(3, cycles=True)
    assert [watch.frozen_cycle(digest) > 0 for digest in "ababaxababab"] == [False] * 11 + [True]


def test_a_recording_that_begins_again_is_not_frozen() -> None:
    watch = FrozenWatch(3)
    assert not any(watch.frozen_cycle(str(number % 4)) > 0 for number in range(40))
