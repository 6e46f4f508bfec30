"""The weekly review: what changed, which shifts are out of their limits, what to do next, and the page that says it."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.events import Alarm, ArtifactRef, Event, ModelSlots
from neverblink.events.drift import AlertStage, DriftAlert, DriftReport, DriftState
from neverblink.events.identity import alarm_id, alarm_stage_id
from neverblink.events.model_slots import Slot
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, parse_plant
from neverblink.records.database import Database
from neverblink.records.part_rules import rules_of
from neverblink.records.questions.proof.changes import changes_of
from neverblink.records.questions.proof.shift_chart import shift_chart
from neverblink.records.questions.proof.weekly import Weekly, week_of, weekly_of
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.reports.weekly import weekly_html
from rigs.proof_ledger import FIRST_MODEL, Running, events_of, parts_of

PLANT = parse_plant(EXAMPLE)
BEGIN, END = week_of(date(2026, 3, 4), PLANT.time_zone())
MONDAY = BEGIN.astimezone(UTC)
NEW = ArtifactRef(name="pcb", version="4", digest="sha256:" + "b" * 64)
DAY = timedelta(days=1)


def slots(name: str, at: datetime, artifact: ArtifactRef, threshold: float | None = None) -> ModelSlots:
    active = Slot(artifact=artifact, location="pcb", threshold=threshold)
    return ModelSlots(
        id=name, line="line-1", station="top", product="pcb", active=active, by="ann", why="new lamp", at=at
    )


def alert(stage: AlertStage, at: datetime, identity: str) -> DriftReport:
    told = DriftAlert(
        id=identity, signal="brightness", stage=stage, severity=DriftState.WATCH, since=at, raised=MONDAY + DAY, at=at,
        artifact=FIRST_MODEL.digest, expected=110, found=90, level=1.2, change="images are darker",
        cause="The lamp ages.", next_step="measure the lamp",
    )  # fmt: skip
    return DriftReport(
        id=f"{identity}-{stage}", line="line-1", station="top", product="pcb", artifact=FIRST_MODEL.digest, opened=at,
        closed=at, passed=1, rejected=0, alerts=(told,),
    )  # fmt: skip


def alarm(reference: str, *stages: str) -> list[Alarm]:
    name = alarm_id("challenge-missed", "line-1", reference)
    return [
        Alarm(
            id=alarm_stage_id(name, stage), alarm=name, line="line-1", kind="challenge-missed", stage=stage,
            severity="act", since=MONDAY + DAY, at=MONDAY + (1 + place) * DAY,
            what=f"reference part {reference} passed",
            cause="The model does not see it.", next_step="stop and run `neverblink models rollback`",
        )
        for place, stage in enumerate(stages)
    ]  # fmt: skip


def happened() -> list[Event]:
    return [
        slots("first", MONDAY - 9 * DAY, FIRST_MODEL),
        slots("edited", MONDAY + 2 * DAY, FIRST_MODEL, 2.5),
        slots("newer", MONDAY + 3 * DAY, NEW),
        alert(AlertStage.RAISED, MONDAY + DAY, "cleared one"),
        alert(AlertStage.CLEARED, MONDAY + 1.5 * DAY, "cleared one"),
        alert(AlertStage.RAISED, MONDAY + DAY, "open one"),
        *alarm("R1", "raised"),
        *alarm("R2", "raised", "cleared"),
    ]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A week of 120 parts a day, of which one day's afternoon rejects a third."""
    found = f"sqlite:///{tmp_path_factory.mktemp('weekly') / 'ledger.db'}"
    database = Database(found, create=True)
    for day in range(-1, 6):
        wild = day == 3
        running = Running(held_out=0.2, false_rejects=0.35 if wild else 0.02)
        parts = parts_of(running, 60, MONDAY + day * DAY, timedelta(minutes=20), seed=day, first=100 * (day + 1))
        keep(database, events_of(parts), MONDAY, rules_of(PLANT))
    keep(database, happened(), MONDAY)
    database.close()
    return found


def asked(url: str, *lines: str) -> Weekly:
    database = Database(url, create=False)
    with database.session() as session:
        found = weekly_of(
            session, "hall <3>", lines, BEGIN.date() + DAY, PLANT.shift_plan(), PLANT.time_zone(), END
        )  # fmt: skip
    database.close()
    return found


def test_what_changed_is_told_against_what_was_before(url: str) -> None:
    database = Database(url, create=False)
    with database.session() as session:
        found = [(one.kind, one.what, one.next_step is not None) for one in changes_of(session, "line-1", BEGIN, END)]
    database.close()
    assert sorted(found) == [
        ("alarm", "act: reference part R1 passed", True),
        ("alarm", "act: reference part R2 passed (cleared)", False),
        ("alert", "watch: images are darker", True),
        ("alert", "watch: images are darker (cleared)", False),
        ("model", "pcb is scored by pcb 4 instead of pcb 3, by ann: new lamp", False),
        ("threshold", "threshold of pcb 3 2.5 instead of its own, by ann: new lamp", False),
    ]


def test_a_shift_beyond_its_limits_stands_out_and_begins_when_the_plan_says(url: str) -> None:
    database = Database(url, create=False)
    with database.session() as session:
        chart = shift_chart(session, RollupFilter(("line-1",), since=BEGIN, until=END), PLANT.shift_plan())
    database.close()
    assert {one.begins.astimezone(BEGIN.tzinfo).hour for one in chart.points} == set(PLANT.drift.shifts_begin_h)
    assert [one.begins for one in chart.points] == sorted(one.begins for one in chart.points)
    outside = [one for one in chart.points if one.outside]
    assert outside
    assert all(timedelta(0) <= one.begins - MONDAY - 3 * DAY <= DAY for one in outside)


def test_the_next_steps_name_what_is_open_and_how_much_more_it_takes(url: str) -> None:
    (line,) = asked(url, "line-1", "line-2").lines
    steps = "\n".join(line.next_steps)
    assert "R1 passed: stop and run" in steps
    assert "R2" not in steps
    assert "images are darker: measure the lamp" in steps
    assert "outside their limits" in steps
    assert "more held-out passed parts" in steps


def test_the_page_says_each_figure_with_its_sample_and_shows_others_texts_as_texts(url: str) -> None:
    page = weekly_html(asked(url, "line-1"))
    for word in ("Recall", "Escapes", "Precision", "False rejects", "What to do next", "not known yet"):
        assert word in page
    assert "hall &lt;3&gt;" in page
    assert "<code>neverblink models rollback</code>" in page
    assert "http" not in page.replace("http://www.w3.org", ""), "the page needs nothing from elsewhere"


def test_a_week_without_parts_is_a_page_that_says_so(url: str) -> None:
    assert "No part came between" in weekly_html(asked(url, "line-2"))


def test_the_command_writes_page_and_figures(url: str, tmp_path: Path) -> None:
    plant = tmp_path / "plant.yaml"
    plant.write_text(EXAMPLE.replace("sqlite:///ledger.db", url))
    out = tmp_path / "week.html"
    words = ["ledger", "weekly", str(out), "--plant", str(plant), "--week-of", "2026-03-04"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "week.html" in done.output.replace("\n", "")
    lines = json.loads(out.with_suffix(".json").read_text())["weekly"]["lines"]
    assert lines[0]["proof"]["parts"] > 300
    assert "line-1" in out.read_text()
