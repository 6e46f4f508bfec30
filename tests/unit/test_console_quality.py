"""The page of figures: the same that the command line tells, of the lines that one may see."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from console_desk import Browser, Console, plant_in, quick_hashes
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.console.access.roles import Role
from neverblink.console.quality.agreement import agreement_of
from neverblink.console.quality.answers import quality_of
from neverblink.console.quality.asked import ALL, FiguresError, Words, asked_of
from neverblink.console.quality.drawn import drawn, marks_of
from neverblink.console.quality.signals import charts_of
from neverblink.events import ArtifactRef, Event, ModelSlots
from neverblink.events.drift import AlertStage, Distribution, DriftAlert, DriftReport, DriftState
from neverblink.events.model_slots import Slot
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, Plant, load_plant
from neverblink.records.database import Database
from neverblink.records.part_files import csv_rows, export_parts
from neverblink.records.part_rules import rules_of
from neverblink.records.questions.drift_history import drift_points
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import parts
from neverblink.records.questions.proof.answer import proof_of
from neverblink.records.questions.proof.words import between, figure_lines
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.reading import ReadOnlyRecords
from rigs.proof_ledger import FIRST_MODEL, Running, ShownPart, events_of, parts_of

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NOW = MONDAY + timedelta(days=4)
DAY = timedelta(days=1)
EVIL = "<script>alert(1)</script>"
NEW = ArtifactRef(name="pcb", version="4", digest="sha256:" + "b" * 64)
TWO_LINES = """
records:
  time_zone: UTC
  shifts:
    - {name: early, begins: "06:00"}
    - {name: late, begins: "14:00"}
    - {name: night, begins: "22:00"}
"""


def slots(name: str, at: datetime, artifact: ArtifactRef, threshold: float | None = None) -> ModelSlots:
    active = Slot(artifact=artifact, location="pcb", threshold=threshold)
    return ModelSlots(
        id=name, line="line-1", station="top", product="pcb", active=active, by="ann", why=f"{EVIL} lamp", at=at
    )


def of_line_2(part: ShownPart, **other: Any) -> ShownPart:
    return replace(part, line="line-2", lot="other-lot", **other)


def reported(hours: float, *alerts: DriftAlert, **other: Any) -> DriftReport:
    opened = MONDAY + timedelta(hours=hours)
    bright = Distribution(count=40, mean=0.4 - 0.001 * hours, deviation=0.01, minimum=0.3, maximum=0.5)
    values: dict[str, Any] = {
        "id": f"drift-{hours}", "line": "line-1", "station": "top", "product": "pcb", "artifact": NEW.digest,
        "opened": opened, "closed": opened + timedelta(minutes=1), "passed": 40, "rejected": 1, "brightness": bright,
        "alerts": alerts, "state": DriftState.WATCH,
    }  # fmt: skip
    return DriftReport(**{**values, **other})


def drifted() -> list[Event]:
    """Reports of four days, every half hour; of the last two days they say what is normal."""
    told = DriftAlert(
        id="lamp", signal="brightness", stage=AlertStage.RAISED, severity=DriftState.WATCH, since=NOW - DAY,
        raised=NOW - timedelta(hours=3), at=NOW - timedelta(hours=3), artifact=NEW.digest, expected=0.4, found=0.31,
        level=1.4, change=f"{EVIL} images are darker", cause="The lamp ages.", next_step="measure the lamp",
    )  # fmt: skip
    normal: dict[str, Any] = {"expected": {"brightness": 0.4}, "levels": {"brightness": 1.4}}
    return [
        reported(half / 2, *([told] if half == 186 else []), **(normal if half > 96 else {})) for half in range(190)
    ]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Two lines of a plant with three shifts, and four days of parts: on the third day the model changed."""
    folder = tmp_path_factory.mktemp("quality")
    text = EXAMPLE.rstrip()
    line = text[text.index("  - name: line-1") :]
    (folder / "plant.yaml").write_text(f"{text}\n{line.replace('line-1', 'line-2')}\n{TWO_LINES}")
    plant = load_plant(folder / "plant.yaml")
    events: list[Event] = [
        slots("first", MONDAY - 9 * DAY, FIRST_MODEL), slots("newer", MONDAY + 2 * DAY, NEW),
        slots("edited", MONDAY + 3 * DAY, NEW, 2.5),
    ]  # fmt: skip
    for day in range(4):
        running = Running(defective=0.25, held_out=1.0, false_rejects=0.9 if day == 2 else 0.02)
        made = parts_of(running, 72, MONDAY + day * DAY, timedelta(minutes=20), seed=day, first=400 * day)
        events += events_of([*made, *(of_line_2(part, number=9000 + part.number) for part in made[::6])])
    database = Database(plant.storage.ledger, create=True)
    keep(database, [*events, *drifted()], NOW, rules_of(plant))
    database.close()
    return plant


@pytest.fixture
async def console(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Console]:
    """A console before these records."""
    own = plant_in(tmp_path).console
    with quick_hashes(monkeypatch):
        async with Console(plant.model_copy(update={"console": own})) as found:
            found.now = NOW
            yield found


@pytest.fixture
def records(plant: Plant) -> Iterator[ReadOnlyRecords]:
    found = ReadOnlyRecords(plant.storage.ledger, answer_s=5.0)
    yield found
    found.close()


async def viewer(console: Console, *lines: str) -> Browser:
    return await viewer_of(console, "ann", *lines)


async def viewer_of(console: Console, name: str, *lines: str) -> Browser:
    console.account(name, Role.VIEWER, lines or ("*",))
    browser = console.browser()
    await browser.sign_in(name)
    return browser


def words_in(text: str) -> str:
    """Return what a person reads of a page, in one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


async def test_the_page_says_what_the_command_line_says(
    console: Console, plant: Plant, records: ReadOnlyRecords
) -> None:
    page = words_in((await (await viewer(console)).get("/quality?line=line-1&from=2026-03-02&to=2026-03-05")).text)
    period = ("--line", "line-1", "--from", "2026-03-02T00:00+00:00", "--to", "2026-03-06T00:00+00:00")
    folder = Path(plant.storage.ledger.removeprefix("sqlite:///")).parent
    told = CliRunner().invoke(app, ["ledger", "figures", "--json", "--plant", str(folder / "plant.yaml"), *period])
    figures = json.loads(told.stdout)
    proof = figures["proof"]
    assert f"{proof['parts']} parts: {proof['passed']} passed, {proof['rejected']} rejected" in page
    for name in ("recall", "escapes", "precision", "false_rejects"):
        found = proof["estimates"][name]
        assert f"95 % interval: {between(found['low'], found['high'])}" in page, name
        assert f"{found['seen']} " in page, name
        assert f" of {found['sample']} " in page, name
    with records.asking() as session:
        known = proof_of(session, RollupFilter(("line-1",), since=MONDAY, until=NOW))
    figures_told = [one.figure for one in figure_lines(known)[:4] if one.more is None]
    assert figures_told, "a figure is known"
    assert all(figure in page for figure in figures_told)


async def test_a_chart_of_shifts_marks_models_and_thresholds_and_rings_what_is_outside(
    console: Console, plant: Plant, records: ReadOnlyRecords
) -> None:
    wanted = RollupFilter(("line-1",), since=MONDAY, until=NOW)
    with records.asking() as session:
        found = quality_of(session, wanted, plant.shift_plan(), UTC, NOW, ("day",))
    marks = marks_of(found)
    assert [(one.letter, one.slot.kind, one.slot.new) for one in marks if one.slot] == [
        ("A", "model", "pcb 4"), ("B", "threshold", "pcb 4"),
    ]  # fmt: skip
    together = marks_of(replace(found, slots=(found.slots[0], found.slots[0], found.slots[1])))
    assert [one.written for one in together] == ["AB", "", "C", "D"], "no letter stands on another"
    chart = drawn(found.chart, UTC, "en")
    assert chart is not None
    days = [one.begins.date() for one, dot in zip(found.chart.points, chart.dots, strict=True) if dot.outside]
    assert set(days) == {date(2026, 3, 4)}, "the day of many false rejects"
    assert 0.4 < marks[0].across < 0.7 < marks[1].across
    page = (await (await viewer(console)).get("/quality?line=line-1&from=2026-03-02&to=2026-03-05")).text
    assert page.count('class="chart-ring"') == len(days)
    assert "pcb is scored by pcb 4 instead of pcb 3" in words_in(page)
    assert "threshold of pcb 4: 2.500 instead of its own" in words_in(page)
    assert "<script>alert" not in page


async def test_a_line_that_one_may_not_see_is_in_no_figure_and_no_list(console: Console) -> None:
    browser = await viewer(console, "line-2")
    for path in ("/quality", f"/quality?line={quote(ALL)}", "/quality?line=line-2"):
        page = words_in((await browser.get(f"{path}{'&' if '?' in path else '?'}from=2026-03-02&to=2026-03-05")).text)
        assert "48 parts:" in page, path
        assert "line-1" not in page, path
    assert (await browser.get("/quality?line=line-1")).status_code == 404
    lot = words_in((await browser.get("/quality?lot=lot-1")).text)
    assert "No part fits." in lot, "of another line's lot"


async def test_a_lot_is_told_whole_whenever_it_came(console: Console, records: ReadOnlyRecords) -> None:
    console.now = NOW + 300 * DAY
    page = words_in((await (await viewer(console)).get("/quality?line=line-1&lot=lot-1")).text)
    with records.asking() as session:
        known = proof_of(session, RollupFilter(("line-1",), lot="lot-1"))
        nothing = proof_of(session, RollupFilter(("line-1",), lot="no-such-lot"))
    assert (known.parts > 40, nothing.parts, nothing.first) == (True, 0, None)
    assert f"{known.parts} parts: {known.passed} passed" in page


REFUSED = (
    ("/quality?from=yesterday", 422),
    ("/quality?from=2026-03-05&to=2026-03-02", 422),
    ("/quality?from=1990-01-01&to=2026-03-02", 422),
    ("/quality?days=0", 422),
    ("/quality?days=100000", 422),
    ("/quality?shift=no-such", 422),
    (f"/quality?line={quote(EVIL)}", 404),
    (f"/quality?lot={quote(EVIL)}&product={quote(EVIL)}", 200),
    (f"/quality?shift={quote(EVIL)}", 422),
    (f"/quality?lot={'x' * 500}", 422),
)


async def test_an_address_that_cannot_be_is_refused_in_words(console: Console) -> None:
    browser = await viewer(console)
    for path, status in REFUSED:
        answer = await browser.get(path)
        assert answer.status_code == status, path
        assert "<script>alert" not in answer.text, path


async def test_the_page_speaks_german(console: Console) -> None:
    browser = await viewer(console)
    page = (await browser.get("/quality?from=2026-03-02&to=2026-03-05", **{"accept-language": "de"})).text
    for said in ("Entdeckungsrate", "Pseudoausschuss", "Ausschuss Schicht für Schicht", "wird bewertet von pcb 4"):
        assert said in words_in(page), said


async def test_without_records_the_page_says_so(console: Console, tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    async with Console(plant) as other:
        answer = await (await viewer(other)).get("/quality")
    assert (answer.status_code, "cannot be read now" in answer.text) == (503, True)


async def test_drift_is_shown_by_station_with_what_is_normal_and_what_to_do(console: Console) -> None:
    page = (await (await viewer(console)).get("/quality/drift?line=line-1&station=top&days=4")).text
    said = words_in(page)
    for part in ("line-1 · top to be watched", "line-2 · top no report yet", "0.306 · normal 0.400 · 1.4 of its limit",
                 "The lamp ages.", "measure the lamp", "95 points"):  # fmt: skip
        assert part in said, part
    assert page.count('class="chart-normal"') == 1
    assert "<script>alert" not in page
    other = words_in((await console.browsers[0].get("/quality/drift?line=line-2&station=top")).text)
    assert "No alert in this period" in other
    assert "has reported nothing of this station" in other


def test_of_a_long_period_as_few_reports_are_read_as_of_a_day(records: ReadOnlyRecords) -> None:
    with records.asking() as session:
        points = drift_points(session, "line-1", "top", MONDAY, NOW, points=8)
        nothing = drift_points(session, "line-2", "top", MONDAY, NOW, points=8)
    assert [one.windows for one in points] == [6] * 8, "of 24 reports each"
    assert nothing == ()
    means = [one.means["brightness"] for one in points]
    assert means == sorted(means, reverse=True)
    assert points[0].means["brightness"] == pytest.approx(0.4 - 0.001 * 1.25)
    assert [bool(one.expected) for one in points] == [False] * 4 + [True] * 4


def test_a_line_is_drawn_between_reports_and_not_through_a_pause(records: ReadOnlyRecords) -> None:
    with records.asking() as session:
        points = drift_points(session, "line-1", "top", MONDAY, NOW)
    hourly = [one for place, one in enumerate(points) if place % 2 == 0]
    for seen, pieces in ((points, 1), (hourly, 1), (hourly[:20] + hourly[30:], 2)):
        (chart,) = charts_of(seen, None, MONDAY, NOW, UTC, "en")
        assert (chart.signal, len(chart.pieces)) == ("brightness", pieces)


async def test_a_station_of_another_line_is_not_there(console: Console) -> None:
    browser = await viewer(console, "line-2")
    assert "line-1" not in (await browser.get("/quality/drift")).text
    assert (await browser.get("/quality/drift?line=line-1&station=top")).status_code == 404


async def test_the_report_of_a_shift_has_its_figures_what_changed_and_its_rejects(
    console: Console, records: ReadOnlyRecords
) -> None:
    browser = await viewer(console)
    listed = words_in((await browser.get("/quality/reports?line=line-1")).text)
    assert "2026-03-04 late" in listed
    assert "lot-1" in listed
    page = (await browser.get("/quality/report?line=line-1&shift=late&day=2026-03-04")).text
    span = (MONDAY + timedelta(days=2, hours=14), MONDAY + timedelta(days=2, hours=22))
    with records.asking() as session:
        known = proof_of(session, RollupFilter(("line-1",), since=span[0], until=span[1], shift="late"))
    said = words_in(page)
    assert known.parts == 24
    assert f"Parts 24 Yield {100 * known.passed / 24:.2f} %"[:18] in said
    assert page.count('href="/parts/') == known.rejected
    night = words_in((await browser.get("/quality/report?line=line-1&shift=night&day=2026-03-03")).text)
    assert "pcb is scored by pcb 4 instead of pcb 3" in night, "at the midnight within that shift"
    for path in ("/quality/report", "/quality/report?shift=late", "/quality/report?day=2026-03-04&shift=no-such"):
        assert (await browser.get(path)).status_code == 422, path
    assert "It is not over" in words_in((await browser.get("/quality/report?line=line-1&day=2026-03-06")).text)


async def test_a_reports_figures_as_csv_are_those_of_the_records(console: Console, records: ReadOnlyRecords) -> None:
    browser = await viewer(console)
    answer = await browser.http.get("/quality/report/figures.csv?line=line-1&lot=lot-1")
    assert 'filename="line-1-lot-1-figures.csv"' in answer.headers["content-disposition"]
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(answer.text))}
    with records.asking() as session:
        known = proof_of(session, RollupFilter(("line-1",), lot="lot-1"))
    for name in ("recall", "escapes", "precision", "false_rejects"):
        found = getattr(known.estimates, name)
        row = rows[name]
        assert (float(row["low"]), float(row["high"])) == (found.low, found.high)
        assert (int(row["count"]), int(row["sample"])) == (found.seen, found.sample)
        assert row["value"] == ("" if found.value is None else repr(found.value))
    assert int(rows["parts"]["count"]) == known.parts


async def test_a_reports_parts_are_those_of_the_export_but_for_who_was_drawn(
    console: Console, records: ReadOnlyRecords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neverblink.console.quality.exports.PAGE_ROWS", 7)
    browser = await viewer(console, "line-1")
    rest = "line=line-1&shift=late&day=2026-03-04"
    text = (await browser.http.get(f"/quality/report/parts.csv?{rest}")).text
    begin = MONDAY + timedelta(days=2, hours=14)
    wanted = PartFilter(lines=("line-1",), since=begin, until=begin + timedelta(hours=8))

    def ask(question: Callable[[Any], Any]) -> Any:
        with records.asking() as session:
            return question(session)

    export_parts(ask, wanted, tmp_path / "parts.csv", "csv")
    with (tmp_path / "parts.csv").open(newline="") as file:
        known = [{name: value for name, value in row.items() if name != "holdout"} for row in csv.DictReader(file)]
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == known
    assert len(known) == 24
    whole = (await browser.http.get(f"/quality/report/parts.parquet?{rest}")).content
    table = parquet.read_table(io.BytesIO(whole))
    assert [str(one) for one in table["part"].to_pylist()] == [row["part"] for row in known]
    assert "holdout" not in table.column_names
    other = await viewer_of(console, "bob", "line-2")
    assert (await other.http.get(f"/quality/report/parts.csv?{rest}")).status_code == 404
    lot = (await other.http.get("/quality/report/parts.csv?line=*&lot=lot-1")).text
    assert len(lot.splitlines()) == 1, "of that lot there is nothing on the lines that may be seen"


def test_text_that_a_spreadsheet_would_take_for_a_formula_is_marked_in_the_consoles_files(
    records: ReadOnlyRecords,
) -> None:
    with records.asking() as session:
        part = parts(session, PartFilter(), limit=1).parts[0]
    evil = replace(part, serial="=HYPERLINK(1)", lot="@x", slack_ms=-3.5)
    row = csv_rows((evil,), ("serial", "lot", "slack_ms"), for_a_spreadsheet=True)
    assert row == b"'=HYPERLINK(1),'@x,-3.5\r\n"
    assert csv_rows((evil,), ("serial",)) == b"=HYPERLINK(1)\r\n"


async def test_more_files_at_once_than_there_may_be_are_told_so(console: Console) -> None:
    browser = await viewer(console)
    with console.desk.exports.one(), console.desk.exports.one():
        assert (await browser.http.get("/quality/report/parts.csv?lot=lot-1")).status_code == 503
    assert (await browser.http.get("/quality/report/parts.csv?lot=lot-1")).status_code == 200
    assert not console.desk.exports.full


async def test_people_and_the_machine_are_counted_side_by_side(console: Console, records: ReadOnlyRecords) -> None:
    page = words_in((await (await viewer(console)).get("/quality/agreement?line=line-1")).text)
    with records.asking() as session:
        found = agreement_of(session, RollupFilter(("line-1",)), "line-1", [("line-1", "top")])
    whole = found.whole
    assert whole.answered == whole.passed_good + whole.passed_bad + whole.rejected_good + whole.rejected_bad > 200
    figures = (whole.passed_good, whole.rejected_bad, whole.rejected_good, whole.passed_bad, whole.answered)
    assert " ".join(map(str, figures)) in page
    assert found.stations[0].answered == whole.answered, "of one station"
    assert "ann" not in page.replace("ann Lock", ""), "nobody is named but who looks"


async def test_engineers_read_the_reports_of_studies_and_nothing_beside_them(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = tmp_path / "studies"
    (studies / "spring 2026").mkdir(parents=True)
    figures = {
        "study": f"lamp {EVIL}", "made": "2026-03-01T10:00:00+00:00", "parts": {"good": 30, "defective": 20},
        "rounds": 3, "grade": "marginal", "appraisers": [{"machine": False}, {"machine": True}],
        "between": {"value": 0.81},
    }  # fmt: skip
    (studies / "spring 2026" / "report.json").write_text(json.dumps(figures))
    (studies / "spring 2026" / "report.html").write_text("<h1>the study</h1>")
    (studies / "half").mkdir()
    (studies / "half" / "report.json").write_text("{}")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "report.html").write_text("secret")
    (studies / "link").symlink_to(tmp_path / "secret")
    own = plant_in(tmp_path, studies=studies).console
    with quick_hashes(monkeypatch):
        async with Console(plant.model_copy(update={"console": own})) as console:
            engineer, looker = console.browser(), await viewer(console)
            console.account("eve", Role.ENGINEER)
            await engineer.sign_in("eve")
            page = (await engineer.get("/quality/agreement")).text
            for said in ("lamp", "marginal", "0.81", "50"):
                assert said in words_in(page), said
            assert "<script>alert" not in page
            answer = await engineer.get("/quality/studies/spring%202026")
            assert (answer.status_code, answer.text) == (200, "<h1>the study</h1>")
            assert "sandbox" in answer.headers["content-security-policy"]
            for name in ("half", "link", "no-such", "..%2fsecret", "x" * 300):
                assert (await engineer.get(f"/quality/studies/{name}")).status_code in {404, 422}, name
            assert "spring" not in (await looker.get("/quality/agreement")).text
            assert (await looker.get("/quality/studies/spring%202026")).status_code == 403


DAYS = st.one_of(st.dates().map(str), st.sampled_from(("", "2026-02-30", "0000-00-00", "٣", "2026-W10-1")))


@settings(max_examples=40)
@given(DAYS, DAYS, st.sampled_from(("", "7", "0", "-1", "٣", "400", "401", "9" * 12)))
def test_whatever_an_address_says_is_a_period_or_a_refusal(first: str, last: str, days: str) -> None:
    try:
        asked = asked_of(Words(first=first, last=last, days=days), ("line-1",), (), ZoneInfo("Europe/Berlin"), NOW)
    except FiguresError:
        return
    assert asked.since is not None
    assert asked.until is None or timedelta() < asked.until - asked.since <= timedelta(days=401)
