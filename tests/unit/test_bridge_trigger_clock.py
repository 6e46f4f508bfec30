"""The clock of a camera's host: known as far as events allow, and never more charged or granted than is certain."""

from hypothesis import given
from hypothesis import strategies as st

from neverblink.bridge.trigger_clock import LEAST_S, TriggerClock

LOOK_S = 0.1


@given(
    offset=st.floats(-3, 3),
    parts=st.lists(st.tuples(st.floats(0, LOOK_S), st.floats(0, 0.05)), min_size=1, max_size=40),
)
def test_no_deadline_moves_by_more_than_the_clock_is_wrong(offset: float, parts: list[tuple[float, float]]) -> None:
    """`offset` is how far the camera is behind; each part comes so long after a look, and the camera hears it later."""
    clock = TriggerClock()
    for number, (after_look, heard) in enumerate(parts):
        trigger = 1000.0 + number
        clock.part(trigger + heard - offset, trigger - after_look, trigger - after_look + LOOK_S)
    if offset > 0:
        assert 0 <= clock.seconds <= offset + 1e-9
    else:
        assert offset - 0.05 - 1e-9 <= clock.seconds <= 0
    if abs(offset) > 2 * LOOK_S + LEAST_S:
        assert clock.seconds != 0


def test_a_clock_that_is_right_is_none_of_our_business() -> None:
    clock = TriggerClock()
    for number in range(20):
        clock.part(100.0 + number, 99.95 + number, 100.05 + number)
    assert clock.seconds == 0.0
    assert clock.news() is None


def test_a_clock_that_is_behind_and_then_set_is_told_twice() -> None:
    clock = TriggerClock()
    clock.part(99.4, 99.95, 100.05)
    assert clock.news() == "is 0.55 s behind ours: its parts' deadlines count by our clock; set both by NTP or PTP"
    assert clock.news() is None
    clock.part(101.0, 100.95, 101.05)
    assert clock.news() == "agrees with ours again"
