"""What a promise costs, whether a model is of any use, and what a hybrid promises: said as it will be decided."""

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.confidence.intervals import Interval, auroc_interval, share_interval
from neverblink.decisions.judgement import judged
from neverblink.decisions.promise import promise_of, rejected_when
from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.plant import DefectPolicy
from neverblink.trainer.fitting.settings import CalibrateJob
from neverblink.trainer.promises.advice import Places, Ranking, advise
from neverblink.trainer.promises.promise_chart import promise_chart
from neverblink.trainer.promises.promise_costs import PromiseCosts, PromiseRow, PromiseTally, settled, terms_of
from neverblink.vision.calibration import Calibration, calibrate
from neverblink.vision.findings import Finding
from neverblink.vision.inspection import Anomaly, Inspection
from neverblink.vision.unet_spec import UnetSpec

MAP = np.zeros((2, 2), np.float32)
NORMALS = np.linspace(0.2, 1.0, 300).astype(np.float32)


def model(*, unet: bool = False, normals: np.ndarray = NORMALS, false_reject: float = 0.01) -> Any:
    """Return what is asked of an artifact here, with these held-out scores."""
    part = SimpleNamespace(
        spec=UnetSpec(classes=("scratch", "stain")), false_alarms=1, held_out_good=60, false_alarm_bound=0.08
    )
    manifest = SimpleNamespace(
        calibration=calibrate(normals, normals, false_reject=false_reject), unet=part if unet else None, classifier=None
    )
    return SimpleNamespace(manifest=manifest, scores=normals, peaks=normals)


def seen(score: float, *findings: Finding, outlined: bool = False) -> Inspection:
    return Inspection(Anomaly(score, MAP), findings, np.zeros((2, 2, 2), np.float32) if outlined else None)


def counted(artifact: Any, good: list[float], defective: list[float]) -> PromiseCosts:
    tally = PromiseTally(artifact, DEFAULT_RULES)
    for number, score in enumerate([*good, *defective]):
        tally.add(Path(str(number)), seen(score), defective=number >= len(good))
    costs = tally.costs("real")
    assert costs is not None
    return costs


def test_each_promise_has_the_threshold_that_calibrate_would_choose_and_the_rest_say_what_they_need() -> None:
    terms, too_tight = terms_of(model())
    assert [one.calibration.false_reject for one in terms] == [0.01, 0.02, 0.05, 0.1]
    assert [one.in_force for one in terms] == [True, False, False, False]
    for one in terms[1:]:
        assert one.calibration == calibrate(NORMALS, NORMALS, false_reject=one.calibration.false_reject)
    assert too_tight == ((0.005, 598),)


def test_a_looser_promise_finds_what_the_tight_one_misses_and_costs_good_parts() -> None:
    costs = counted(model(), good=[0.3] * 95 + [0.98] * 5, defective=[0.985] * 6 + [1.4] * 4)
    assert [row.found for row in costs.rows] == [4, 4, 10, 10]
    assert [row.false_rejects for row in costs.rows] == [0, 0, 5, 5]
    assert costs.rows[2].false_reject_interval == pytest.approx((0.0164, 0.1128), abs=1e-3)
    thresholds = [row.of_threshold for row in costs.rows]
    assert thresholds[0] == 1
    assert thresholds == sorted(thresholds, reverse=True)
    assert costs.better is costs.rows[2]
    chart = promise_chart(costs)
    assert [dot.up for dot in chart.dots] == [0.4, 0.4, 1.0, 1.0]
    assert all(0 < dot.across < 1 for dot in chart.dots)


def test_without_fresh_good_parts_the_held_out_ones_show_what_is_promised() -> None:
    costs = counted(model(), good=[], defective=[2.0])
    assert costs.held_out
    assert [row.good for row in costs.rows] == [300] * 4
    assert [row.false_rejects for row in costs.rows] == sorted(row.false_rejects for row in costs.rows)
    assert all(row.false_reject_rate <= row.promise for row in costs.rows)


def test_a_threshold_of_anyones_own_is_among_the_promises() -> None:
    artifact = model(normals=NORMALS[:40], false_reject=0.3)
    costs = counted(artifact, good=[0.1], defective=[2.0])
    assert [(row.promise, row.in_force) for row in costs.rows] == [(0.1, False), (0.3, True)]
    # The tighter promise finds as much: it is proposed.
    assert costs.better is costs.rows[0]


def region(by: str, type_: str = "scratch", area_px: int = 10) -> Finding:
    seen_by: Any = ("patchcore",) if by == "patchcore" else ("unet",)
    return Finding("anomaly" if by == "patchcore" else type_, cast(Any, by), 0, 0, 2, 2, area_px, None, 1.0, seen_by)


parts = st.tuples(st.floats(0.1, 1.6), st.integers(0, 2), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(
    shown=st.lists(parts, min_size=1, max_size=8),
    reject_on=st.sampled_from(["score", "defects", "either"]),
    segment=st.sampled_from(["always", "suspicious"]),
    tolerated=st.booleans(),
)
def test_each_promise_decides_as_the_whole_model_would_with_its_threshold(
    shown: list[tuple[float, int, int]], reject_on: str, segment: str, tolerated: bool
) -> None:
    rules = ProductRules(
        DefectPolicy.model_validate(
            {
                "reject_on": reject_on,
                "segment": segment,
                "suspicious_from": 0.6,
                "types": {"scratch": {"min_area_px": 20}, "stain": {"reject": not tolerated}},
            }
        )
    )
    artifact = model(unet=True)

    def look(part: tuple[float, int, int], calibration: Calibration) -> Inspection:
        """A U-Net that runs from some score on, and a map that has a say above the threshold."""
        score, outlined, area = part
        asked = score >= rules.segment_from * calibration.threshold
        types = ("scratch", "stain")[:outlined] if asked else ()
        own = [region("unet", name, area) for name in types]
        return seen(score, *own, *([region("patchcore")] if score > calibration.threshold else []), outlined=asked)

    tally = PromiseTally(artifact, rules)
    named = {Path(str(number)): part for number, part in enumerate(shown)}
    for path, part in named.items():
        tally.add(path, look(part, artifact.manifest.calibration), defective=True)
    settled(tally, lambda terms, paths: ((path, look(named[path], terms.calibration)) for path in paths))
    costs = tally.costs("real")
    assert costs is not None
    for row, terms in zip(costs.rows, tally.terms, strict=True):
        as_decided = [judged(look(part, terms.calibration), terms.calibration, rules, mm_per_px=None) for part in shown]
        assert row.found == sum(one.reject for one in as_decided)


# Advice


def rows(*found: int, of: int = 70, promises: tuple[float, ...] = (0.01, 0.02, 0.05)) -> PromiseCosts:
    made = [
        PromiseRow(promise, 2.0 - promise, 1 - promise, index == 0, count, of, 1, 100)
        for index, (promise, count) in enumerate(zip(promises, found, strict=True))
    ]
    return PromiseCosts(tuple(made), "real", False, ())


def ranking(auroc: float, good: int = 100, defective: int = 70) -> Ranking:
    return Ranking(auroc, auroc_interval(auroc, good, defective), good, defective)


HERE = Places(Path("artifacts/my pcb"), Path("pictures/pcb"), "pcb", 256)


def test_a_model_that_guesses_is_told_so_with_what_to_try() -> None:
    told = advise(rows(1, 2, 4), ranking(0.52), HERE)
    (doubt,) = told.doubts
    assert doubt.startswith("this model cannot tell good parts from defective ones")
    assert "52 % of cases (95 % sure: 43 to 61 %), and a coin gives 50 %" in doubt
    assert "neverblink fit pictures/pcb --product pcb --size 512 --out 'artifacts/my pcb-512px'" in told.commands
    assert any("visible at 256 px" in step.says for step in told.steps)


def test_a_threshold_that_finds_no_more_than_it_may_reject_of_good_parts_is_told_so() -> None:
    told = advise(rows(1, 40, 60), ranking(0.94), HERE)
    (doubt,) = told.doubts
    assert "at its threshold this model is of no use: it rejects 1 of 70" in doubt
    # The ranking is good, so the first thing to try is another promise.
    assert told.steps[0].says == "a promise of 5 % instead of 1 % finds 85.7 % instead of 1.43 % of the defects"
    words = shlex.split(told.commands[0])
    assert words[:3] == ["neverblink", "calibrate", "artifacts/my pcb"]
    asked = dict(zip(words[3::2], words[4::2], strict=True))
    job = CalibrateJob.model_validate(
        {"artifact": words[2], "false_reject": asked["--false-reject"], "out": asked["--out"]}
    )
    assert (job.false_reject, job.out) == (0.05, Path("artifacts/my pcb-5pct"))


def test_a_model_that_finds_few_defects_at_every_promise_needs_more_than_a_threshold() -> None:
    told = advise(rows(20, 22, 24), ranking(0.8), HERE)
    (doubt,) = told.doubts
    assert doubt.startswith("even a promise of 5 % finds 24 of 70 defective parts (34.3 %)")
    assert any(" --size 512 " in command for command in told.commands)


def test_too_few_images_are_no_proof_against_a_model() -> None:
    (doubt,) = advise(rows(2, 2, 2, of=2), ranking(0.8, good=3, defective=2), HERE).doubts
    assert doubt.startswith("3 good and 2 defective images are too few to know")


def test_nothing_is_doubted_and_nothing_proposed_where_the_promise_costs_nothing() -> None:
    assert advise(rows(66, 67, 68), ranking(0.99), HERE) == advise(rows(70, 70, 70), ranking(1.0), HERE)
    assert advise(rows(66, 67, 68), ranking(0.99), HERE).steps == ()


def test_a_hybrid_whose_score_guesses_is_of_use_by_its_u_net() -> None:
    (doubt,) = advise(rows(60, 60, 60), ranking(0.5), HERE, hybrid=True).doubts
    assert doubt.startswith("the anomaly score of this model cannot tell")


def test_intervals_hold_what_was_seen_and_narrow_with_more_of_it() -> None:
    assert share_interval(0, 10) == pytest.approx((0, 0.3085), abs=1e-4)  # Clopper and Pearson's table
    assert share_interval(10, 10) == pytest.approx((0.6915, 1), abs=1e-4)
    few, many = auroc_interval(0.8, 10, 10), auroc_interval(0.8, 1000, 1000)
    assert few.low < many.low < 0.8 < many.high < few.high
    assert auroc_interval(1.0, 2, 2).low < 0.9
    assert auroc_interval(0.0, 5, 5) == Interval(0, 0)


# What a hybrid promises


def test_the_promise_of_a_hybrid_includes_its_u_net() -> None:
    manifest = model(unet=True).manifest
    said = promise_of(manifest)
    assert said.startswith("at most 9 % of good parts are rejected, with 90 % confidence: 1 % by the score")
    assert "8 % by the U-Net, which marked 1 of 60 held-out good images" in said
    assert promise_of(model().manifest) == manifest.calibration.statement()
    manifest.unet.false_alarm_bound = None
    assert "was tried on none" in promise_of(manifest)


def test_rules_change_what_is_promised_and_what_rejects() -> None:
    manifest = model(unet=True).manifest
    by_score, by_region = (
        ProductRules(DefectPolicy.model_validate({"reject_on": reject_on, "types": {"stain": {"reject": False}}}))
        for reject_on in ("score", "defects")
    )
    assert "U-Net and classifier reject nothing" in promise_of(manifest, by_score)
    assert list(rejected_when(manifest, by_score)) == [f"score above {manifest.calibration.threshold:.4f}"]
    lines = list(rejected_when(manifest, by_region))
    assert "only by regions" in lines[0]
    assert lines[1] == "scratch: outlined by the U-Net above 0.50"
    assert lines[2] == "never for stain, by the rules"
    both = replace(by_region, defects=DefectPolicy())
    assert next(iter(rejected_when(manifest, both))).startswith("score above")
