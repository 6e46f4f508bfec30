"""What the console asks the records has the same answer in PostgreSQL as in SQLite, over the same seeded day."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import inspect
from sqlalchemy.orm import Session

import neverblink.console
from neverblink.console.quality import agreement, answers, reports, signals
from neverblink.events import ArtifactRef, Decision, Event, Review, ShadowVerdict, Slot, Verdict
from neverblink.events.hold import BYPASS, HELD, PEOPLE, PLC, RELEASED, Hold
from neverblink.events.identity import derived_id
from neverblink.ledger.writing import keep
from neverblink.model_registry.changes import Stamp, Target, activated, shadowed, with_threshold
from neverblink.plant.shifts import ShiftPlan
from neverblink.records.columns import Table
from neverblink.records.database import Database
from neverblink.records.part_rules import rules_of
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.questions import (
    alarms,
    drift_alerts,
    drift_history,
    figures,
    holds,
    ledger_figures,
    line_state,
    lots,
    pareto,
    part_story,
    parts,
    parts_before,
    review_queue,
    yields,
)
from neverblink.records.questions.models import changes, score_history, shadow_comparison
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.proof import answer, shift_chart
from neverblink.records.questions.proof import changes as proof_changes
from neverblink.records.questions.proof.estimates import Exactness
from neverblink.records.questions.review_queue import QueueFilter
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.reading import ReadOnlyRecords
from rigs.seeded_console import plant_in
from rigs.seeded_day import Model, SeededPart, Shape, drift_reports, parts_of
from rigs.seeded_day import alarms as seeded_alarms

pytestmark = pytest.mark.plant

END = datetime(2026, 5, 6, 15, 40, tzinfo=UTC)
HOURS = 6
LINES = ("line-1", "line-2")
ALL, ONE = RollupFilter(since=END - timedelta(hours=HOURS)), RollupFilter(("line-1",), since=END - timedelta(hours=5))


def artifact(product: str, version: int) -> ArtifactRef:
    return ArtifactRef(name=product, version=str(version), digest=f"sha256:{ord(product[0]):02x}{version:062x}")


def slot(product: str, version: int) -> Slot:
    return Slot(artifact=artifact(product, version), location=f"{product}-{version}", threshold=None)


class Asked(NamedTuple):
    """The same records in both kinds of database, and the parts that they hold."""

    sqlite: ReadOnlyRecords
    postgresql: ReadOnlyRecords
    parts: list[SeededPart]
    plan: ShiftPlan


def day() -> tuple[list[SeededPart], list[Event]]:
    """Return the parts, and all events in the order of time: what a plant's console has seen of each kind."""
    long_ago, changed = END - timedelta(days=30), END - timedelta(hours=4)
    models = {product: [Model(artifact(product, 3), 1.9, long_ago)] for product in ("pcb", "disc")}
    models["pcb"].append(Model(artifact("pcb", 4), 2.1, changed))
    made = parts_of(Shape(hours=HOURS), END, models)
    top, side = (Target("line-1", station, "pcb") for station in ("top", "side"))
    first = activated(None, top, slot("pcb", 4), Stamp("erin", "retrained", changed))
    slots = [
        first,
        activated(None, side, slot("pcb", 4), Stamp("erin", "retrained", changed)),
        with_threshold(first, top, slot("pcb", 4), 2.2, Stamp("erin", "fewer false rejects", END - timedelta(hours=2))),
        shadowed(None, Target("line-2", "top", "disc"), slot("disc", 4), Stamp("erin", "tried", changed)),
    ]
    said = [
        Hold(id="hold-1", line="line-1", source=PLC, state=RELEASED, at=END - timedelta(days=2), by="plc"),
        Hold(id="hold-2", line="line-1", source=PLC, state=BYPASS, at=END - timedelta(hours=5), by="plc"),
        Hold(id="hold-3", line="line-1", source=PLC, state=RELEASED, at=END - timedelta(hours=4.9), by="plc"),
        Hold(
            id="hold-4",
            line="line-2",
            source=PEOPLE,
            state=HELD,
            at=END - timedelta(hours=2),
            by="erin",
            why="a new belt",
        ),
    ]
    answers = [one.review for one in made if one.review is not None]
    events = [event for one in made for event in one.events]
    beside = [*slots, *said, *seeded_alarms(END), *drift_reports(END, HOURS, models)]
    beside += [*map(in_shadow, [one for one in events if isinstance(one, Verdict) and one.line == "line-2"])]
    beside += [*map(second_look, answers[::7])]
    return made, sorted([*events, *beside], key=lambda one: one.occurred)


def in_shadow(verdict: Verdict) -> ShadowVerdict:
    """Return what the model in shadow says: of each ninth part the other thing."""
    told = verdict.model_dump(exclude={"id", "artifact", "decision"})
    other = {Decision.PASS: Decision.REJECT, Decision.REJECT: Decision.PASS}.get(verdict.decision, verdict.decision)
    return ShadowVerdict.model_validate(
        told
        | {
            "id": derived_id("shadow", verdict.id),
            "cause": "shadow-model",
            "artifact": artifact("disc", 4),
            "decision": verdict.decision if verdict.seq % 9 else other,
        }
    )


def second_look(review: Review) -> Review:
    """Return a second person's answer, which says the same."""
    about = {"id": derived_id("second", review.id), "reviewer": "zoe", "round": "second"}
    return review.model_copy(update=about | {"at": review.at + timedelta(minutes=5)})


def pictures(made: list[SeededPart]) -> Iterator[EvidenceFileRow]:
    for part in made[::5]:
        for verdict in part.verdicts:
            for kind in ("frame", "thumbnail"):
                yield EvidenceFileRow(
                    id=derived_id("picture", verdict.id, kind), frame_id=verdict.frame_id, verdict_id=verdict.id,
                    line=verdict.line, station=verdict.station, product=verdict.product, kind=kind,
                    digest=derived_id("digest", verdict.id, kind), bytes=9, content_type="image/png", why="sample",
                    captured=verdict.times.captured, kept=END, deleted=None,
                )  # fmt: skip


@pytest.fixture(scope="module")
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("questions")
    plant = plant_in(folder, "127.0.0.1:9", {}, {})
    made, events = day()
    urls = (f"sqlite:///{folder / 'ledger.db'}", request.getfixturevalue("postgresql_of_the_module"))
    opened = []
    for url in urls:
        database = Database(url, create=True)
        for first in range(0, len(events), 2000):
            keep(database, events[first : first + 2000], END, rules_of(plant))
        with database.session() as session:
            session.add_all(pictures(made))
            session.commit()
        database.close()
        opened.append(ReadOnlyRecords(url, answer_s=30))
    yield Asked(opened[0], opened[1], made, plant.shift_plan())
    for one in opened:
        one.close()


def plain(found: Any) -> Any:
    """Return an answer in values that can be compared: rows of tables by their columns."""
    if isinstance(found, Table):
        return {column.key: plain(getattr(found, column.key)) for column in inspect(found).mapper.column_attrs}
    if is_dataclass(found) and not isinstance(found, type):
        return type(found).__name__, {one.name: plain(getattr(found, one.name)) for one in fields(found)}
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [plain(one) for one in found]
    return found


def lot_of(asked: Asked) -> str:
    identity = asked.parts[len(asked.parts) // 2].verdicts[0].identity
    assert identity is not None
    assert identity.lot is not None
    return identity.lot


def rejected(asked: Asked) -> Verdict:
    return next(one for part in reversed(asked.parts) for one in part.verdicts if one.decision is Decision.REJECT)


def some(asked: Asked) -> list[str]:
    return [one.id for part in asked.parts[:300] for one in part.verdicts]


def day_report(asked: Asked) -> reports.Subject:
    return reports.subject_of("line-1", "early", END.date().isoformat(), "", asked.plan, UTC)


def lot_report(asked: Asked) -> reports.Subject:
    return reports.subject_of(None, "", "", lot_of(asked), asked.plan, UTC)


def number_of(session: Session, asked: Asked) -> int:
    found = part_story.part_of_verdict(session, rejected(asked).id)
    assert found is not None
    return found


SINCE, STATIONS = END - timedelta(hours=HOURS), [("line-1", "top"), ("line-1", "side"), ("line-2", "top")]
TABLES: tuple[yields.YieldBy, ...] = ("hour", "shift", "day", "line", "station", "product", "artifact", "lot")
EXACT = Exactness()
QUESTIONS: dict[str, Callable[[Session, Asked], Any]] = {
    # Pages: all that one of them asks.
    "quality": lambda s, a: answers.quality_of(s, ONE, a.plan, UTC, END, TABLES),
    "quality of all lines": lambda s, a: answers.quality_of(s, ALL, a.plan, UTC, END, TABLES),
    "quality of a lot": lambda s, a: answers.quality_of(s, RollupFilter(lot=lot_of(a)), a.plan, UTC, END, TABLES),
    "quality of a product's shift": lambda s, a: answers.quality_of(
        s, RollupFilter(product="disc", shift="early", since=SINCE), a.plan, UTC, END, TABLES
    ),
    "agreement": lambda s, _: agreement.agreement_of(s, ALL, None, STATIONS),
    "drift": lambda s, _: signals.drift_of(s, STATIONS, ("line-1", "top"), SINCE, END),
    "report of a shift": lambda s, a: reports.report_of(s, day_report(a), LINES, None, END),
    "report of a lot": lambda s, a: reports.report_of(s, lot_report(a), LINES, LINES, END),
    "reports": lambda s, a: reports.counts_of(s, reports.last_shifts(None, a.plan, UTC, END), None, LINES, END),
    # Questions one by one: what is not in those pages, and each of them by its name.
    "figures": lambda s, _: figures.figures(s, RollupFilter(station="top")),
    "within_lot": lambda s, a: lots.within_lot(s, RollupFilter(lot=lot_of(a))),
    "proof_of": lambda s, _: answer.proof_of(s, ALL, EXACT, now=END),
    "shift_chart": lambda s, a: shift_chart.shift_chart(s, ONE, a.plan),
    "pareto": lambda s, _: [pareto.pareto(s, of, ALL) for of in ("defects", "reasons")],
    "yields": lambda s, _: [yields.yields(s, by, ALL, zone=UTC, limit=5) for by in TABLES],
    "slot_changes": lambda s, _: proof_changes.slot_changes(s, "line-1", SINCE, END),
    "drift_alerts_raised": lambda s, _: proof_changes.drift_alerts_raised(s, "line-2", SINCE, END),
    "time_held": lambda s, _: holds.time_held(s, LINES, SINCE, END),
    "alarms": lambda s, _: alarms.alarms(s, LINES, cleared_since=SINCE),
    "drift_alerts": lambda s, _: [
        drift_alerts.drift_alerts(s, LINES, cleared_since=SINCE),
        ledger_figures.drift_alerts(s, SINCE, line="line-2"),
    ],
    "counts_by_line": lambda s, _: line_state.counts_by_line(s, SINCE),
    "open_troubles": lambda s, _: line_state.open_troubles(s, LINES),
    "station_now": lambda s, _: [drift_history.station_now(s, *one) for one in STATIONS],
    "drift_points": lambda s, _: drift_history.drift_points(s, "line-2", "top", SINCE, END),
    "model_history": lambda s, _: [changes.model_history(s, *one) for one in STATIONS],
    "score_history": lambda s, _: score_history.score_history(
        s, "line-1", "top", artifact("pcb", 4).digest, last=400, stations=2
    ),
    "parts_to_look_at": lambda s, a: score_history.parts_to_look_at(s, some(a)),
    "shadow_comparison": lambda s, _: shadow_comparison.shadow_comparison(
        s, "line-2", "top", artifact("disc", 3).digest, artifact("disc", 4).digest
    ),
    "scores_before": lambda s, _: parts_before.scores_before(s, "line-1", "top", "pcb", END),
    "good_example": lambda s, _: parts_before.good_example(s, "line-1", "top", "pcb", END),
    "parts": lambda s, _: [
        parts.parts(s, PartFilter(lines=LINES, **wanted), order=order, limit=40)
        for wanted in ({}, {"decision": "reject"}, {"judgement": "defect"}, {"defect": "scratch"}, {"station": "side"})
        for order in ("newest", "oldest")
    ],
    "part_of_verdict": lambda s, a: [part_story.part_of_verdict(s, one, LINES) for one in some(a)[:20]],
    "story_of": lambda s, a: part_story.story_of(s, number_of(s, a)),
    "picture_of": lambda s, a: part_story.picture_of(
        s, derived_id("digest", a.parts[0].verdicts[0].id, "frame"), ("line-1", "line-2")
    ),
    "counts": lambda s, _: review_queue.counts(s, QueueFilter(SINCE, LINES)),
    "waiting": lambda s, _: [
        review_queue.waiting(s, QueueFilter(SINCE, **wanted), 50, END).rows  # marks hold the rows' own numbers
        for wanted in ({"lines": LINES}, {"product": "disc"}, {"lines": LINES, "reviewer": "ann"})
    ],
    "what reviewers are shown": lambda s, a: [
        review_queue.verdicts_of(s, some(a)),
        review_queue.said_about(s, some(a)),
        review_queue.answered_since(s, "ann", SINCE),
        review_queue.claims_on(s, some(a)),
        review_queue.defects_of(s, rejected(a).id),
        review_queue.verdicts_named(s, rejected(a).part, LINES),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_postgresql_and_sqlite_give_one_answer(asked: Asked, name: str) -> None:
    found = []
    for records in (asked.sqlite, asked.postgresql):
        with records.asking() as session:
            found.append(plain(QUESTIONS[name](session, asked)))
    assert found[0] == found[1]
    assert found[0], "an empty answer compares nothing"


def test_every_question_that_the_console_asks_is_compared() -> None:
    """In `QUESTIONS` by its name: a new one is added there."""
    room = "neverblink.records.questions"
    asks = {
        one.name
        for file in Path(neverblink.console.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{room}.")
        for one in node.names
        if one.name[0].islower() and not node.module.endswith(".words")
    }
    assert asks - set(QUESTIONS) == set()
