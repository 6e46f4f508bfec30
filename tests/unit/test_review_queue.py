"""The queue of what waits for a person: it follows from the events alone, and a page of it is found, not searched."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import event, text

from neverblink.events import ArtifactRef, Claim, Decision, Event, Review, ShadowVerdict, Times, Verdict
from neverblink.events.identity import derived_id, shadow_verdict_id, verdict_id
from neverblink.ledger import writing
from neverblink.ledger.recount import recount
from neverblink.plant import Reviewer, Reviewing
from neverblink.records.columns import Table
from neverblink.records.database import Database
from neverblink.records.parts import PartRules
from neverblink.records.questions.cursor import CursorError
from neverblink.records.questions.review_queue import (
    QueueFilter,
    Waiting,
    counts,
    said_about,
    verdicts_named,
    waiting,
)
from neverblink.records.review_severity import Severity

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)
EVERYTHING = QueueFilter(since=NOON - timedelta(days=1))


def scored(number: int, decision: str = "reject", **changes: Any) -> Verdict:
    fields = fields_of(number, decision)
    return Verdict.model_validate({**fields, "id": verdict_id(fields["frame_id"]), **changes})


def shadowed(number: int, decision: str) -> ShadowVerdict:
    fields = fields_of(number, decision)
    name = shadow_verdict_id(fields["frame_id"], ARTIFACT.digest, "shadow-model")
    return ShadowVerdict.model_validate({**fields, "id": name, "cause": "shadow-model"})


def fields_of(number: int, decision: str) -> dict[str, Any]:
    captured = NOON + timedelta(seconds=number)
    known = decision != Decision.UNSCORED
    return {
        "frame_id": f"frame-{number}", "line": "line-1", "station": "top", "product": "pcb", "part": f"1-{number}",
        "seq": number, "decision": decision, "reason": None if decision == "pass" else "anomaly",
        "score": 1.0 if known else None, "threshold": 2.0 if known else None, "ratio": 0.5 if known else None,
        "artifact": ARTIFACT if known else None, "times": Times(captured=captured),
        "deadline": captured + timedelta(seconds=2),
    }  # fmt: skip


def said(number: int, reviewer: str, judgement: str, minute: int = 0, **changes: Any) -> Review:
    fields = {
        "id": derived_id("review", number, reviewer, judgement, minute), "verdict": verdict_id(f"frame-{number}"),
        "frame_id": f"frame-{number}", "line": "line-1", "station": "top", "product": "pcb", "part": f"1-{number}",
        "judgement": judgement, "reviewer": reviewer, "at": NOON + timedelta(minutes=minute),
    }  # fmt: skip
    return Review.model_validate({**fields, **changes})


def claimed(number: int, reviewer: str, second: float, minutes: float = 15) -> Claim:
    at = NOON + timedelta(seconds=second)
    return Claim(
        id=derived_id("claim", number, reviewer, second), verdict=verdict_id(f"frame-{number}"), line="line-1",
        station="top", reviewer=reviewer, at=at, until=at + timedelta(minutes=minutes),
    )  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The same claims hold on both; PostgreSQL is a real server, with `make test-plant`."""
    server = request.param == "postgresql"
    url = request.getfixturevalue("postgresql") if server else f"sqlite:///{tmp_path / 'ledger.db'}"
    opened = Database(url, create=True)
    yield opened
    if server:
        Table.metadata.drop_all(opened.session().get_bind())
    opened.close()


def keep(database: Database, *events: Event, rules: Reviewing | None = None) -> None:
    listed = PartRules() if rules is None else PartRules(counts=rules.counts)
    writing.keep(database, events, NOON, listed)


def page(database: Database, wanted: QueueFilter = EVERYTHING, limit: int = 50, now: datetime = NOON) -> list[Waiting]:
    with database.session() as session:
        return list(waiting(session, wanted, limit, now).rows)


def shown(rows: Sequence[Waiting]) -> list[tuple[str, str, str]]:
    return [(row.severity.word, row.judged.part, row.wants) for row in rows]


def test_what_waits_comes_worst_first_and_oldest_first_within(database: Database) -> None:
    keep(
        database,
        scored(1, "pass"),
        scored(2, "pass", holdout=True),
        scored(3, "pass", unsure=True),
        scored(4, "unscored"),
        scored(7, "reject"),
        scored(5, "reject"),
        scored(6, "pass", challenge=True),
        scored(8, "pass"),
        shadowed(8, "reject"),
        scored(9, "reject", challenge=True),
    )
    assert shown(page(database)) == [
        ("challenge-miss", "1-6", "first"),
        ("reject", "1-5", "first"),
        ("reject", "1-7", "first"),
        ("unscored", "1-4", "first"),
        ("unsure", "1-3", "first"),
        ("holdout", "1-2", "first"),
        ("shadow-disagreement", "1-8", "first"),
    ]
    with database.session() as session:
        found = {one.severity: (one.count, one.more) for one in counts(session, EVERYTHING)}
    assert found == {severity: (2 if severity is Severity.REJECT else 1, False) for severity in list(Severity)[:6]}


STORY: tuple[Event, ...] = (
    scored(1), said(1, "a", "defect"),
    scored(2), said(2, "a", "normal", round="first"),
    scored(3), said(3, "a", "normal", round="first"), said(3, "b", "defect", 1, round="second"),
    scored(4), said(4, "a", "normal"), said(4, "a", "inconclusive", 2, withdrawn=True),
    scored(5, "pass"), said(5, "a", "normal", round="first"),
    scored(6, "pass"), shadowed(6, "reject"),
    scored(7, "pass"), shadowed(7, "pass"),
    scored(8), said(8, "a", "normal", round="first"), said(8, "b", "normal", 1, round="second"),
)  # fmt: skip


def of_line(event: Event, line: str) -> Event:
    """Return the same event of another line's frame."""
    about = {"line": line, "frame_id": f"{line}-{getattr(event, 'frame_id')}"}  # noqa: B009 - events of a frame alone
    names = {
        Verdict: verdict_id(about["frame_id"]),
        ShadowVerdict: shadow_verdict_id(about["frame_id"], ARTIFACT.digest, "shadow-model"),
    }
    if isinstance(event, Review):
        about["verdict"] = verdict_id(about["frame_id"])
    return event.model_copy(update={**about, "id": names.get(type(event), f"{line}-{event.id}")})


def test_the_queue_does_not_depend_on_how_events_arrive(database: Database) -> None:
    random = Random(20260302)
    for order in range(12):
        line = f"line-{order}"
        events = [of_line(event, line) for event in (*STORY, *STORY[::3])]
        random.shuffle(events)
        batches = random.randint(1, 6)
        for start in range(batches):
            keep(database, *events[start::batches])
        assert shown(page(database, QueueFilter(EVERYTHING.since, lines=(line,)))) == [
            ("reject", "1-2", "second"),
            ("reject", "1-3", "final"),
            ("reject", "1-4", "first"),
            ("shadow-disagreement", "1-6", "first"),
            ("second-look", "1-5", "second"),
        ]


def test_a_recount_finds_and_mends_what_somebody_changed_in_the_queue(database: Database) -> None:
    keep(database, *STORY)
    before = shown(page(database))
    assert recount(database, PartRules(), NOON, repair=False, tell=lambda _: None).is_exact
    with database.writing() as connection:
        connection.execute(text("DELETE FROM review_queue WHERE severity = 5"))
        connection.execute(text("UPDATE review_queue SET wants = 'first' WHERE wants = 'final'"))
        connection.execute(
            text("UPDATE review_queue SET verdict_id = :other WHERE wants = 'second' AND severity = 1"),
            {"other": verdict_id("frame-1")},
        )
    assert recount(database, PartRules(), NOON, repair=False, tell=lambda _: None).wrong_waiting == 4
    assert shown(page(database)) != before
    assert recount(database, PartRules(), NOON, repair=True, tell=lambda _: None).wrong_waiting == 4
    assert shown(page(database)) == before
    assert recount(database, PartRules(), NOON, repair=False, tell=lambda _: None).is_exact


def test_nobody_is_asked_twice_and_names_that_look_alike_are_different_people(database: Database) -> None:
    keep(database, *STORY)
    parts = {
        name: [row.judged.part for row in page(database, QueueFilter(EVERYTHING.since, reviewer=name))]
        for name in ("a", "b", "A", "a%")
    }
    assert parts["a"] == ["1-4", "1-6"]
    assert parts["b"] == ["1-2", "1-4", "1-6", "1-5"]
    assert parts["A"] == parts["a%"] == ["1-2", "1-3", "1-4", "1-6", "1-5"]


def test_pages_hold_everything_once_while_answers_come(database: Database) -> None:
    keep(database, *(scored(number, "reject" if number % 3 else "unscored") for number in range(60)))
    found: list[str] = []
    cursor: str | None = None
    with database.session() as session:
        while cursor is not None or not found:
            some = waiting(session, EVERYTHING, 7, NOON, cursor)
            found += [row.judged.part for row in some.rows]
            keep(database, said(int(found[0].partition("-")[2]), "a", "normal", len(found)))
            session.rollback()
            cursor = some.cursor
    rejected, unscored = [n for n in range(60) if n % 3], [n for n in range(60) if not n % 3]
    assert found == [f"1-{number}" for number in [*rejected, *unscored]]


def test_filters_choose_by_line_station_and_product_and_a_cursor_goes_with_its_filter_alone(
    database: Database,
) -> None:
    places = [(line, station, product) for line in ("l1", "l2") for station in ("s1", "s2") for product in ("p", "q")]
    keep(
        database,
        *(
            scored(number, line=line, station=station, product=product)
            for number, (line, station, product) in enumerate(places * 2)
        ),
    )

    def chosen(**wanted: Any) -> set[tuple[str, str, str]]:
        rows = page(database, QueueFilter(EVERYTHING.since, **wanted))
        assert [row.judged.captured for row in rows] == sorted(row.judged.captured for row in rows)
        return {(row.judged.line, row.judged.station, row.judged.product) for row in rows}

    assert chosen() == chosen(lines=("l1", "l2")) == set(places)
    assert chosen(lines=("l2",)) == {place for place in places if place[0] == "l2"}
    assert chosen(station=("l1", "s2")) == {place for place in places if place[:2] == ("l1", "s2")}
    assert chosen(product="q", lines=("l1",)) == {("l1", "s1", "q"), ("l1", "s2", "q")}
    with database.session() as session:
        cursor = waiting(session, EVERYTHING, 3, NOON).cursor
        with pytest.raises(CursorError, match="another question"):
            waiting(session, QueueFilter(EVERYTHING.since, product="p"), 3, NOON, cursor)
        assert sum(one.count for one in counts(session, QueueFilter(EVERYTHING.since, product="p"))) == 8


def test_what_waited_too_long_is_no_longer_shown(database: Database) -> None:
    keep(database, *(scored(number) for number in range(10)))
    late = QueueFilter(since=NOON + timedelta(seconds=7))
    assert [row.judged.part for row in page(database, late)] == ["1-7", "1-8", "1-9"]


def test_the_holder_is_who_came_first_in_the_partition_and_an_ended_claim_holds_nothing(database: Database) -> None:
    keep(database, scored(1), claimed(1, "a", 2), claimed(1, "b", 1))
    assert [(row.held_by, row.held_until) for row in page(database)] == [("a", NOON + timedelta(minutes=15, seconds=2))]
    (ended,) = page(database, now=NOON + timedelta(minutes=16))
    assert ended.held_by is None


def test_an_answer_of_somebody_who_is_not_on_the_list_is_kept_and_does_not_count(database: Database) -> None:
    listed = Reviewing(reviewers=(Reviewer(name="a"),))
    keep(database, scored(1), said(1, "stranger", "normal"), rules=listed)
    assert shown(page(database)) == [("reject", "1-1", "first")]
    with database.session() as session:
        (kept,) = said_about(session, [verdict_id("frame-1")])[verdict_id("frame-1")]
    assert (kept.facts.reviewer, kept.facts.counted) == ("stranger", False)
    keep(database, said(1, "a", "normal"), rules=listed)
    assert page(database) == []


def test_a_verdict_is_found_by_its_id_by_its_parts_name_and_by_its_serial_number(database: Database) -> None:
    keep(
        database,
        scored(1, identity={"serial": "SN-7"}),
        scored(2, line="line-2", station="side", part="1-1", id=verdict_id("other"), frame_id="other"),
    )
    with database.session() as session:
        for named in (verdict_id("frame-1"), "SN-7"):
            (found,) = verdicts_named(session, named, ["line-1", "line-2"])
            assert (found.key, found.identity and found.identity.serial) == ("line-1/top", "SN-7")
        both = verdicts_named(session, "1-1", ["line-1", "line-2"])
        assert {one.key for one in both} == {"line-1/top", "line-2/side"}
        assert verdicts_named(session, "unknown", ["line-1"]) == []


def test_a_page_is_read_from_an_index_and_nothing_is_sorted(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    keep(database, *(scored(number) for number in range(50)))
    asked: list[tuple[str, Any]] = []
    with database.session() as session:
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", lambda _c, _u, sql, values, _x, _m: asked.append((sql, values)))
        for wanted in (
            EVERYTHING,
            QueueFilter(EVERYTHING.since, lines=("line-1",)),
            QueueFilter(EVERYTHING.since, station=("line-1", "top")),
            QueueFilter(EVERYTHING.since, product="pcb", reviewer="a"),
        ):
            cursor = waiting(session, wanted, 5, NOON).cursor
            waiting(session, wanted, 5, NOON, cursor)
            counts(session, wanted)
        questions = [(sql, values) for sql, values in asked if "review_queue" in sql]
        assert len(questions) > 20
        for sql, values in questions:
            steps = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
            plan = " / ".join(str(step[-1]) for step in steps)
            assert "USING INDEX review_queue_" in plan or "USING COVERING INDEX review_queue_" in plan, plan
            assert "TEMP B-TREE" not in plan, plan
    database.close()
