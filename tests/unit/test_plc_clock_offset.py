"""A clock that is wrong is told from a part that is late: it is wrong by the same for all."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.plc.clock_offset import ClockOffset

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
S = timedelta(seconds=1)


def told(offset: ClockOffset, late_s: list[float], every_s: float = 0.3) -> list[float]:
    """Return what each part is charged, told so late after its instant by the other clock."""
    charged = []
    for number, late in enumerate(late_s):
        heard = BEGAN + number * every_s * S
        charged.append((heard - offset.moment(heard - late * S, heard)).total_seconds())
    return charged


@pytest.mark.parametrize("behind_s", [0.2, 0.5, 0.8, 0.95, 1.05, 3600.0])
def test_a_constant_offset_is_not_charged(behind_s: float) -> None:
    offset = ClockOffset()
    charged = told(offset, [behind_s + 0.01 * (number % 3) for number in range(12)])
    assert max(charged[2:]) == pytest.approx(0.02)
    assert offset.seconds == pytest.approx(behind_s)


def test_a_clock_that_is_ahead_never_puts_a_part_into_the_future() -> None:
    offset = ClockOffset()
    assert min(told(offset, [-0.3, -0.29, -0.28, -0.3, -0.25])) >= 0
    assert offset.seconds == pytest.approx(-0.3)


def test_what_sampling_and_the_wire_take_is_charged_and_no_offset() -> None:
    offset = ClockOffset()
    assert told(offset, [0.03, 0.02, 0.04, 0.02]) == pytest.approx([0.03, 0.02, 0.04, 0.02])
    assert offset.seconds == 0


def test_parts_that_a_stall_kept_back_are_charged_the_stall() -> None:
    offset = ClockOffset()
    told(offset, [0.02] * 5)
    assert told(offset, [0.8, 0.7, 0.6, 0.5], every_s=0.0) == pytest.approx([0.8, 0.7, 0.6, 0.5])


def test_parts_that_a_stall_kept_back_at_the_start_are_no_offset() -> None:
    offset = ClockOffset()
    assert told(offset, [0.8, 0.7, 0.6, 0.5], every_s=0.0) == pytest.approx([0.8, 0.7, 0.6, 0.5])
    assert offset.seconds == 0


def test_the_offset_is_told_once_and_so_is_its_end() -> None:
    offset, said = ClockOffset(), []
    for number, late in enumerate([0.5] * 6 + [0.02] * 40):
        heard = BEGAN + number * 0.3 * S
        offset.moment(heard - late * S, heard)
        said.append(offset.news())
    assert [one for one in said if one] == [
        "is 0.50 s behind ours: parts count by our clock, and none pays for it; set it by NTP or PTP",
        "agrees with ours again",
    ]


def test_without_a_stated_time_a_part_counts_from_when_it_is_heard_of() -> None:
    assert ClockOffset().moment(None, BEGAN) == BEGAN


@given(st.lists(st.floats(-4000, 4000), max_size=40))
def test_no_part_is_ever_in_the_future_or_charged_more_than_a_second(late_s: list[float]) -> None:
    assert all(-1e-6 <= charged <= 1.000001 for charged in told(ClockOffset(), late_s))
