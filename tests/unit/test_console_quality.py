"""The page of figures: the same that the command line tells, of the lines that one may see."""

import json
import re
from collections.abc import AsyncIterator, Iterator
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
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.console.access.roles import Role
from neverblink.console.quality.answers import quality_of
from neverblink.console.quality.asked import ALL, FiguresError, Words, asked_of
from neverblink.console.quality.drawn import drawn, marks_of
from neverblink.events import ArtifactRef, Event, ModelSlots
from neverblink.events.model_slots import Slot
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, Plant, load_plant
from neverblink.records.database import Database
from neverblink.records.part_rules import rules_of
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
        parts = parts_of(running, 72, MONDAY + day * DAY, timedelta(minutes=20), seed=day, first=400 * day)
        events += events_of([*parts, *(of_line_2(part, number=9000 + part.number) for part in parts[::6])])
    database = Database(plant.storage.ledger, create=True)
    keep(database, events, NOW, rules_of(plant))
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
    console.account("ann", Role.VIEWER, lines or ("*",))
    browser = console.browser()
    await browser.sign_in("ann")
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


@pytest.mark.parametrize(
    ("path", "status"),
    [
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
    ],
)
async def test_an_address_that_cannot_be_is_refused_in_words(console: Console, path: str, status: int) -> None:
    answer = await (await viewer(console)).get(path)
    assert answer.status_code == status
    assert "<script>alert" not in answer.text


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
