"""What a search for a recipe tries next: the default first, the likeliest early, within its budget."""

from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.tuning.candidates import DEFAULT, Candidate, Facts, Network, combined, effort, singles
from neverblink.trainer.tuning.schedule import Done, Key, Plan, Step

PLAIN = FitSettings(product="pcb", name="pcb")
FACTS = Facts(300, (640, 640), frozenset({(640, 640)}), lie_anyhow=False)


def plan(some: float | None = 0.34, max_ms: float | None = None) -> Plan:
    return Plan(
        singles(PLAIN, FACTS, [Network("resnet18", "w.safetensors")]),
        bank=lambda one: one.bank(PLAIN),
        effort=lambda one: effort(one, PLAIN, FACTS),
        some=some,
        max_ms=max_ms,
    )


def walked(wanted: Plan, budget: float, second: float, gain_of: dict[str, float] | None = None) -> list[Step]:
    """Return every step of a search whose default takes `second` seconds and whose trials last what was expected."""
    done: dict[Key, Done] = {}
    steps, spent, default_s = [], 0.0, None
    while (step := wanted.next(done, spent, budget, default_s)) is not None:
        part = 1.0 if step.rung == "all" else wanted.some or 1.0
        spent += second * wanted.effort(step.candidates[0]) * part
        default_s = default_s or spent
        for one in step.candidates:
            assert Key(one.key, step.rung) not in done, "nothing is tried twice"
            done[Key(one.key, step.rung)] = Done((gain_of or {}).get(one.label, 0.0), 10.0)
        steps.append(step)
        assert len(steps) < 100
    return steps


def test_the_default_is_tried_first_with_all_that_shares_its_bank() -> None:
    first = walked(plan(), 600, 20)[0]
    assert [one.label for one in first.candidates] == ["default", "top 3", "top 10"]
    assert first.rung == "all"


def test_what_shares_features_with_the_default_comes_before_what_does_not() -> None:
    own = DEFAULT.extraction(PLAIN)
    shares = [one.extraction(PLAIN) == own for one in plan().singles]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) >= 5


def test_a_third_screens_and_the_best_of_it_are_judged_by_all_before_the_rest() -> None:
    steps = walked(plan(), 3600, 20, {"CLAHE 2": 0.1, "320 px": 0.05})
    finals = [one.label for step in steps[1:] if step.rung == "all" for one in step.candidates]
    assert finals[:2] == ["CLAHE 2", "320 px"]
    assert {one.label for step in steps if step.rung == "all" for one in step.candidates} >= {
        one.label for one in plan().singles
    }
    joined = [one.label for step in steps if step.rung == "some" for one in step.candidates if ", " in one.label]
    assert joined == ["CLAHE 2, 320 px"]


def test_few_pictures_are_never_divided() -> None:
    steps = walked(plan(some=None), 3600, 5, {"CLAHE 2": 0.1})
    assert {step.rung for step in steps} == {"all"}
    assert {one.label for step in steps for one in step.candidates} >= {one.label for one in plan().singles}


def test_what_is_too_slow_is_not_judged_by_all() -> None:
    steps = walked(plan(max_ms=5.0), 3600, 20, {"CLAHE 2": 0.1})
    assert [step.rung for step in steps].count("all") == 1


@given(st.floats(1, 4000), st.floats(0.5, 300), st.sampled_from([None, 0.34]))
@settings(max_examples=20, deadline=None)
def test_a_search_never_exceeds_its_budget_by_more_than_one_trial(budget: float, second: float, some: float) -> None:
    wanted = plan(some)
    steps = walked(wanted, budget, second, {"CLAHE 2": 0.1, "top 3": 0.02, "320 px": 0.05})
    lasted = [
        second * wanted.effort(step.candidates[0]) * (1.0 if step.rung == "all" else wanted.some or 1.0)
        for step in steps
    ]
    assert sum(lasted[:-1]) <= budget


def test_a_setting_that_was_given_stays_as_it_is() -> None:
    found = singles(
        FitSettings(product="p", name="p", size=320), FACTS, [Network("resnet18")], {"size", "model", "top"}
    )
    assert not {"size", "model", "top"} & {key for one in found for key in one.changes}


def test_only_what_the_pictures_allow_is_tried() -> None:
    small = singles(PLAIN, Facts(40, (200, 180), frozenset({(200, 180)}), lie_anyhow=True))
    labels = [one.label for one in small]
    assert "align silhouette" in labels
    assert not any("px" in label and not label.startswith("192") for label in labels), "nothing finer than the camera"
    upright = [one.label for one in singles(PLAIN, FACTS)]
    assert "tiles of 366 px" in upright
    assert not any(label.startswith("align") for label in upright)


def test_every_recipe_is_one_that_a_fit_takes() -> None:
    for facts in (FACTS, Facts(20, (4000, 3000), frozenset({(4000, 3000)}), lie_anyhow=True)):
        found = singles(PLAIN, facts, [Network("resnet18", "w.safetensors")])
        labels = [one.label for one in found]
        assert len(labels) == len(set(labels))
        for one in [*found, *combined([(single, 0.1) for single in found[1:]])]:
            assert one.of(PLAIN) != PLAIN or one.label == "default"


def test_a_bank_is_a_choice_of_the_patches_however_few_pictures_there_are() -> None:
    for pictures in (16, 64, 300, 5000):
        found = singles(PLAIN.model_copy(update={"brightness": (1.0,)}), FACTS._replace(pictures=pictures))
        assert all(float(str(one.changes.get("ratio", 0))) <= 0.3 for one in found)


def test_what_helped_is_joined_and_what_is_one_thing_is_not() -> None:
    gains = [
        (Candidate("top 3", {"top": 3}), 0.02),
        (Candidate("top 10", {"top": 10}), 0.03),
        (Candidate("320 px", {"size": 320}), 0.05),
        (Candidate("CLAHE 2", {"clahe": {"clip_limit": 2.0}}), -0.01),
    ]
    (only,) = combined(gains)
    assert only.label == "320 px, top 10"
    assert only.changes == {"size": 320, "top": 10}


def test_pictures_of_nearly_one_size_are_cut_alike_or_not_at_all() -> None:
    nearly = frozenset({(640, 640), (641, 633), (655, 650)})
    (tiles,) = [one for one in singles(PLAIN, FACTS._replace(sizes=nearly)) if "tiles" in one.label]
    plan = tiles.of(PLAIN).tiling
    assert plan is not None
    assert {plan.layout(*size) for size in nearly} == {(2, 2)}
    apart = FACTS._replace(sizes=frozenset({(640, 640), (640, 400)}))
    assert not [one for one in singles(PLAIN, apart) if "tiles" in one.label]
