"""Each part is counted once: whatever the order, the borders of batches, doubles and corrections of its events."""

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from ten_days import MONDAY, Counts, Words, shift_at, simulated_days, true_counts

from neverblink.events import Event
from neverblink.ledger.writing import keep
from neverblink.records.columns import table_of
from neverblink.records.database import Database
from neverblink.records.part_tables import PartRow, RollupRow, WordRollupRow
from neverblink.records.parts import PartRules
from neverblink.records.tables import ActuationRow, VerdictRow

RULES = PartRules(shift_at)
_KEY = ("hour", "shift", "line", "station", "product", "artifact_digest", "lot")


def counted(database: Database) -> tuple[Counts, Words]:
    """Return what the tables hold."""
    with database.session() as session:
        rows = session.connection().execute(select(table_of(RollupRow))).mappings().all()
        words = session.connection().execute(select(table_of(WordRollupRow))).mappings().all()
    counts = {
        tuple(row[name] for name in _KEY): {name: n for name, n in row.items() if name not in _KEY and n}
        for row in rows
    }
    return counts, {tuple(row[name] for name in (*_KEY, "kind", "decision", "word")): row["count"] for row in words}


def batches(events: Sequence[Event], chance: random.Random, most: int) -> Iterator[Sequence[Event]]:
    start = 0
    while start < len(events):
        end = start + chance.randint(1, most)
        yield events[start:end]
        start = end


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with nothing in it, to be copied."""
    file = tmp_path_factory.mktemp("empty") / "ledger.db"
    Database(f"sqlite:///{file}", create=True).close()
    return file


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32), most=st.integers(4, 40))
def test_in_whatever_order_events_arrive_the_counts_are_those_of_the_parts(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, most: int
) -> None:
    chance = random.Random(seed)
    parts = simulated_days(seed, days=2, parts_a_day=6)
    events = [event for part in parts for event in part.events]
    events += chance.choices(events, k=len(events) // 4)
    chance.shuffle(events)
    file = shutil.copy(empty, tmp_path_factory.mktemp("one") / "ledger.db")
    database = Database(f"sqlite:///{file}", create=False)
    try:
        for batch in batches(events, chance, most):
            keep(database, batch, MONDAY, RULES)
        assert counted(database) == true_counts(parts)
        with database.session() as session:
            assert session.scalar(select(func.count()).select_from(PartRow)) == len(parts)
            for table in (VerdictRow, ActuationRow):
                assert session.scalar(select(func.count()).where(table.part_id.is_(None))) == 0
    finally:
        database.close()
