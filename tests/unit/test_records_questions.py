"""Questions to the records give what a plain account of the parts gives, page by page, whatever arrives meanwhile."""

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kept_parts import NOON, MadePart, all_events, events_of, made_parts
from sqlalchemy import text
from sqlalchemy.event import listen

from neverblink.events import Decision, Judgement
from neverblink.ledger.writing import keep
from neverblink.records.columns import Table
from neverblink.records.database import Database, LedgerAbsent, LedgerError
from neverblink.records.questions.cursor import CursorError, cursor_of, mark_of, place_in
from neverblink.records.questions.figures import figures
from neverblink.records.questions.pareto import pareto
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.part_story import story_of
from neverblink.records.questions.parts import Order, Part, parts
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.questions.yields import YieldBy, yields
from neverblink.records.reading import QuestionTooLongError, ReadOnlyRecords

MADE = made_parts(160)
HOURS = 160 * 97 / 3600


class Kept:
    """A ledger with MADE in it, opened for reading alone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, create=True)
        events = all_events(MADE)
        for start in range(0, len(events), 50):
            keep(self.database, events[start : start + 50], NOON)
        self.records = ReadOnlyRecords(url, answer_s=20.0, most=2)

    def ask(self, question: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with self.records.asking() as session:
            return question(session, *arguments, **options)

    def every(self, wanted: PartFilter, order: Order = "newest", limit: int = 7) -> list[Part]:
        found: list[Part] = []
        cursor = None
        while True:
            page = self.ask(parts, wanted, order=order, limit=limit, cursor=cursor)
            found += page.parts
            cursor = page.next
            if not page.more:
                return found


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """The same claims hold on both; PostgreSQL is a real server, with `make test-plant`."""
    url = f"sqlite:///{tmp_path_factory.mktemp('records') / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_of_the_module")
    found = Kept(url)
    yield found
    found.records.close()
    if request.param == "postgresql":
        Table.metadata.drop_all(found.database.session().get_bind())
    found.database.close()


def serials(found: list[Part]) -> list[str | None]:
    return [part.serial for part in found]


FILTERS: dict[str, tuple[PartFilter, Callable[[MadePart], bool]]] = {
    "all": (PartFilter(), lambda one: True),
    "line": (PartFilter(lines=("line-1",)), lambda one: one.line == "line-1"),
    "no line": (PartFilter(lines=()), lambda one: False),
    "station": (PartFilter(station="side"), lambda one: one.line == "line-1"),
    "product": (PartFilter(product="disc"), lambda one: one.product == "disc"),
    "order": (PartFilter(order="order-2"), lambda one: one.order == "order-2"),
    "lot": (PartFilter(lot="lot-3"), lambda one: one.lot == "lot-3"),
    "serial": (PartFilter(serial="SN-000017"), lambda one: one.number == 17),
    "carrier": (PartFilter(carrier="carrier-5"), lambda one: one.number % 7 == 5),
    "time": (
        PartFilter(since=MADE[20].triggered, until=MADE[60].triggered),
        lambda one: 20 <= one.number < 60,
    ),
    "decision": (PartFilter(decision="unscored"), lambda one: one.decision is Decision.UNSCORED),
    "reason": (PartFilter(reason="anomaly"), lambda one: one.reason == "anomaly"),
    "defect": (PartFilter(defect="dent"), lambda one: "dent" in one.defects),
    "judgement": (PartFilter(judgement="defect"), lambda one: one.judgement is Judgement.DEFECT),
    "defect of a line in time": (
        PartFilter(lines=("line-1",), defect="stain", since=MADE[50].triggered),
        lambda one: one.line == "line-1" and "stain" in one.defects and one.number >= 50,
    ),
    "several": (
        PartFilter(lines=("line-1", "line-2"), product="pcb", decision="reject", station="top"),
        lambda one: one.product == "pcb" and one.decision is Decision.REJECT,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_finds_what_a_plain_search_finds_in_every_order(kept: Kept, name: str) -> None:
    wanted, fits = FILTERS[name]
    expected = [one.serial for one in MADE if fits(one)]
    assert serials(kept.every(wanted, "oldest")) == expected
    assert serials(kept.every(wanted, "newest")) == expected[::-1]
    changes = kept.every(wanted, "changes")
    assert sorted(serials(changes)) == expected
    assert [part.revision for part in changes] == sorted(part.revision for part in changes)


def test_a_part_says_what_was_decided_told_done_and_found(kept: Kept) -> None:
    by_serial = {part.serial: part for part in kept.every(PartFilter())}
    for one in MADE:
        part = by_serial[one.serial]
        told = (part.line, part.number, part.product, part.decision, part.reason, part.gate, part.judgement)
        assert told == (
            one.line, one.number, one.product, one.decision, one.reason, one.gate,
            one.judgement and one.judgement.value,
        )  # fmt: skip
        assert (part.order, part.lot, part.carrier, part.attributes) == (
            one.order,
            one.lot,
            one.carrier,
            one.attributes,
        )
        assert (part.triggered, part.told_outcome, part.stations) == (one.triggered, "confirmed", len(one.seen))


def test_the_story_of_a_part_is_all_that_was_heard_of_it(kept: Kept) -> None:
    one = next(one for one in MADE if one.judgement and one.defects and len(one.seen) == 2)
    (part,) = kept.every(PartFilter(serial=one.serial))
    story = kept.ask(story_of, part.id)
    assert story.part == part
    assert {verdict.station: tuple(d.type for d in verdict.defects) for verdict in story.verdicts} == {
        seen.station: seen.defects for seen in one.seen
    }
    assert {defect.region for verdict in story.verdicts for defect in verdict.defects} == {"label"}
    scored = [verdict for verdict in story.verdicts if verdict.score is not None]
    assert {tuple((one.name, one.ratio, one.state) for one in verdict.regions) for verdict in scored} == {
        (("label", 0.5, None), ("screw", 0.2, "present")),
    }
    assert [(act.stage, act.outcome or act.gate) for act in story.actuations] == [
        ("told", "confirmed"), ("gate", one.gate.value),
    ]  # fmt: skip
    assert [(review.reviewer, review.judgement) for review in story.reviews] == [("ann", one.judgement)]
    assert kept.ask(story_of, part.id, ("another line",)) is None
    assert kept.ask(story_of, 10**12) is None


GROUPS: dict[YieldBy, Callable[[MadePart], str]] = {
    "hour": lambda one: one.triggered.replace(minute=0, second=0, microsecond=0).isoformat(),
    "day": lambda one: one.triggered.date().isoformat(),
    "line": lambda one: one.line,
    "product": lambda one: one.product,
    "lot": lambda one: one.lot,
}


@pytest.mark.parametrize("by", GROUPS)
def test_the_yield_of_groups_is_a_plain_count(kept: Kept, by: YieldBy) -> None:
    counts: dict[str, Counter[str]] = {}
    for one in MADE:
        counts.setdefault(GROUPS[by](one), Counter())[one.decision.value] += 1
    found = {
        row.group: Counter({"pass": row.passed, "reject": row.rejected, "unscored": row.unscored})
        for row in kept.ask(yields, by, RollupFilter())
    }
    assert found == counts
    for row in kept.ask(yields, by, RollupFilter()):
        assert row.parts == counts[row.group].total()
        assert row.good_share == pytest.approx(counts[row.group]["pass"] / row.parts)


def test_the_yield_of_stations_counts_their_verdicts(kept: Kept) -> None:
    counts = Counter((one.line, seen.station, seen.decision) for one in MADE for seen in one.seen)
    for row in kept.ask(yields, "station", RollupFilter()):
        line, station = row.group.split("/")
        assert (row.passed, row.rejected) == (
            counts[line, station, Decision.PASS], counts[line, station, Decision.REJECT],
        )  # fmt: skip
    assert len(kept.ask(yields, "station", RollupFilter())) == 3


def test_days_are_those_of_the_plants_zone_and_groups_are_bounded(kept: Kept) -> None:
    zone = ZoneInfo("Pacific/Auckland")
    counts = Counter(one.triggered.astimezone(zone).date().isoformat() for one in MADE)
    found = kept.ask(yields, "day", RollupFilter(), zone=zone)
    assert [(row.group, row.parts) for row in found] == sorted(counts.items(), reverse=True)
    assert [row.group for row in kept.ask(yields, "day", RollupFilter(), zone=zone, limit=1)] == [found[0].group]
    assert len(kept.ask(yields, "lot", RollupFilter(), limit=3)) == 3


def test_counts_cover_whole_hours(kept: Kept) -> None:
    wanted = RollupFilter(since=NOON + timedelta(minutes=50), until=NOON + timedelta(minutes=70))
    (row,) = kept.ask(yields, "hour", wanted, limit=1)[-1:]
    assert wanted.in_hours() == RollupFilter(since=NOON, until=NOON + timedelta(hours=2))
    assert sum(row.parts for row in kept.ask(yields, "hour", wanted)) == sum(
        one.triggered < NOON + timedelta(hours=2) for one in MADE
    )
    assert row.begins == NOON + timedelta(hours=1)


@pytest.mark.parametrize("decision", [None, "reject"])
def test_the_pareto_counts_defects_and_reasons_most_frequent_first(kept: Kept, decision: str | None) -> None:
    defects = Counter(word for one in MADE for word in one.defects)
    found = kept.ask(pareto, "defects", RollupFilter(), decision=decision)
    assert {row.word: row.count for row in found.words} == defects
    assert [row.count for row in found.words] == sorted(defects.values(), reverse=True)
    assert found.words[-1].cumulative == pytest.approx(1.0)
    assert found.counted == defects.total()
    reasons = Counter(
        one.reason for one in MADE if one.reason is not None and (decision is None or one.decision == decision)
    )
    words = kept.ask(pareto, "reasons", RollupFilter(), decision=decision).words
    assert {row.word: row.count for row in words} == reasons
    first = kept.ask(pareto, "defects", RollupFilter(), limit=1)
    assert (len(first.words), first.counted) == (1, defects.total())


def test_figures_state_the_sample_of_each_share(kept: Kept) -> None:
    found = kept.ask(figures, RollupFilter(lines=("line-1",)))
    mine = [one for one in MADE if one.line == "line-1"]
    judged = [one for one in mine if one.judgement in (Judgement.NORMAL, Judgement.DEFECT)]
    rejects = [one for one in judged if one.decision is Decision.REJECT]
    passes = [one for one in judged if one.decision is Decision.PASS]
    assert (found.parts, found.passed.count) == (len(mine), sum(one.decision is Decision.PASS for one in mine))
    assert (found.false_rejects.count, found.false_rejects.sample) == (
        sum(one.judgement is Judgement.NORMAL for one in rejects), len(rejects),
    )  # fmt: skip
    assert (found.escapes.count, found.escapes.sample) == (
        sum(one.judgement is Judgement.DEFECT for one in passes), len(passes),
    )  # fmt: skip
    good = [one for one in mine if one.decision is Decision.PASS and one.judgement is not Judgement.DEFECT]
    good += [one for one in rejects if one.judgement is Judgement.NORMAL]
    assert (found.good_after_review.count, found.good_after_review.sample) == (len(good), len(mine))
    assert found.reviewed.count == sum(one.judgement is not None for one in mine)
    lost = sum(one.decision is Decision.PASS and one.gate != "passed" for one in mine)
    assert (found.gate_lost.count, found.gate_lost.sample) == (lost, len(mine))
    nothing = kept.ask(figures, RollupFilter(lines=("line-9",)))
    assert (nothing.parts, nothing.passed.share) == (0, None)


def test_nothing_is_missed_and_nothing_comes_twice_while_parts_arrive_and_change(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    made = made_parts(60, seed=3)
    keep(database, [event for part in made[:30] for event in events_of(part)], NOON)
    records = ReadOnlyRecords(f"sqlite:///{tmp_path / 'ledger.db'}", answer_s=20.0)
    history: list[Part] = []
    changes: list[Part] = []
    after: dict[str, str | None] = {"newest": None, "changes": None}
    for step in range(40):
        with records.asking() as session:
            page = parts(session, PartFilter(), order="changes", limit=4, cursor=after["changes"])
            changes += page.parts
            after["changes"] = page.next
            if step == 0 or after["newest"] is not None:
                page = parts(session, PartFilter(), limit=3, cursor=after["newest"])
                history += page.parts
                after["newest"] = page.next
        if step < 30:  # a new part and, of an old one, a further event
            late = [event for event in events_of(made[29 - step]) if type(event).__name__ == "Review"]
            again = [
                event.model_copy(update={"id": f"{event.id}-again", "judgement": Judgement.DEFECT}) for event in late
            ]
            keep(database, [*events_of(made[30 + step]), *again], NOON)
    assert serials(history) == [one.serial for one in reversed(made[:30])]
    assert {part.serial for part in changes} == {one.serial for one in made}
    assert len({(part.id, part.revision) for part in changes}) == len(changes)
    newest = {part.id: part for part in changes}
    with records.asking() as session:
        assert sorted(newest.values(), key=lambda part: part.id) == sorted(
            parts(session, PartFilter(), limit=1000).parts, key=lambda part: part.id
        )
        rest = parts(session, PartFilter(), order="changes", cursor=after["changes"])
    assert (rest.parts, rest.more) == ((), False)
    records.close()
    database.close()


def test_what_is_rare_is_found_among_the_changes_though_a_page_looks_at_few(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neverblink.records.questions.parts.LOOKED_AT", 9)
    for name in ("serial", "lot", "defect", "line", "all"):
        wanted, fits = FILTERS[name]
        assert sorted(serials(kept.every(wanted, "changes"))) == [one.serial for one in MADE if fits(one)]


INDEXES = {
    "serial of a line": (PartFilter(lines=("line-1",), serial="x"), "parts_serial"),
    "lot of two lines": (PartFilter(lines=("line-1", "line-2"), lot="x"), "parts_lot_triggered"),
    "reason of a product": (PartFilter(product="x", reason="x"), "parts_reason_triggered"),
    "rejects of a line": (PartFilter(lines=("line-1",), decision="reject"), "parts_line_decision"),
    "two lines": (PartFilter(lines=("line-1", "line-2")), "parts_line_triggered"),
    "judged of a line": (PartFilter(lines=("line-1",), judgement="x"), "parts_judgement_triggered"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_few_parts_are_looked_up_by_what_makes_them_few(tmp_path: Path, name: str) -> None:
    """A database without statistics else reads all parts of a line for the one with a serial number."""
    wanted, index = INDEXES[name]
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    for order, expected in (("newest", index), ("oldest", index), ("changes", "parts_revision")):
        with database.session() as session:
            said: list[tuple[str, Any]] = []
            listen(session.get_bind(), "before_cursor_execute", lambda c, u, s, p, x, m: said.append((s, p)))  # noqa: B023
            parts(session, wanted, order=order)  # type: ignore[arg-type]
            statement, values = next(one for one in reversed(said) if "product" in one[0])
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
        assert f"INDEX {expected} " in plan[0][3], (order, plan)
    database.close()


def test_a_cursor_of_another_question_is_refused(kept: Kept) -> None:
    cursor = kept.ask(parts, PartFilter(), limit=1).next
    for wanted, order in ((PartFilter(lot="lot-1"), "newest"), (PartFilter(), "oldest"), (PartFilter(), "changes")):
        with pytest.raises(CursorError, match="belongs to another question"):
            kept.ask(parts, wanted, order=order, cursor=cursor)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(max_size=300), st.binary(max_size=100).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
)
def test_any_text_is_a_cursor_or_refused_in_a_sentence(noise: str) -> None:
    with pytest.raises(CursorError):
        place_in(noise, mark_of("parts newest", {}), 2)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2))
def test_a_cursor_names_the_place_that_it_was_made_of(place: list[int]) -> None:
    mark = mark_of("q", {"lines": ["a"]})
    assert place_in(cursor_of(mark, place), mark, 2) == tuple(place)
    stretched = orjson.loads(base64.urlsafe_b64decode(cursor_of(mark, place) + "=="))
    assert stretched[0] == 1


def test_records_that_are_opened_for_reading_cannot_be_written(kept: Kept) -> None:
    for statement in ("DELETE FROM parts", "CREATE TABLE x (y INTEGER)", "UPDATE last_revision SET revision = 0"):
        with pytest.raises(LedgerError, match="read"), kept.records.asking() as session:
            session.execute(text(statement))
    assert len(kept.every(PartFilter())) == len(MADE)


def test_a_question_that_takes_too_long_is_ended_with_advice(kept: Kept) -> None:
    hurried = ReadOnlyRecords(kept.url, answer_s=0.2)
    numbers = "SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000000"
    endless = text(f"WITH RECURSIVE n(x) AS ({numbers}) SELECT count(*) FROM n")
    told = pytest.raises(QuestionTooLongError, match="ask for a shorter time")
    with told as raised, hurried.asking() as session:
        session.execute(endless)
    assert "took longer than 0.2 s" in str(raised.value)
    with hurried.asking() as session:
        assert parts(session, PartFilter(), limit=1).parts
    hurried.close()


def test_a_ledger_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerAbsent, match="there is no ledger"):
        ReadOnlyRecords(f"sqlite:///{tmp_path / 'none.db'}", answer_s=1.0)
    assert list(tmp_path.iterdir()) == []


def test_instants_of_answers_have_a_zone(kept: Kept) -> None:
    part = kept.every(PartFilter())[0]
    assert part.triggered.tzinfo is not None
    assert orjson.dumps(part, option=orjson.OPT_UTC_Z).decode().count('Z"') >= 4
    assert isinstance(part.triggered, datetime)
    assert part.triggered.utcoffset() == timedelta(0)
    assert UTC.utcoffset(None) == timedelta(0)
