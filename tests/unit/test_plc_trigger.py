"""Counting parts from LastTriggered: each part once, gaps told as missed."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from neverblink.plc.trigger import PartCounter, PlcTrigger

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def numbers(found: list[PlcTrigger]) -> list[tuple[int, bool]]:
    return [(trigger.number, trigger.missed) for trigger in found]


def counter(epoch: int = 1, last: int = 5) -> PartCounter:
    made = PartCounter()
    assert list(made.reconnected(epoch, last, NOW)) == []
    return made


def test_a_jump_from_five_to_eight_tells_six_and_seven_as_missed() -> None:
    assert numbers(list(counter().changed(1, 8, NOW))) == [(6, True), (7, True), (8, False)]


def test_the_same_number_again_is_no_part() -> None:
    assert list(counter().changed(1, 5, NOW)) == []


def test_parts_counted_while_we_were_away_are_all_missed() -> None:
    assert numbers(list(counter().reconnected(1, 7, NOW))) == [(6, True), (7, True)]


def test_a_new_epoch_counts_from_one() -> None:
    found = list(counter().changed(2, 2, NOW))
    assert numbers(found) == [(1, True), (2, False)]
    assert {trigger.epoch for trigger in found} == {2}


def test_a_new_epoch_that_has_passed_the_old_number_while_we_were_away_is_counted_from_one() -> None:
    found = list(counter(1, 5).reconnected(2, 7, NOW))
    assert numbers(found) == [(number, True) for number in range(1, 8)]
    assert {trigger.epoch for trigger in found} == {2}


def test_a_lane_clear_that_keeps_counting_misses_nothing() -> None:
    assert numbers(list(counter().changed(2, 6, NOW))) == [(6, False)]


def test_a_count_that_was_read_beside_the_epoch_before_is_a_new_baseline() -> None:
    made = counter()
    assert list(made.changed(1, 2, NOW)) == []
    assert numbers(list(made.changed(1, 3, NOW))) == [(3, False)]


def test_the_counter_goes_on_over_its_end() -> None:
    assert numbers(list(counter(last=2**32 - 1).changed(1, 0, NOW))) == [(0, False)]


@given(st.lists(st.integers(0, 40), max_size=50))
def test_every_part_is_told_exactly_once_whatever_is_coalesced(steps: list[int]) -> None:
    made, last, told = counter(last=0), 0, []
    for step in steps:
        last += step
        told += [trigger.number for trigger in made.changed(1, last, NOW)]
    assert told == list(range(1, last + 1))
