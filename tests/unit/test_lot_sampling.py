"""Sampling plans are those of ISO 2859-1: letters, sizes, numbers and arrows, and what they promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from neverblink.trainer.offline_inspection.lot_sampling import (
    _LETTERS,
    _SIZES,
    _TABLES,
    AQLS,
    CONSUMER_RISK,
    Level,
    LotDecision,
    LotError,
    SamplingPlan,
    Severity,
    draw,
    plan_for,
)

LEVELS: tuple[Level, ...] = ("I", "II", "III")
SEVERITIES: tuple[Severity, ...] = ("normal", "tightened")

plans = st.builds(
    plan_for,
    st.integers(2, 2_000_000),
    st.sampled_from(AQLS),
    level=st.sampled_from(LEVELS),
    severity=st.sampled_from(SEVERITIES),
)


# Read off tables 1, 2-A and 2-B of ISO 2859-1:1999, as they also stand in MIL-STD-105E and ANSI/ASQ Z1.4.
@pytest.mark.parametrize(
    ("lot", "level", "severity", "aql", "code", "letter", "sample", "accept"),
    [
        (1_000, "II", "normal", 1.0, "J", "J", 80, 2),
        (1_000, "II", "normal", 0.65, "J", "J", 80, 1),
        (500, "II", "normal", 1.0, "H", "H", 50, 1),
        (5_000, "II", "normal", 1.0, "L", "L", 200, 5),
        (3_201, "II", "normal", 4.0, "L", "L", 200, 14),
        (10_000, "II", "normal", 6.5, "L", "L", 200, 21),
        (2_000, "II", "normal", 2.5, "K", "K", 125, 7),
        (1_000, "I", "normal", 1.0, "G", "H", 50, 1),
        (1_000, "III", "normal", 1.0, "K", "K", 125, 3),
        (600_000, "III", "normal", 0.065, "R", "R", 2_000, 3),
        # Down: the next plan with its own, larger sample.
        (1_000, "II", "normal", 0.10, "J", "K", 125, 0),
        (1_000, "II", "normal", 0.40, "J", "K", 125, 1),
        (200, "II", "normal", 0.25, "G", "H", 50, 0),
        # Up: the next plan with its own, smaller sample.
        (1_000, "II", "normal", 0.25, "J", "H", 50, 0),
        (5_000, "II", "normal", 10.0, "L", "K", 125, 21),
        (400_000, "II", "normal", 6.5, "P", "L", 200, 21),
        (600_000, "III", "normal", 0.015, "R", "P", 800, 0),
        # The plan's sample is the whole lot.
        (30, "II", "normal", 0.10, "D", "K", 30, 0),
        (80, "III", "normal", 0.65, "F", "F", 20, 0),
        (5, "II", "normal", 10.0, "A", "C", 5, 1),
        (1_000, "II", "tightened", 1.0, "J", "J", 80, 1),
        (1_000, "II", "tightened", 0.40, "J", "L", 200, 1),
        (1_000, "II", "tightened", 10.0, "J", "J", 80, 12),
        (1_000_000, "II", "tightened", 0.025, "Q", "S", 3_150, 1),
        (8, "II", "tightened", 10.0, "A", "D", 8, 1),
    ],
)
def test_a_plan_is_that_of_the_standard(
    lot: int, level: Level, severity: Severity, aql: float, code: str, letter: str, sample: int, accept: int
) -> None:
    plan = plan_for(lot, aql, level=level, severity=severity)
    assert (plan.code, plan.letter, plan.sample, plan.accept) == (code, letter, sample, accept)
    assert plan.reject == accept + 1
    assert plan.whole_lot is (sample == lot)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_acceptance_numbers_stand_on_the_tables_diagonals(severity: Severity) -> None:
    # Sample sizes and AQLs are both steps of the same preferred numbers: one size up, one AQL down is the same plan.
    table = _TABLES[severity]
    assert len(table) == {"normal": 16, "tightened": 17}[severity]
    assert len(_LETTERS) == len(_SIZES) == 17
    assert {len(row) for row in table} == {len(AQLS)}
    on_diagonal: dict[int, set[str]] = {}
    for row, cells in enumerate(table[:16]):
        numbers = [int(cell) for cell in cells if cell.isdigit()]
        assert numbers == sorted(numbers)
        for column, cell in enumerate(cells):
            if cell.isdigit():
                on_diagonal.setdefault(row + column, set()).add(cell)
    assert all(len(found) == 1 for found in on_diagonal.values())
    told = [int(found.pop()) for _, found in sorted(on_diagonal.items())]
    assert told == {"normal": [0, 1, 2, 3, 5, 7, 10, 14, 21], "tightened": [0, 1, 2, 3, 5, 8, 12, 18]}[severity]


@given(plans)
def test_a_plan_asks_for_no_more_parts_than_the_lot_has_and_can_be_failed(plan: SamplingPlan) -> None:
    assert 1 <= plan.sample <= plan.lot
    assert plan.reject == plan.accept + 1 <= plan.sample
    assert plan.code == plan_for(plan.lot, 1.0, level=plan.level).code


@given(plans, st.sampled_from(AQLS))
def test_of_equal_samples_the_looser_aql_allows_no_fewer_bad_parts(plan: SamplingPlan, aql: float) -> None:
    # Of unequal ones not always: an arrow to a larger sample with Ac 1 asks more than the smaller one with Ac 0.
    other = plan_for(plan.lot, aql, level=plan.level, severity=plan.severity)
    tight, loose = sorted((plan, other), key=lambda found: found.aql)
    assert tight.sample != loose.sample or tight.accept <= loose.accept


@given(st.integers(2, 2_000_000), st.sampled_from(AQLS), st.sampled_from(LEVELS))
def test_tightened_inspection_accepts_no_more_than_normal_one(lot: int, aql: float, level: Level) -> None:
    normal, tightened = (plan_for(lot, aql, level=level, severity=severity) for severity in SEVERITIES)
    for bad in (aql / 100, 3 * aql / 100):
        assert tightened.acceptance_probability(bad) <= normal.acceptance_probability(bad) + 1e-12


@given(plans)
def test_the_customers_risk_is_where_the_characteristic_says_ten_percent(plan: SamplingPlan) -> None:
    worst = plan.quality_accepted_with(CONSUMER_RISK)
    assert plan.acceptance_probability(worst) == pytest.approx(CONSUMER_RISK, rel=1e-6)
    assert plan.acceptance_probability(worst) == pytest.approx(float(binom.cdf(plan.accept, plan.sample, worst)))


def test_a_process_at_the_aql_has_most_of_its_lots_accepted() -> None:
    for lot in (50, 500, 5_000, 500_000):
        for aql in AQLS:
            assert plan_for(lot, aql).acceptance_probability(aql / 100) > 0.85


def test_where_no_bad_part_is_allowed_the_characteristic_is_a_power() -> None:
    plan = plan_for(1_000, 0.15)
    assert (plan.sample, plan.accept) == (80, 0)
    assert plan.acceptance_probability(0.01) == pytest.approx(0.99**80)
    assert plan.quality_accepted_with(0.10) == pytest.approx(1 - 0.1 ** (1 / 80))


@pytest.mark.parametrize(("lot", "aql"), [(1, 1.0), (1_000, 3.0), (1_000, 15.0), (1_000, 0.0)])
def test_what_the_tables_do_not_have_is_refused_in_a_sentence(lot: int, aql: float) -> None:
    with pytest.raises(LotError, match=r"no sampling plan|no AQL"):
        plan_for(lot, aql)


def test_a_part_without_a_score_counts_as_bad() -> None:
    plan = plan_for(1_000, 1.0)
    assert LotDecision(plan, rejected=1, unscored=1).accepted
    assert not LotDecision(plan, rejected=1, unscored=2).accepted


@given(st.sets(st.text(max_size=6), min_size=1, max_size=40), st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_draw_depends_on_seed_and_parts_alone(parts: set[str], seed: int, random: object) -> None:
    given_order = sorted(parts, key=lambda _: random.random())  # type: ignore[attr-defined]
    count = len(parts) // 2
    drawn = draw(given_order, count, seed)
    assert drawn == draw(parts, count, seed)
    assert len(set(drawn)) == count
    assert set(drawn) <= parts


def test_every_part_is_drawn_about_equally_often() -> None:
    parts = [f"part-{number}" for number in range(20)]
    drawn = [part for seed in range(1_000) for part in draw(parts, 5, seed)]
    # 250 of 1,000 expected, 13.7 standard deviation: five of them.
    assert all(180 < drawn.count(part) < 320 for part in parts)
    assert draw(parts, 5, 1) != draw(parts, 5, 2)


def test_a_lot_with_too_few_images_is_told_how_many_it_needs() -> None:
    with pytest.raises(LotError, match="needs 80 parts, and there are images of 3"):
        draw(["a", "b", "c"], 80, 0)
