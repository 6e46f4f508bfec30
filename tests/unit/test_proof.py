"""Recall, precision, false rejects and escapes: counted as a plain account has them, and said with their sample."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.confidence.intervals import share_interval
from neverblink.events import Decision, Judgement, Review
from neverblink.events.identity import audit_place, derived_id, verdict_id
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE
from neverblink.records.columns import Table
from neverblink.records.database import Database
from neverblink.records.part_tables import ReviewQueueRow
from neverblink.records.parts import PartRules
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.proof.counting import sample_of
from neverblink.records.questions.proof.estimates import Exactness, estimates_of
from neverblink.records.questions.proof.samples import Drawn, Sample, Stratum
from neverblink.records.questions.proof.words import between, figure_lines, percent
from neverblink.records.questions.rollup_filter import RollupFilter
from rigs.proof_ledger import Running, ShownPart, events_of, parts_of
from rigs.proof_weeks import CHANGING, Truth, run

MONDAY = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
PARTS = parts_of(Running(defective=0.15, held_out=0.1), 700, MONDAY, timedelta(seconds=30))
EVERYTHING = RollupFilter()


def kept(path: Path, parts: list[ShownPart], rules: PartRules | None = None) -> Database:
    database = Database(f"sqlite:///{path / 'ledger.db'}", create=True)
    keep(database, events_of(parts), MONDAY, rules)
    return database


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The same counts come out of both; PostgreSQL is a real server, with `make test-plant`."""
    url = f"sqlite:///{tmp_path_factory.mktemp('proof') / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_of_the_module")
    found = Database(url, create=True)
    keep(found, events_of(PARTS), MONDAY, PartRules(lambda at: "early" if at.hour < 9 else "late"))
    yield found
    if request.param == "postgresql":
        Table.metadata.drop_all(found.session().get_bind())
    found.close()


def account(parts: list[ShownPart]) -> Sample:
    """Return what a person would count who goes through the parts one by one."""
    own = [one for one in parts if one.reference is None]
    passed = [one for one in own if one.decision is Decision.PASS]

    def drawn(found: list[ShownPart], share: float) -> tuple[Drawn, ...]:
        count = lambda answer: sum(one.answer is answer for one in found)  # noqa: E731
        answers = (Judgement.DEFECT, Judgement.NORMAL, Judgement.INCONCLUSIVE, None)
        return (Drawn(share, *map(count, answers)),) if found else ()

    sure, unsure = [one for one in passed if not one.unsure], [one for one in passed if one.unsure]
    rejects = [one for one in own if one.decision is Decision.REJECT]
    return Sample(
        parts=len(own),
        unscored=sum(one.decision is Decision.UNSCORED for one in own),
        passes=Stratum(len(sure), drawn([one for one in sure if one.holdout], 0.1)),
        unsure=Stratum(len(unsure), drawn(unsure, 1.0)),
        unsure_holdouts=drawn([one for one in unsure if one.holdout], 0.1),
        rejects=Stratum(len(rejects), drawn(rejects, 1.0)),
    )


def counted(database: Database, wanted: RollupFilter = EVERYTHING) -> Sample:
    with database.session() as session:
        return sample_of(session, wanted)


def test_counts_are_those_of_a_plain_account(database: Database) -> None:
    found = counted(database)
    assert replace(found, references=()) == account(PARTS)
    references = [one for one in PARTS if one.reference is not None]
    assert sum(one.came for one in found.references) == len(references)
    assert sum(one.rejected for one in found.references) == sum(one.decision is Decision.REJECT for one in references)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (RollupFilter(lot="lot-1"), lambda one: one.lot == "lot-1"),
        (RollupFilter(shift="early"), lambda one: one.triggered.hour < 9),
        (RollupFilter(("line-1",), since=MONDAY + timedelta(hours=2)), lambda one: one.triggered.hour >= 8),
        (RollupFilter(("line-9",)), lambda _: False),
    ],
    ids=["lot", "shift", "period", "another line"],
)
def test_counts_are_of_the_parts_that_are_asked_for(database: Database, wanted: RollupFilter, fits: object) -> None:
    assert callable(fits)
    assert replace(counted(database, wanted), references=()) == account([one for one in PARTS if fits(one)])


def test_a_part_of_which_one_station_waits_for_an_answer_waits(tmp_path: Path) -> None:
    held = ShownPart(1, MONDAY, defective=False, decision=Decision.PASS, holdout=True, answer=Judgement.NORMAL)
    other, review = held.events()
    second = other.model_copy(update={"id": verdict_id("side"), "frame_id": "side", "station": "side"})
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    keep(database, [other, second, review], MONDAY)
    assert counted(database).passes == Stratum(1, (Drawn(0.05, waiting=1),))
    assert isinstance(review, Review)
    bad = {"id": derived_id("second"), "verdict": second.id, "frame_id": "side", "station": "side"}
    keep(database, [review.model_copy(update=bad | {"judgement": Judgement.DEFECT})], MONDAY)
    assert counted(database).passes == Stratum(1, (Drawn(0.05, defective=1),))
    database.close()


def test_of_the_rejects_only_the_audits_share_waits_for_people_and_is_weighed(tmp_path: Path) -> None:
    rejects = [
        ShownPart(number, MONDAY, defective=True, decision=Decision.REJECT, share=None, answer=None)
        for number in range(240)
    ]
    drawn = [one for one in rejects if audit_place("line-1", 1, one.number, f"1-{one.number}") < 0.25]
    answered = [replace(one, answer=Judgement.DEFECT) if one in drawn[:30] else one for one in rejects]
    curious = replace(next(one for one in rejects if one not in drawn), answer=Judgement.NORMAL)
    answered[curious.number] = curious
    database = kept(tmp_path, answered, PartRules(audit_share=lambda _: 0.25))
    with database.session() as session:
        assert session.query(ReviewQueueRow).count() == len(drawn) - 30
    found = counted(database)
    assert found.rejects == Stratum(240, (Drawn(0.25, defective=30, waiting=len(drawn) - 30),))
    assert found.beyond == 1, "somebody looked at a part that nobody had drawn"
    assert estimates_of(found).precision.seen == 30
    database.close()


# What is estimated


STRATA = Sample(
    parts=10_000,
    unscored=0,
    passes=Stratum(9_900, (Drawn(0.01, defective=4, good=95),)),
    unsure=Stratum(0, ()),
    unsure_holdouts=(),
    rejects=Stratum(100, (Drawn(1.0, defective=60, good=40),)),
)


def test_the_figures_are_those_of_the_definitions() -> None:
    found = estimates_of(STRATA, Exactness(0.5, 0.5))
    e, p = 4 / 99, 0.6
    assert found.recall.value == pytest.approx(100 * p / (100 * p + 9_900 * e))
    assert found.precision.value == pytest.approx(p)
    assert found.escapes.value == pytest.approx(e)
    assert found.false_rejects.value == pytest.approx(40 / (40 + 9_900 * (1 - e)))
    assert found.escaped.value == pytest.approx(400)
    assert found.agreement.value == pytest.approx(1 - 440 / 10_000)
    assert (found.pass_weight, found.reject_weight) == (100, 1)
    assert (found.escapes.low, found.escapes.high) == share_interval(4, 99)
    assert (found.precision.low, found.precision.high) == share_interval(60, 100)


def test_too_few_parts_give_no_figure_but_how_many_more() -> None:
    found = estimates_of(STRATA)
    assert found.recall.value is None
    assert found.recall.more is not None
    assert found.recall.line_parts == pytest.approx(10_000 / 99 * found.recall.more, rel=0.01)

    def grown(times: float) -> float | None:
        bad, good, held, fine = (round(count * times) for count in (60, 40, 4, 95))
        return estimates_of(
            Sample(
                parts=round(10_000 * times), unscored=0,
                passes=Stratum(round(9_900 * times), (Drawn(0.01, held, fine),)),
                unsure=Stratum(0, ()), unsure_holdouts=(), rejects=Stratum(bad + good, (Drawn(1.0, bad, good),)),
            )
        ).recall.value  # fmt: skip

    more = found.recall.more / 99
    assert grown(1 + 0.7 * more) is None
    assert grown(1 + 1.3 * more) == pytest.approx(60 / 460, rel=0.1)


def test_without_any_holdout_the_size_of_a_first_sample_is_told() -> None:
    none = replace(STRATA, passes=Stratum(9_900, (Drawn(0.01, waiting=99),)))
    found = estimates_of(none, Exactness(0.11, 0.01))
    for one in (found.recall, found.escapes, found.false_rejects):
        assert (one.value, one.low, one.high) == (None, 0, 1)
        assert one.unit == "held-out passed parts"
    assert found.escapes.more == 368, "1 − 0.025 ** (1 / 368) is 1 %"
    assert found.precision.value == 0.6
    assert found.escaped.value is None


def test_shares_that_change_weigh_each_part_by_its_own() -> None:
    changed = replace(STRATA, passes=Stratum(9_900, (Drawn(0.01, 2, 48), Drawn(0.02, 2, 98))))
    found = estimates_of(changed, Exactness(0.5, 0.5))
    weighed = (2 / 0.01 + 2 / 0.02) / (50 / 0.01 + 100 / 0.02)
    assert found.escapes.value == pytest.approx(weighed)
    assert found.pass_weight is None


@settings(max_examples=40)
@given(*(st.integers(0, 60),) * 4, st.integers(1, 200), st.booleans())
def test_a_figure_lies_in_its_interval_and_none_is_beyond_0_and_1(
    bad: int, good: int, escaped: int, fine: int, weight: int, unsure: bool
) -> None:
    judged, held = bad + good, escaped + fine
    doubted = Stratum(20, (Drawn(1.0, 5, 15),)) if unsure else Stratum(0, ())
    found = estimates_of(
        Sample(
            parts=judged + held * weight, unscored=0,
            passes=Stratum(held * weight, (Drawn(1 / weight, escaped, fine),)),
            unsure=doubted, unsure_holdouts=(), rejects=Stratum(judged, (Drawn(1.0, bad, good),)),
        ), Exactness(1.0, 1.0),
    )  # fmt: skip
    for one in (found.recall, found.precision, found.false_rejects, found.escapes, found.agreement):
        assert 0 <= one.low <= one.high <= 1
        assert one.value is None or one.low - 1e-9 <= one.value <= one.high + 1e-9


def test_ten_weeks_of_known_truth_lie_in_their_intervals_and_the_naive_figures_do_not() -> None:
    seeds = 12
    covered = dict.fromkeys(Truth._fields, 0)
    naive = dict.fromkeys(Truth._fields, 0)
    for seed in range(seeds):
        made = run(CHANGING, seed)
        found = estimates_of(made.sample)
        for name in Truth._fields:
            one = getattr(found, name)
            covered[name] += one.low <= getattr(made.truth, name) <= one.high
            naive[name] += one.low <= getattr(made.naive, name) <= one.high
    assert min(covered.values()) >= seeds - 1, covered
    assert naive["recall"] == naive["false_rejects"] == naive["escapes"] == 0


# What is said


def proof(database: Database, wanted: RollupFilter = EVERYTHING) -> Proof:
    with database.session() as session:
        return proof_of(session, wanted)


def test_each_figure_is_said_with_its_interval_and_its_sample(database: Database) -> None:
    found = proof(database)
    recall, escapes, precision, *_ = figure_lines(found)
    assert recall.figure == "–"
    assert recall.more is not None
    assert recall.more.startswith("too few: about ")
    assert "more held-out passed parts for ±10 points" in recall.more
    assert precision.figure.endswith(" %")
    assert precision.sample == f"{found.judged_rejects.defective} bad of {found.judged_rejects.answered} judged"
    assert escapes.sample == f"{found.estimates.escapes.seen} bad of {found.estimates.escapes.sample} judged"


def test_places_are_as_many_as_an_interval_is_worth() -> None:
    assert (percent(0.5, 0.3, 0.7), between(0.3, 0.7)) == ("50 %", "30 – 70 %")
    assert (percent(0.0123, 0.0119, 0.0128), between(0.0119, 0.0128)) == ("1.230 %", "1.190 – 1.280 %")
    assert percent(0.9996, 0.95, 1.0) == "99.9 %", "none is rounded to a perfect one"
    assert between(0.1234, 0.2399) == "12 – 24 %", "an interval is rounded outwards"


@pytest.fixture(scope="module")
def plant(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plant") / "plant.yaml"
    url = database.session().get_bind().url.render_as_string(hide_password=False)  # type: ignore[union-attr]
    path.write_text(EXAMPLE.replace("sqlite:///ledger.db", url))
    return path


def asked(*words: str) -> str:
    done = CliRunner().invoke(app, ["ledger", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_figures_of_a_line_fit_one_screen_and_name_what_they_are_of(plant: Path) -> None:
    shown = asked("figures", "--line", "line-1", "--plant", str(plant))
    lines = shown.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    for word in ("recall", "precision", "false rejects", "escapes", "an answered one stands for", "Not in it"):
        assert word in " ".join(shown.split())


def test_programs_get_the_same_figures(plant: Path) -> None:
    found = json.loads(asked("figures", "--line", "line-1", "--json", "--plant", str(plant)))
    assert found["parts"] == len(PARTS)
    assert found["proof"]["estimates"]["precision"]["value"] == pytest.approx(
        estimates_of(account(PARTS)).precision.value
    )


def test_a_shift_that_the_plant_does_not_have_is_refused_by_name(plant: Path) -> None:
    done = CliRunner().invoke(app, ["ledger", "figures", "--shift", "nightly", "--plant", str(plant)])
    assert done.exit_code == 2
    assert "nightly" in done.output
