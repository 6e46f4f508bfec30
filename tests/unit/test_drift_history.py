"""History: every closed window once in its hour, shift and week, and no more of them than is written."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.drift.errors import LayoutError
from neverblink.drift.history import HOUR_S, HOURS_KEPT, SHIFTS_KEPT, WEEKS_KEPT, Calendar, History
from neverblink.drift.moments import Moments
from neverblink.drift.score_sketch import ScoreSketch
from neverblink.drift.statistics import Window

MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp()
CALENDAR = Calendar()


def window(opened: float, length: float = 600.0, passed: int = 10) -> Window:
    values = np.full(passed, 0.5)
    return Window(opened, opened + length, passed=passed, pass_ratio=Moments.of(values), sketch=ScoreSketch.of(values))


def filled(days: float, length: float = HOUR_S) -> History:
    history = History()
    for number in range(int(days * 86400 / length)):
        history.take(window(MONDAY + number * length, length), CALENDAR)
    return history


def test_a_day_of_windows_is_24_hours_three_shifts_and_one_week() -> None:
    history = filled(1, 600)
    assert [span.passed for span in history.hours] == [60] * 24
    assert [span.passed for span in history.shifts] == [480] * 3
    assert [span.passed for span in history.weeks] == [1440]
    assert history.weeks[0].sketch.count == 1440
    day = history.day(MONDAY + 80_000, CALENDAR)
    assert day is not None
    assert day.passed == 1440


def test_a_year_is_kept_within_the_stated_bounds() -> None:
    history = filled(365, 4 * HOUR_S)
    assert len(history.hours) == HOURS_KEPT
    assert len(history.shifts) == SHIFTS_KEPT
    assert len(history.weeks) == WEEKS_KEPT
    assert len(history.archive()) < 48_000


def test_the_night_shift_belongs_to_the_day_on_which_it_began() -> None:
    after_midnight = datetime(2026, 3, 4, 3, tzinfo=UTC).timestamp()
    assert CALENDAR.shift_of(after_midnight)[:2] == (1, 2)
    assert CALENDAR.shift_of(after_midnight).begins == datetime(2026, 3, 3, 22, tzinfo=UTC)


def test_shifts_begin_by_the_clock_on_the_wall_in_summer_too() -> None:
    calendar = Calendar(zone=ZoneInfo("Europe/Berlin"))
    for month in (1, 7):
        local = datetime(2026, month, 6, 6, tzinfo=ZoneInfo("Europe/Berlin"))
        assert calendar.shift_of(local.timestamp()).begins == local
        assert calendar.shift_of(local.timestamp() - 1).number == 2


def test_the_same_shift_of_earlier_weeks_is_of_that_weekday_alone() -> None:
    history = filled(16)
    tuesday_noon = MONDAY + 15 * 86400 + 4 * HOUR_S
    found = history.same_shift_before(tuesday_noon, CALENDAR)
    assert found is not None
    assert found.passed == 2 * 80
    assert history.same_shift_before(MONDAY, CALENDAR) is None


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    replays=st.lists(st.tuples(st.integers(0, 39), st.integers(1, 10)), max_size=5),
)
def test_a_replay_changes_nothing(lengths: list[int], replays: list[tuple[int, int]]) -> None:
    windows = [window(MONDAY + number * 1800, 1800, passed) for number, passed in enumerate(lengths)]
    calm, replayed = History(), History()
    for number, item in enumerate(windows):
        assert calm.take(item, CALENDAR)
        replayed.take(item, CALENDAR)
        for place, back in replays:
            if place == number:
                replayed = History.from_json(orjson.loads(orjson.dumps(replayed.to_json())), replayed.archive())
                for again in windows[max(0, number - back) : number + 1]:
                    assert not replayed.take(again, CALENDAR)
    assert [span.passed for span in replayed.shifts] == [span.passed for span in calm.shifts]
    assert [span.passed for span in replayed.hours] == [span.passed for span in calm.hours]
    assert [span.sketch.count for span in replayed.shifts] == [span.sketch.count for span in calm.shifts]
    assert sum(span.passed for span in calm.weeks) == sum(lengths)


def test_a_history_of_another_layout_is_refused() -> None:
    with pytest.raises(LayoutError, match="layout 9; this program reads 2"):
        History.from_json(History().to_json() | {"layout": 9})
