"""Each part is counted once: whatever the order, the borders of batches, doubles and corrections of its events."""

import random
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from ten_days import MONDAY, counted, shift_at, simulated_days, true_counts
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.events import Event, Judgement, Review
from neverblink.ledger.recount import build_some, recount, without_part
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE
from neverblink.records.columns import table_of
from neverblink.records.database import Database
from neverblink.records.part_tables import PartRow
from neverblink.records.parts import PartRules
from neverblink.records.tables import ActuationRow, VerdictRow

RULES = PartRules(shift_at)


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


@pytest.fixture
def ledger(empty: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty, tmp_path / "ledger.db")
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=False)
    yield database
    database.close()


# A seed is not made smaller by smaller numbers.
@settings(max_examples=6, phases=(Phase.explicit, Phase.generate))
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


def test_a_recount_finds_nothing_in_what_was_kept_and_mends_what_somebody_changed(ledger: Database) -> None:
    parts = simulated_days(3, days=2, parts_a_day=8)
    keep(ledger, [event for part in parts for event in part.events], MONDAY, RULES)
    assert recount(ledger, RULES, MONDAY, repair=False, tell=lambda _: None).is_exact

    with ledger.writing() as connection:
        connection.execute(text("UPDATE rollups SET passed = passed + 3 WHERE station = 'top'"))
        connection.execute(text("DELETE FROM word_rollups WHERE kind = 'defect'"))
        connection.execute(text("UPDATE parts SET decision = 'pass', lot = 'x' WHERE id = 2"))
        connection.execute(text("UPDATE parts SET epoch = 9 WHERE id = 1"))
    found = recount(ledger, RULES, MONDAY, repair=False, tell=lambda _: None)
    assert set(found.wrong_parts) == {1, 2}
    assert found.wrong_counts > 2
    assert counted(ledger) != true_counts(parts)

    assert not recount(ledger, RULES, MONDAY, repair=True, tell=lambda _: None).is_exact
    assert counted(ledger) == true_counts(parts)
    assert recount(ledger, RULES, MONDAY, repair=True, tell=lambda _: None).is_exact


def test_events_of_before_parts_get_theirs_in_batches_while_new_ones_arrive(ledger: Database) -> None:
    parts = simulated_days(4, days=3, parts_a_day=8)
    events = [event for part in parts for event in part.events]
    old, new = events[: len(events) // 2], events[len(events) // 2 :]
    keep(ledger, old, MONDAY, RULES)
    with ledger.writing() as connection:
        for table in ("parts", "part_defects", "rollups", "word_rollups"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE verdicts SET part_id = NULL, judgement = NULL"))
        connection.execute(text("UPDATE actuations SET part_id = NULL"))
    assert without_part(ledger) > 20
    for batch in batches(new, random.Random(1), 15):
        build_some(ledger, RULES, MONDAY, most=3)
        keep(ledger, batch, MONDAY, RULES)
    while build_some(ledger, RULES, MONDAY, most=5):
        pass
    assert without_part(ledger) == 0
    assert counted(ledger) == true_counts(parts)
    assert recount(ledger, RULES, MONDAY, repair=False, tell=lambda _: None).is_exact


def test_an_answer_changes_the_figures_and_never_what_was_decided(ledger: Database) -> None:
    part = next(one for one in simulated_days(5, 1, 30) if len(one.verdicts) == 2 and not one.reviews)
    keep(ledger, part.events, MONDAY, RULES)

    def row() -> dict[str, object]:
        with ledger.session() as session:
            return dict(session.execute(select(table_of(PartRow))).mappings().one())

    def judged(name: str) -> int:
        return sum(counts.get(name, 0) for key, counts in counted(ledger)[0].items() if key[3] == "")

    before = row()
    verdict = part.verdicts[0]
    about = {name: getattr(verdict, name) for name in ("frame_id", "line", "station", "product", "part")}
    said = [("normal", False), ("defect", False), ("inconclusive", True)]
    for number, (judgement, withdrawn) in enumerate(said):
        review = Review(
            id=f"r{number}", verdict=verdict.id, judgement=Judgement(judgement), withdrawn=withdrawn, reviewer="ann",
            at=MONDAY + timedelta(hours=number), **about,
        )  # fmt: skip
        keep(ledger, [review], MONDAY, RULES)
        after = row()
        changed = {name for name in before if before[name] != after[name]}
        assert changed <= {"judgement", "reviewed_at", "revision"}
        assert (judged("judged_normal"), judged("judged_defect")) == ((1, 0), (0, 1), (0, 0))[number]
    assert after["judgement"] is None


def test_a_review_that_names_another_line_is_of_no_part_of_it(ledger: Database) -> None:
    part = next(one for one in simulated_days(5, 1, 30) if one.verdicts and not one.reviews)
    verdict = part.verdicts[0]
    stray = Review(
        id="r", verdict=verdict.id, frame_id="f", line="line-9", station="top", product="pcb", part="1",
        judgement=Judgement.DEFECT, reviewer="ann", at=MONDAY,
    )  # fmt: skip
    keep(ledger, [stray], MONDAY, RULES)
    keep(ledger, part.events, MONDAY, RULES)
    assert counted(ledger) == true_counts([part])


def test_a_part_of_the_same_number_a_day_later_is_another_part(ledger: Database) -> None:
    parts = [part for part in simulated_days(6, days=3, parts_a_day=2) if part.line == "line-1"]
    keep(ledger, [event for part in reversed(parts) for event in part.events], MONDAY, RULES)
    with ledger.session() as session:
        rows = session.execute(select(PartRow.number, PartRow.triggered).order_by(PartRow.triggered)).all()
    assert [row.number for row in rows].count(0) == 3
    assert len(rows) == len(parts)


def test_the_command_tells_what_differs_and_ends_with_a_code(ledger: Database, tmp_path: Path) -> None:
    (tmp_path / "plant.yaml").write_text(EXAMPLE)
    command = ["ledger", "recount", "--plant", str(tmp_path / "plant.yaml")]
    keep(ledger, simulated_days(3, 1, 4)[0].events, MONDAY, RULES)
    exact = CliRunner().invoke(app, command)
    assert (exact.exit_code, exact.stdout) == (0, "1 parts and all counts are what the events say.\n")
    with ledger.writing() as connection:
        connection.execute(text("UPDATE rollups SET parts = parts + 1 WHERE station = ''"))
    for words, said in ((["--check"], "nothing is changed"), ([], "they are mended")):
        found = CliRunner().invoke(app, [*command, *words])
        assert found.exit_code == 1
        assert "parts -1" in found.stdout
        assert said in found.stdout
    assert CliRunner().invoke(app, command).exit_code == 0
