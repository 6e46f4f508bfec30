"""The ledger keeps what was announced of reference parts, and each stage of an alarm once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from neverblink.events import Alarm, Challenge
from neverblink.events.alarm import CLEARED
from neverblink.events.examples import examples
from neverblink.events.identity import alarm_stage_id
from neverblink.ledger.writing import keep
from neverblink.records.database import Database
from neverblink.records.part_tables import AlarmRow, ChallengeRow

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
CHALLENGE = next(event for event in examples() if isinstance(event, Challenge))
RAISED = next(event for event in examples() if isinstance(event, Alarm))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    yield opened
    opened.close()


def test_an_announcement_is_kept_whole_and_once(database: Database) -> None:
    assert keep(database, [CHALLENGE, CHALLENGE], NOON) == 1
    assert keep(database, [CHALLENGE], NOON) == 0
    with database.session() as session:
        row = session.scalars(select(ChallengeRow)).one()
    assert {name: getattr(row, name) for name in Challenge.model_fields} == CHALLENGE.model_dump()


def test_both_stages_of_an_alarm_are_kept_each_once(database: Database) -> None:
    at = RAISED.at + timedelta(minutes=3)
    cleared = RAISED.model_copy(update={"id": alarm_stage_id(RAISED.alarm, CLEARED), "stage": CLEARED, "at": at})
    assert keep(database, [RAISED, cleared], NOON) == 2
    assert keep(database, [cleared, RAISED], NOON) == 0
    with database.session() as session:
        rows = session.scalars(select(AlarmRow).order_by(AlarmRow.at)).all()
    assert [(row.alarm, row.stage, row.sent) for row in rows] == [
        (RAISED.alarm, "raised", NOON),
        (RAISED.alarm, "cleared", NOON),
    ]
    assert rows[0].subject == RAISED.subject


@pytest.mark.parametrize(
    "wrong",
    [{"epoch": None}, {"number": None}, {"expires": CHALLENGE.at}, {"reference": "a\nb"}, {"reference": "x" * 65}],
    ids=["number without epoch", "epoch without number", "over at once", "a line end", "too long"],
)
def test_an_announcement_that_names_no_one_part_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Challenge.model_validate(CHALLENGE.model_dump() | wrong)
