"""The ledger: the first event of an id stands, questions are answered right, faults are sentences."""

import io
import random
import sqlite3
import string
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from neverblink.cli import records as commands
from neverblink.events import (
    Actuation,
    ArtifactRef,
    BoundingBox,
    DeadLetter,
    Decision,
    Defect,
    DriftReport,
    Event,
    GateAction,
    Judgement,
    Outcome,
    Review,
    Times,
    Tracking,
    Verdict,
)
from neverblink.events.actuation import HELD_CODE
from neverblink.events.identity import actuation_id, verdict_id
from neverblink.ledger import writing
from neverblink.plant import EXAMPLE, Plant, parse_plant
from neverblink.records.database import Database, LedgerAbsent, LedgerError, UnkeepableError
from neverblink.records.questions import ledger_figures as queries
from neverblink.records.questions.line_state import counts_by_line
from neverblink.records.questions.part_story import part_of_verdict, story_of
from neverblink.records.tables import DefectRow, Table

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)


def verdict(number: int = 1, decision: Decision = Decision.PASS, **changes: Any) -> Verdict:
    captured = NOON + timedelta(seconds=number)
    scored = decision is not Decision.UNSCORED
    fields: dict[str, Any] = {
        "id": verdict_id(f"frame-{changes.get('line', 'line-1')}-{changes.get('station', 'top')}-{number}"),
        "frame_id": f"frame-{number}",
        "line": "line-1",
        "station": "top",
        "product": "pcb",
        "part": f"1-{number}",
        "seq": number,
        "tracking": Tracking(epoch=1, number=number),
        "decision": decision,
        "reason": {Decision.REJECT: "anomaly", Decision.UNSCORED: "late"}.get(decision),
        "score": 1.0 if scored else None,
        "threshold": 2.0 if scored else None,
        "ratio": 0.5 if scored else None,
        "artifact": ARTIFACT if scored else None,
        "times": Times(captured=captured),
        "deadline": captured + timedelta(seconds=2),
        "late": decision is Decision.UNSCORED,
    }
    return Verdict(**{**fields, **changes})


def defect(kind: str) -> Defect:
    return Defect(type=kind, bbox=BoundingBox(x=1, y=2, width=3, height=4), area_px=12)


def told(number: int, after_ms: float, **changes: Any) -> Actuation:
    fields: dict[str, Any] = {
        "id": actuation_id("line-1", 1, number, "told"),
        "line": "line-1",
        "part": f"1-{number}",
        "tracking": Tracking(epoch=1, number=number),
        "stage": "told",
        "decision": Decision.PASS,
        "outcome": Outcome.CONFIRMED,
        "at": NOON + timedelta(seconds=number),
        "slack_ms": 2000 - after_ms,
        "trigger_to_told_ms": after_ms,
    }
    return Actuation(**{**fields, **changes})


def gate(number: int, action: GateAction, line: str = "line-1") -> Actuation:
    return Actuation(
        id=actuation_id(line, 1, number, "gate"),
        line=line,
        tracking=Tracking(epoch=1, number=number),
        stage="gate",
        gate=action,
        at=NOON + timedelta(seconds=number + 2),
    )


def plant_with(url: str) -> Plant:
    plant = parse_plant(EXAMPLE)
    return plant.model_copy(update={"storage": plant.storage.model_copy(update={"ledger": url})})


def shown(command: Any, *arguments: Any) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        command(*arguments)
    return out.getvalue()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The same claims hold on both; PostgreSQL is a real server, with `make test-plant`."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql")
    opened = Database(url, create=True)
    yield opened
    if request.param == "postgresql":
        Table.metadata.drop_all(opened.session().get_bind())
    opened.close()


def review(identity: str, **changes: Any) -> Review:
    about = {name: getattr(verdict(1), name) for name in ("frame_id", "line", "station", "product", "part")}
    fields = {"id": identity, "verdict": "v", "judgement": "normal", "reviewer": "r", "at": NOON, **about}
    return Review.model_validate({**fields, **changes})


def keep(database: Database, *events: Event) -> int:
    return writing.keep(database, events, NOON)


def test_the_first_event_of_an_id_stands_within_a_batch_and_between_batches(database: Database) -> None:
    first = verdict(1, Decision.REJECT, score=5.0, ratio=2.5, defects=(defect("scratch"),))
    again = verdict(1, Decision.PASS, defects=(defect("dent"), defect("stain")))
    assert keep(database, first, again) == 1
    assert keep(database, again) == 0
    with database.session() as session:
        assert [row.decision for row in queries.latest_verdicts(session, 10)] == ["reject"]
        assert [(row.type, row.count) for row in queries.defect_pareto(session)] == [("scratch", 1)]


def test_every_kind_of_event_is_kept_and_counted(database: Database) -> None:
    review = Review(
        id="r", verdict="v", frame_id="f", line="line-1", station="top", product="pcb", part="1",
        judgement=Judgement.NORMAL, reviewer="ann", at=NOON, regions=(BoundingBox(x=0, y=0, width=1, height=1),),
    )  # fmt: skip
    report = DriftReport(
        id="d", line="line-1", station="top", product="pcb", artifact="none", opened=NOON, closed=NOON,
        passed=1, rejected=0, unscored={"late": 2},
    )  # fmt: skip
    letter = DeadLetter(id="l", topic="frames", partition=0, offset=7, service="scorer", why="bad", at=NOON)
    assert keep(database, verdict(1), told(1, 500), gate(1, GateAction.PASSED), review, report, letter) == 6
    with database.session() as session:
        assert queries.totals(session) == queries.Totals(1, 0, 2, 1, 1, 1)


def test_yield_counts_what_passed_what_did_not_and_why(database: Database) -> None:
    keep(
        database,
        *(verdict(number) for number in range(1, 8)),
        verdict(8, Decision.REJECT),
        verdict(9, Decision.UNSCORED),
        verdict(1, line="line-2", product="disc"),
    )
    with database.session() as session:
        by_line = queries.yield_by(session, "line")
        assert by_line == [queries.Yield("line-1", 9, 7, 1, 1, 1), queries.Yield("line-2", 1, 1, 0, 0, 0)]
        assert by_line[0].good_share == pytest.approx(7 / 9)
        assert [row.group for row in queries.yield_by(session, "station")] == ["line-1/top", "line-2/top"]
        assert [row.group for row in queries.yield_by(session, "product")] == ["disc", "pcb"]
        assert queries.reasons(session) == [
            queries.ReasonCount("pass", None, 8),
            queries.ReasonCount("reject", "anomaly", 1),
            queries.ReasonCount("unscored", "late", 1),
        ]
        later = queries.yield_by(session, "line", since=NOON + timedelta(seconds=8))
        assert [(row.group, row.verdicts) for row in later] == [("line-1", 2)]


def test_a_defect_is_kept_with_the_models_that_saw_and_named_it(database: Database) -> None:
    named = defect("scratch").model_copy(
        update={"confidence": 0.9, "area_mm2": 3.0, "source": "classifier", "seen_by": ("unet", "patchcore")}
    )
    keep(database, verdict(1, Decision.REJECT, defects=(named,)))
    with database.session() as session:
        (row,) = session.scalars(select(DefectRow))
    assert (row.type, row.confidence, row.area_mm2) == ("scratch", 0.9, 3.0)
    assert (row.source, row.seen_by) == ("classifier", ["unet", "patchcore"])


def test_the_pareto_is_ordered_and_ends_at_one(database: Database) -> None:
    scratches = tuple(defect("scratch") for _ in range(3))
    keep(database, verdict(1, Decision.REJECT, defects=(*scratches, defect("dent"))))
    keep(database, verdict(2, defects=(defect("speck"),)))  # a part that passed has no say
    with database.session() as session:
        pareto = queries.defect_pareto(session)
    assert [(row.type, row.count, row.cumulative) for row in pareto] == [("scratch", 3, 0.75), ("dent", 1, 1.0)]


def test_latency_is_the_nearest_rank_of_what_was_told(database: Database) -> None:
    keep(database, *(told(number, float(number)) for number in range(1, 101)))
    with database.session() as session:
        assert queries.latency(session) == [queries.Latency("line-1", 100, 50.0, 99.0, 1900.0)]


def test_gate_and_verdict_are_compared_part_by_part(database: Database) -> None:
    keep(
        database,
        verdict(1), gate(1, GateAction.PASSED),
        verdict(2, Decision.REJECT), gate(2, GateAction.REJECTED),
        verdict(3, Decision.REJECT), gate(3, GateAction.PASSED),
        verdict(4), gate(4, GateAction.FAIL_SAFE),
        verdict(5), gate(5, GateAction.REJECTED),
        verdict(6, Decision.UNSCORED), gate(6, GateAction.STALE),
        gate(7, GateAction.FAIL_SAFE),
    )  # fmt: skip
    with database.session() as session:
        assert queries.gate_agreement(session) == [
            queries.GateAgreement("line-1", parts=6, agreed=3, escaped=1, lost=2, lost_fail_safe=1)
        ]
        assert queries.GateCount("line-1", "fail-safe", 2) in queries.gate_actions(session)


def test_a_part_passes_only_when_all_its_stations_pass(database: Database) -> None:
    keep(database, verdict(1), verdict(1, Decision.REJECT, station="side"), gate(1, GateAction.PASSED))
    with database.session() as session:
        assert queries.gate_agreement(session)[0].escaped == 1


def test_verdicts_of_which_the_plc_heard_nothing_are_counted_by_why(database: Database) -> None:
    side = [
        verdict(number, id=verdict_id(f"side-{number}"), frame_id=f"side-{number}", station="side") for number in (1, 2)
    ]
    rejected, late = verdict(1, Decision.REJECT), verdict(3)
    keep(
        database,
        rejected, side[0], told(1, 10.0, decision=Decision.REJECT, verdicts=(rejected.id,)),
        verdict(2), side[1], told(2, 10.0, verdicts=(verdict(2).id, side[1].id)),
        late, told(3, 10.0, outcome=Outcome.LATE, decision=Decision.UNSCORED, verdicts=()),
    )  # fmt: skip
    with database.session() as session:
        assert queries.unheeded(session) == [queries.Unheeded("line-1", superseded=1, late=1)]
        number = part_of_verdict(session, side[0].id)
        assert number is not None
        story = story_of(session, number)
        assert story is not None
        assert {one.station: one.heeded for one in story.verdicts} == {"top": True, "side": False}


def test_a_good_part_that_a_hold_rejected_is_not_lost_and_its_late_word_is_no_trouble(database: Database) -> None:
    rejected = gate(1, GateAction.REJECTED).model_copy(update={"code": HELD_CODE})
    keep(database, verdict(1), told(1, 0.0, outcome=Outcome.FAILED, code=HELD_CODE), rejected)
    with database.session() as session:
        assert queries.gate_agreement(session) == []
        counted = counts_by_line(session, NOON - timedelta(hours=1))["line-1"]
    assert (counted.parts, counted.not_told) == (1, 0)


@pytest.mark.parametrize("apart_s", [30, 70, 3600])
def test_an_outcome_is_never_joined_to_a_verdict_of_another_time(database: Database, apart_s: int) -> None:
    """A PLC counted anew in the same epoch; outcomes of the second time have the ids of the first, and are not kept."""
    again = NOON + timedelta(seconds=1 + apart_s)
    keep(
        database,
        verdict(1), told(1, 0.0), gate(1, GateAction.PASSED),
        verdict(
            1, Decision.REJECT, id=verdict_id("another frame"), frame_id="another-frame",
            times=Times(captured=again), deadline=again + timedelta(seconds=2),
        ),
    )  # fmt: skip
    with database.session() as session:
        assert queries.gate_agreement(session) == [
            queries.GateAgreement("line-1", parts=1, agreed=1, escaped=0, lost=0, lost_fail_safe=0)
        ]
        first, second = queries.latest_verdicts(session, 2)
    assert {(row.decision, row.gate) for row in (first, second)} == {("pass", "passed"), ("reject", None)}


def test_instants_come_back_with_their_zone(database: Database) -> None:
    keep(database, verdict(1))
    with database.session() as session:
        row = queries.latest_verdicts(session, 1)[0]
    assert row.captured == NOON + timedelta(seconds=1)
    assert row.captured.tzinfo is not None


def test_a_large_batch_fits(database: Database) -> None:
    assert keep(database, *(verdict(number) for number in range(2500))) == 2500


def test_what_only_one_database_refuses_is_named_there_and_kept_elsewhere(database: Database) -> None:
    """PostgreSQL holds no NUL in a text, and no word of 10,000 letters in an index; SQLite holds both."""
    refuses = database.session().get_bind().dialect.name == "postgresql"
    words = "".join(random.Random(1).choices(string.ascii_letters, k=10_000))
    for number, event in enumerate((verdict(10, part="a\0b"), review("v-1", verdict=words)), start=1):
        if refuses:
            with pytest.raises(UnkeepableError):
                keep(database, verdict(number), event)
            assert keep(database, verdict(number)) == 1
        else:
            assert keep(database, verdict(number), event) == 2
    with database.session() as session:
        assert queries.totals(session).verdicts == (2 if refuses else 3)


def test_a_value_that_no_driver_takes_is_the_events_fault_and_not_the_databases(database: Database) -> None:
    beyond = verdict(2).model_copy(update={"deadline": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))})
    with pytest.raises(UnkeepableError):
        keep(database, verdict(1), beyond)
    assert keep(database, verdict(1)) == 1


def test_a_value_that_the_database_refuses_is_named_and_nothing_else_is_lost(url: str) -> None:
    database = Database(url, create=True)
    with pytest.raises(UnkeepableError):
        keep(database, verdict(1), verdict(2).model_copy(update={"seq": 2**70}))
    with database.session() as session:
        assert queries.totals(session).verdicts == 0
    assert keep(database, verdict(1)) == 1
    database.close()


def test_tail_and_stats_say_that_the_ledger_is_absent(url: str) -> None:
    with pytest.raises(LedgerAbsent, match=r"there is no ledger at .*ledger\.db yet: `neverblink ledger run`"):
        commands.stats(plant_with(url), as_json=False)
    with pytest.raises(LedgerAbsent):
        commands.tail(plant_with(url), follow=False, limit=10)


def test_tail_and_stats_say_that_the_ledger_is_empty(url: str) -> None:
    Database(url, create=True).close()
    assert "is empty: no verdict has arrived yet" in shown(commands.stats, plant_with(url), False)
    assert "is empty" in shown(commands.tail, plant_with(url), False, 10)


def test_tail_prints_the_latest_verdicts_with_what_became_of_them(url: str) -> None:
    database = Database(url, create=True)
    writing.keep(database, [verdict(number) for number in range(5)], NOON)
    writing.keep(database, [verdict(7, Decision.REJECT), told(7, 612), gate(7, GateAction.REJECTED)], NOON)
    database.close()
    lines = shown(commands.tail, plant_with(url), False, 2).splitlines()
    assert len(lines) == 2
    assert "line-1/top" in lines[-1]
    assert "1-7" in lines[-1]
    assert "told confirmed in 612 ms  gate rejected" in lines[-1]


def test_stats_prints_tables_for_people_and_json_for_programs(url: str) -> None:
    database = Database(url, create=True)
    writing.keep(database, [verdict(1), told(1, 500), gate(1, GateAction.PASSED)], NOON)
    database.close()
    assert "yield per line" in shown(commands.stats, plant_with(url), False)
    found = orjson.loads(shown(commands.stats, plant_with(url), True))
    assert found["yield per line"][0] == {
        "group": "line-1", "verdicts": 1, "passed": 1, "rejected": 0, "unscored": 0, "late": 0, "good_share": 1.0,
    }  # fmt: skip
    assert found["gate against verdict"][0]["agreed"] == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ledger.db", "which is not a database URL; write sqlite:///ledger.db"),
        ("mysql://host/db", "names a mysql database; the ledger writes sqlite and postgresql"),
        ("sqlite:////no/such/folder/ledger.db", "unable to open database file; does its folder exist"),
        ("postgresql://u:secret@127.0.0.1:9/db", "is PostgreSQL running there"),
    ],
)
def test_a_ledger_that_cannot_be_opened_is_explained(url: str, sentence: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Database(url, create=True)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("this is a letter, not a database. " * 100)
    with pytest.raises(LedgerError, match="the file is something else"):
        Database(f"sqlite:///{file}", create=True)


def test_a_full_disk_is_explained_and_the_next_try_works(url: str) -> None:
    database = Database(url, create=True)
    with database.session() as session:
        session.connection().exec_driver_sql("PRAGMA max_page_count=1")
    with pytest.raises(LedgerError, match="free some space on its disk"):
        keep(database, *(verdict(number) for number in range(2000)))
    with database.session() as session:
        session.connection().exec_driver_sql("PRAGMA max_page_count=100000")
    assert keep(database, verdict(1)) == 1
    database.close()


def test_a_ledger_of_another_layout_is_refused(url: str, tmp_path: Path) -> None:
    Database(url, create=True).close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE ledger_version SET version = 99")
    with pytest.raises(LedgerError, match="table layout 99 and this program writes layout 6"):
        Database(url, create=True)


def test_a_committed_batch_outlives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests_ledger import keep, verdict\n"
        "from neverblink.records.database import Database\n"
        "database = Database(sys.argv[1], create=True)\n"
        "keep(database, verdict(1), verdict(2))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    (tmp_path / "tests_ledger.py").write_text(Path(__file__).read_text())
    done = subprocess.run([sys.executable, "-c", program, f"sqlite:///{file}", str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -9
    database = Database(f"sqlite:///{file}", create=True)
    with database.session() as session:
        assert queries.totals(session).verdicts == 2
    database.close()
