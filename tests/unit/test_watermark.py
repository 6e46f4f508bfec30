"""What may be committed when frames finish out of order."""

from hypothesis import given
from hypothesis import strategies as st

from neverblink.scorer.watermark import Watermark

PLACE = ("frames", 0)


def opened(*offsets: int) -> Watermark:
    watermark = Watermark()
    for offset in offsets:
        watermark.opened(PLACE, offset)
    return watermark


def test_an_unfinished_frame_holds_back_every_later_one() -> None:
    watermark = opened(10, 11, 12)
    watermark.finished(PLACE, 11)
    watermark.finished(PLACE, 12)
    assert watermark.due() == {PLACE: 10}


def test_when_all_are_finished_the_next_record_is_committed() -> None:
    watermark = opened(10, 11)
    watermark.finished(PLACE, 11)
    watermark.finished(PLACE, 10)
    assert watermark.due() == {PLACE: 12}


def test_what_is_committed_is_not_committed_again() -> None:
    watermark = opened(10)
    watermark.finished(PLACE, 10)
    watermark.committed(watermark.due())
    assert watermark.due() == {}


def test_a_partition_that_moved_away_is_never_committed() -> None:
    watermark = opened(10)
    watermark.forget([PLACE])
    watermark.finished(PLACE, 10)
    assert watermark.due() == {}


@given(st.permutations(list(range(20))), st.integers(0, 20))
def test_nothing_unfinished_is_ever_below_the_committed_offset(order: list[int], finished: int) -> None:
    watermark = opened(*range(20))
    for offset in order[:finished]:
        watermark.finished(PLACE, offset)
    due = watermark.due()[PLACE]
    unfinished = set(order[finished:])
    assert all(offset >= due for offset in unfinished)
    assert due == min(unfinished, default=20)
