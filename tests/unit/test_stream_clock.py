"""How old a picture is: by the camera's own clock, or by whether it had to be waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.camera.stream_clock import ArrivalWatch, StreamClock


@given(
    offset=st.floats(-1e6, 1e6),
    delays=st.lists(st.floats(0, 5), min_size=1, max_size=50),
)
def test_a_picture_is_as_old_as_its_way_was_longer_than_the_shortest(offset: float, delays: list[float]) -> None:
    clock = StreamClock()
    clock.age_s(offset, 0.0)  # the first came without delay
    arrived = 0.0
    for number, delay in enumerate(delays, start=1):
        arrived = max(arrived, number + delay)  # one picture does not overtake another
        age = clock.age_s(offset + number, arrived)
        assert age == pytest.approx(arrived - number, abs=100e-6 * arrived + 1e-6)


def test_a_camera_whose_clock_runs_slow_grows_no_older() -> None:
    clock = StreamClock()
    ages = [clock.age_s(second * (1 - 50e-6), float(second)) for second in range(0, 100_000, 10)]
    assert max(ages) < 0.001


def test_a_stall_is_told_as_age_and_then_forgotten() -> None:
    clock = StreamClock()
    clock.age_s(0.0, 10.0)
    assert clock.age_s(0.04, 12.04) == pytest.approx(2.0, abs=0.001)
    assert clock.age_s(2.04, 12.04) == pytest.approx(0.0, abs=0.001)


def test_a_camera_whose_clock_goes_back_began_anew() -> None:
    clock = StreamClock()
    clock.age_s(1000.0, 10.0)
    assert clock.age_s(1.0, 11.0) == 0.0
    assert clock.age_s(2.0, 12.5) == pytest.approx(0.5, abs=0.001)


def test_a_picture_that_was_waited_for_is_fresh_and_one_that_waited_may_be_as_old_as_the_queue_was_unseen() -> None:
    watch = ArrivalWatch(0.0)
    assert watch.unsure_s(1.0, waited_for=True) == 0.0
    assert watch.unsure_s(1.6, waited_for=False) == pytest.approx(0.6)
    assert watch.unsure_s(1.7, waited_for=False) == pytest.approx(0.7)
    watch.empty_at(1.7)
    assert watch.unsure_s(1.75, waited_for=False) == pytest.approx(0.05)
