"""Which shift an instant belongs to, as the plant file says it, also on the days on which clocks are changed."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest

from neverblink.plant import EXAMPLE, PlantError, ShiftPlan, parse_plant

BERLIN = ShiftPlan([("early", time(6)), ("late", time(14)), ("night", time(22))], "Europe/Berlin")


@pytest.mark.parametrize(
    ("utc", "shift"),
    [
        ("2026-01-15T04:59:59", "night"),
        ("2026-01-15T05:00:00", "early"),
        ("2026-01-15T12:59:59", "early"),
        ("2026-01-15T21:00:00", "night"),
        ("2026-07-15T04:00:00", "early"),  # summer time: an hour earlier by UTC
        ("2026-07-15T03:59:59", "night"),
    ],
)
def test_a_shift_goes_by_the_clock_on_the_wall(utc: str, shift: str) -> None:
    assert BERLIN.shift_at(datetime.fromisoformat(utc).replace(tzinfo=UTC)) == shift


@pytest.mark.parametrize("day", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_every_instant_of_a_day_of_changed_clocks_has_one_shift_and_each_begins_once(day: datetime) -> None:
    moments = [day - timedelta(hours=6) + timedelta(minutes=minute) for minute in range(33 * 60)]
    names = [BERLIN.shift_at(moment) for moment in moments]
    changes = [(before, after) for before, after in pairwise(names) if before != after]
    assert changes == [("late", "night"), ("night", "early"), ("early", "late"), ("late", "night")]


@pytest.mark.parametrize(
    ("begins", "day"),
    [(time(2, 30), datetime(2026, 3, 29, tzinfo=UTC)), (time(2, 30), datetime(2026, 10, 25, tzinfo=UTC))],
)
def test_a_shift_that_begins_in_a_skipped_or_doubled_hour_begins_once(begins: time, day: datetime) -> None:
    plan = ShiftPlan([("night", begins), ("day", time(12))], "Europe/Berlin")
    names = [plan.shift_at(day - timedelta(hours=4) + timedelta(minutes=minute)) for minute in range(14 * 60)]
    assert [after for before, after in pairwise(names) if before != after] == ["night"]


def test_without_shifts_of_its_own_a_plant_counts_by_those_of_drift() -> None:
    plan = parse_plant(EXAMPLE + "\ndrift: {shifts_begin_h: [5, 17], time_zone: Asia/Kolkata}\n").shift_plan()
    assert plan.shift_at(datetime(2026, 3, 2, 0, 0, tzinfo=UTC)) == "05:00"
    assert plan.shift_at(datetime(2026, 3, 2, 12, 0, tzinfo=UTC)) == "17:00"


def test_times_may_be_written_without_quotes() -> None:
    shifts = "\nrecords: {shifts: [{name: a, begins: 06:00}, {name: b, begins: 14:30}], time_zone: UTC}\n"
    plan = parse_plant(EXAMPLE + shifts).shift_plan()
    assert plan.shift_at(datetime(2026, 3, 2, 14, 29, tzinfo=UTC)) == "a"
    assert plan.shift_at(datetime(2026, 3, 2, 14, 30, tzinfo=UTC)) == "b"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ("{shifts: [{name: a, begins: '06:00'}, {name: a, begins: '14:00'}]}", "two shifts are named 'a'"),
        ("{shifts: [{name: a, begins: '06:00'}, {name: b, begins: '06:00'}]}", "two shifts begin at the same time"),
        ("{time_zone: Mars}", "'Mars' is no time zone"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(records: str, said: str) -> None:
    with pytest.raises(PlantError, match=said):
        parse_plant(f"{EXAMPLE}\nrecords: {records}\n")
