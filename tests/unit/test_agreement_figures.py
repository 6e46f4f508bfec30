"""The figures of an agreement study: as published, as computed another way, and their intervals."""

from itertools import combinations

import numpy as np
import pytest
from agreement_studies import aiag, jasp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import cohen_kappa_score

from neverblink.agreement.figures import AppraiserFigures, Judged, StudyFigures, figures_of
from neverblink.agreement.kappa import cohen, fleiss, table
from neverblink.agreement.limits import Grade, is_shown, parts_to_show
from neverblink.confidence.clusters import ClusteredShare, clustered_share
from neverblink.confidence.intervals import share_interval


def figures(study: tuple[list[bool], list[Judged]]) -> StudyFigures:
    defective, judged = study
    return figures_of(defective, [None] * len(defective), judged)


def by_name(found: StudyFigures) -> dict[str, AppraiserFigures]:
    return {one.name: one for one in found.appraisers}


def percent(share: ClusteredShare) -> tuple[float, float, float]:
    assert share.share is not None
    return 100 * share.share, 100 * share.low, 100 * share.high


# The published figures of the manual's example: Tables III-C 2 to III-C 7 of the 4th edition.


def test_the_manuals_cross_tables_come_out() -> None:
    defective, judged = aiag()
    a, b, c = (one.decisions for one in judged)
    reference = np.array(defective)[:, None]
    counted = [
        table(*pair).tolist() for pair in ((a, b), (b, c), (a, c), (a, reference), (b, reference), (c, reference))
    ]
    assert counted == [
        [[97, 3], [6, 44]], [[94, 9], [5, 42]], [[92, 8], [7, 43]],
        [[97, 3], [5, 45]], [[100, 3], [2, 45]], [[93, 6], [9, 42]],
    ]  # fmt: skip


def test_the_manuals_kappas_come_out() -> None:
    found = figures(aiag())
    assert {one.one + one.other: round(one.kappa.value or 0, 2) for one in found.pairs} == {
        "AB": 0.86, "AC": 0.78, "BC": 0.79,
    }  # fmt: skip
    assert {name: round(one.against.value or 0, 2) for name, one in by_name(found).items()} == {
        "A": 0.88, "B": 0.92, "C": 0.77,
    }  # fmt: skip


def test_the_manuals_effectiveness_misses_and_false_alarms_come_out_with_its_intervals() -> None:
    found = figures(aiag())
    told = {
        name: (
            *map(round, percent(one.effectiveness)),
            round(percent(one.misses)[0], 2),
            round(percent(one.false_alarms)[0], 1),
        )
        for name, one in by_name(found).items()
    }
    assert told == {"A": (84, 71, 93, 6.25, 4.9), "B": (90, 78, 97, 6.25, 2.0), "C": (80, 66, 90, 12.5, 8.8)}
    assert found.all_alike is not None
    assert found.all_right is not None
    assert (found.all_alike.count, found.all_right.count) == (39, 39)
    assert [round(value) for value in percent(found.all_right)[:2]] == [78, 64]
    assert percent(found.all_right)[2] == pytest.approx(88.5, abs=0.05)  # printed as 89


def test_the_manuals_limits_say_what_they_say_of_its_example() -> None:
    grades = {name: one.grades for name, one in by_name(figures(aiag())).items()}
    assert grades == {
        "A": (Grade.MARGINAL, Grade.UNACCEPTABLE, Grade.ACCEPTABLE),
        "B": (Grade.ACCEPTABLE, Grade.UNACCEPTABLE, Grade.ACCEPTABLE),
        "C": (Grade.MARGINAL, Grade.UNACCEPTABLE, Grade.MARGINAL),
    }


# What JASP prints for its own example (tests/testthat/test-msaAttribute.R of jaspQualityControl).


def test_what_another_program_prints_for_its_example_comes_out() -> None:
    found = figures(jasp())
    rows = by_name(found)
    assert {name: one.within.value for name, one in rows.items() if one.within} == pytest.approx(
        {"EG": 0.905462184873949, "BL": 0.91, "MH": 0.543918918918919}
    )
    assert {name: one.against.value for name, one in rows.items()} == pytest.approx(
        {"EG": 0.612903225806452, "BL": 0.492307692307692, "MH": 0.264150943396226}
    )
    assert found.between is not None
    assert found.between.value == pytest.approx(0.641666666666666)
    assert {name: percent(one.effectiveness) for name, one in rows.items()} == {
        "EG": pytest.approx((80, 51.911, 95.669), abs=5e-4), "BL": pytest.approx((73.333, 44.9, 92.213), abs=5e-4),
        "MH": pytest.approx((60, 32.287, 83.664), abs=5e-4),
    }  # fmt: skip
    assert {name: (one.alike.count, percent(one.alike)[1:]) for name, one in rows.items() if one.alike} == {
        "EG": (14, pytest.approx((68.052, 99.831), abs=5e-4)), "BL": (14, pytest.approx((68.052, 99.831), abs=5e-4)),
        "MH": (12, pytest.approx((51.911, 95.669), abs=5e-4)),
    }  # fmt: skip
    assert {
        name: (round(percent(one.misses)[0], 2), round(percent(one.false_alarms)[0], 2)) for name, one in rows.items()
    } == {"EG": (16.67, 20), "BL": (26.67, 20), "MH": (10, 66.67)}
    assert found.all_alike is not None
    assert found.all_right is not None
    assert (found.all_alike.count, found.all_right.count) == (9, 7)


# Computed another way, on tables that nobody chose.

looks = st.integers(2, 25).flatmap(
    lambda parts: st.integers(2, 5).flatmap(
        lambda rounds: st.lists(
            st.lists(st.booleans(), min_size=rounds, max_size=rounds), min_size=parts, max_size=parts
        )
    )
)


@settings(max_examples=60, deadline=None)
@given(looks)
def test_cohens_kappa_is_what_scikit_learn_computes(rows: list[list[bool]]) -> None:
    decisions = np.array(rows)
    one, other = decisions[:, :1], decisions[:, 1:2]
    found = cohen(one, other)
    if found.value is None:
        assert len(set(one.ravel()) | set(other.ravel())) == 1
    else:
        assert found.value == pytest.approx(cohen_kappa_score(one.ravel(), other.ravel()))
        assert found.low <= found.value <= found.high
    pooled = cohen(decisions, one)
    if pooled.value is not None:
        beside = np.broadcast_to(one, decisions.shape)
        assert pooled.value == pytest.approx(cohen_kappa_score(decisions.ravel(), beside.ravel()))


@settings(max_examples=60, deadline=None)
@given(looks)
def test_fleiss_kappa_is_what_counting_every_pair_of_looks_gives(rows: list[list[bool]]) -> None:
    found = fleiss(np.array(rows))
    pairs = [one == other for row in rows for one, other in combinations(row, 2)]
    every = [sign for row in rows for sign in row]
    # Two looks drawn from all of them, each put back: how often they agree by chance.
    chance = sum(one == other for one in every for other in every) / len(every) ** 2
    if len(set(every)) == 1:
        assert found.value is None
        return
    assert found.value == pytest.approx((sum(pairs) / len(pairs) - chance) / (1 - chance))
    assert found.low <= found.value <= found.high


def test_one_who_always_says_the_same_is_told_from_chance_by_nothing() -> None:
    everything = np.ones((20, 3), np.bool_)
    assert cohen(everything, np.arange(20)[:, None] < 10).value == 0
    assert fleiss(everything).value is None


def test_perfect_agreement_on_few_parts_is_no_certainty() -> None:
    half = np.arange(20)[:, None] < 10
    found = cohen(np.repeat(half, 3, axis=1), half)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(2 * share_interval(20, 20).low - 1)


def test_looks_at_one_part_are_no_more_parts() -> None:
    counts = np.repeat([0, 3], [14, 2])
    alike = clustered_share(counts, np.full(16, 3))
    assert (alike.count, alike.total, alike.effective) == (6, 48, pytest.approx(16, abs=0.6))
    spread = clustered_share(np.repeat([0, 1], [10, 6]), np.full(16, 3))
    assert spread.share == alike.share
    assert spread.high - spread.low < alike.high - alike.low
    assert clustered_share([0] * 16, [3] * 16).high == share_interval(0, 16).high
    one_each = clustered_share([1] * 45 + [0] * 5, [1] * 50)
    assert (one_each.low, one_each.high) == pytest.approx(share_interval(45, 50))


def test_intervals_of_clustered_decisions_cover_the_share_that_holds() -> None:
    random = np.random.default_rng(19)
    covered = 0
    for _ in range(400):
        # Parts are hard or easy: three looks at a hard part go wrong together.
        rates = random.beta(0.4, 1.6, 40)
        found = clustered_share(random.binomial(3, rates), np.full(40, 3))
        covered += found.low <= 0.2 <= found.high
    assert covered >= binom.ppf(0.001, 400, 0.95)


def test_how_many_parts_show_a_limit() -> None:
    assert parts_to_show(0.02) == 183
    assert share_interval(0, 183).high <= 0.02 < share_interval(0, 182).high
    assert is_shown(clustered_share([0] * 183, [3] * 183), 0.02)
    assert not is_shown(clustered_share([0] * 16, [3] * 16), 0.02)


def test_a_machine_that_went_one_round_is_beside_each_round_of_people() -> None:
    defective, judged = aiag()
    line = Judged("the line", np.array(defective)[:, None], is_machine=True)
    found = figures_of(defective, ["scratch" if one else None for one in defective], [*judged, line])
    assert {one.kappa.value for one in found.pairs if one.other == "the line" and one.one == "A"} == {
        by_name(found)["A"].against.value
    }
    machine = by_name(found)["the line"]
    assert (machine.alike, machine.within, machine.grade) == (None, None, Grade.ACCEPTABLE)
    without = figures_of(defective, [None] * 50, judged)
    assert (found.between, found.all_alike, found.parts) == (without.between, without.all_alike, without.parts)
    assert [(one.defect_type, one.missed, one.decisions) for one in by_name(found)["C"].types] == [("scratch", 6, 48)]


def test_parts_that_all_get_wrong_are_told_from_parts_on_which_they_differ() -> None:
    defective = [True, False, True, False]
    people = [Judged(name, np.array([[True], [False], [False], [name == "A"]])) for name in ("A", "B")]
    parts = figures_of(defective, [None] * 4, people).parts
    assert [(one.split, one.all_wrong, one.wrong) for one in parts] == [
        (False, False, 0), (False, False, 0), (False, True, 2), (True, False, 1),
    ]  # fmt: skip
