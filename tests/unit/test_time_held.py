"""For how long lines were on hold and in bypass: what two sides say together, and what nobody said."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.events import Hold
from neverblink.events.hold import BYPASS, HELD, PEOPLE, PLC, RELEASED
from neverblink.ledger.writing import keep
from neverblink.records.database import Database
from neverblink.records.questions.holds import TimeHeld, _length, time_held

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def said(minute: int, state: str, source: str = PEOPLE, line: str = "line-1") -> Hold:
    at = NOON + timedelta(minutes=minute)
    return Hold(id=f"{line}-{source}-{minute}", line=line, source=source, state=state, at=at, by="m.okafor", why=None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    yield found
    found.close()


def held(database: Database, *events: Hold, lines: tuple[str, ...] = ("line-1",)) -> TimeHeld:
    keep(database, events, NOON)
    with database.session() as session:
        return time_held(session, lines, NOON, NOON + HOUR)


def test_time_on_hold_is_counted_once_where_two_sides_say_it(database: Database) -> None:
    found = held(database, said(10, HELD), said(20, HELD, PLC), said(30, RELEASED), said(40, RELEASED, PLC))
    assert found.hold_s == 30 * 60


def test_a_hold_that_began_before_and_one_that_still_holds_count_within_the_period_alone(database: Database) -> None:
    assert held(database, said(-30, HELD), said(15, RELEASED), said(50, HELD)).hold_s == 25 * 60


def test_bypass_is_known_where_the_plc_spoke_from_the_begin_on(database: Database) -> None:
    assert held(database, said(5, RELEASED, PLC)).bypass_s is None
    assert held(database, said(-5, RELEASED, PLC), said(30, BYPASS, PLC), said(45, RELEASED, PLC)).bypass_s == 15 * 60


def test_bypass_of_several_lines_is_not_known_where_one_of_them_does_not_say(database: Database) -> None:
    both = ("line-1", "line-2")
    assert held(database, said(-5, RELEASED, PLC), lines=both).bypass_s is None
    assert held(database, said(-5, BYPASS, PLC, "line-2"), lines=both) == TimeHeld(0.0, 3600.0)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8), st.integers(0, 100))
def test_the_length_of_spans_is_the_number_of_seconds_that_any_of_them_holds(
    spans: list[tuple[int, int]], since: int
) -> None:
    ordered = [(min(span), max(span)) for span in spans]
    expected = len({second for begin, end in ordered for second in range(begin, end) if second >= since})
    moments = [(NOON + timedelta(seconds=begin), NOON + timedelta(seconds=end)) for begin, end in ordered]
    assert _length(moments, NOON + timedelta(seconds=since)) == expected
