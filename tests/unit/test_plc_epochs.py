"""An epoch must grow whenever a PLC counts anew: no part may be called as an earlier one was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.plc.epochs import EPOCH_NUMBERS, EpochWatch
from neverblink.plc.word import NUMBERS


def watch(epoch: int = 1, last: int = 500) -> EpochWatch:
    made = EpochWatch()
    assert made.fault(epoch, last) is None
    return made


@pytest.mark.parametrize(
    ("epoch", "number"),
    [(1, 500), (1, 501), (1, 5_000), (2, 1), (2, 0), (2, 501), (9, 3)],
)
def test_a_count_that_goes_on_or_a_new_epoch_is_right(epoch: int, number: int) -> None:
    assert watch().fault(epoch, number) is None


def test_an_epoch_goes_on_over_its_end() -> None:
    assert watch(EPOCH_NUMBERS - 1).fault(0, 1) is None


def test_a_count_goes_on_over_its_end() -> None:
    assert watch(last=NUMBERS - 1).fault(1, 2) is None


def test_counting_anew_in_the_same_epoch_names_both_counts_and_what_to_do() -> None:
    why = watch().fault(1, 3)
    assert why is not None
    assert "part 3 of epoch 1" in why
    assert "part 500 of epoch 1 was seen before" in why
    assert "Set Epoch to 2 or more" in why


def test_an_earlier_epoch_is_refused_and_named() -> None:
    why = watch(7, 40).fault(1, 3)
    assert why is not None
    assert "part 3 of epoch 1" in why
    assert "Set Epoch to 8 or more" in why


def test_an_epoch_that_was_refused_stays_so_when_its_count_has_passed_the_old_one() -> None:
    made = watch()
    first = made.fault(1, 3)
    assert made.fault(1, 501) == first
    assert made.fault(1, 60_000) == first
    assert made.fault(2, 1) is None
    assert made.fault(2, 2) is None


def test_a_new_epoch_that_was_read_beside_the_old_count_is_right_once() -> None:
    made = watch()
    assert made.fault(2, 500) is None
    assert made.fault(2, 1) is None
    assert made.fault(2, 9) is None
    assert made.fault(2, 3) is not None


def test_a_cleared_lane_that_goes_on_counting_may_not_begin_anew_in_that_epoch() -> None:
    made = watch()
    assert made.fault(2, 501) is None
    assert made.fault(2, 502) is None
    assert made.fault(2, 1) is not None


def test_what_another_bridge_has_seen_counts_as_seen() -> None:
    made = EpochWatch()
    made.seen(4, 100)
    made.seen(4, 90)
    made.seen(3, 9_000)
    assert made.fault(4, 95) is not None
    assert made.fault(5, 1) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=30))
def test_no_part_that_was_let_through_is_ever_let_through_again(steps: list[tuple[int, int]]) -> None:
    """A PLC that restarts at will, in the same epoch or a new one, and counts on from 0 each time."""
    made, epoch, number = EpochWatch(), 1, 0
    assert made.fault(epoch, number) is None
    taken: set[tuple[int, int]] = set()
    for what, parts in steps:
        if what == 0:
            number = 0  # it restarts without a new epoch
        elif what == 1:
            epoch, number = epoch + 1, 0
        made.fault(epoch, number)
        for _ in range(parts):
            number += 1
            if made.fault(epoch, number) is None:
                assert (epoch, number) not in taken
                taken.add((epoch, number))
