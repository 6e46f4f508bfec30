"""One verdict from three models: strict on what is known, awake to what is new, silent on what is tolerated."""

from dataclasses import replace

import numpy as np
import pytest

from neverblink.vision.findings import ANOMALY, UNKNOWN, Finding
from neverblink.vision.hybrid import Decision, Marked, Policy, TypeRule, decide, mark, named
from neverblink.vision.regions import evidence_of, outlined_by
from neverblink.vision.unet_spec import UnetSpec

SPEC = UnetSpec(classes=("scratch", "stain"))
SIZE = (128, 64)

SCRATCH = Finding("scratch", "unet", 0, 0, 20, 5, 60, confidence=0.8, seen_by=("unet",))
NEW = Finding(UNKNOWN, "classifier", 0, 0, 20, 5, 60, confidence=0.3, seen_by=("patchcore",))
UNNAMED = Finding(ANOMALY, "patchcore", 0, 0, 20, 5, 60, peak=4.0, seen_by=("patchcore",))

PASS, UNSURE = Decision(reject=False, reason=None, unsure=False), Decision(reject=False, reason=None, unsure=True)
BY_SCORE, BY_DEFECT = (
    Decision(reject=True, reason="anomaly", unsure=False),
    Decision(reject=True, reason="defect", unsure=False),
)


def calm() -> np.ndarray:
    return np.ones((32, 32), np.float32)


def planes(**marked: tuple[slice, slice]) -> np.ndarray:
    """Return (2, 64, 64) probabilities of 0.9 where a class is marked; the image is twice as wide."""
    found = np.full((2, 64, 64), 0.01, np.float32)
    for name, window in marked.items():
        found[SPEC.classes.index(name)][window] = 0.9
    return found


def marks(
    anomaly_map: np.ndarray, probabilities: np.ndarray | None, *, anomalous: bool, unet: UnetSpec = SPEC, **more: int
) -> list[Marked]:
    return mark(
        anomaly_map,
        2.0,
        anomalous=anomalous,
        image_size=SIZE,
        probabilities=probabilities,
        outlined=None if probabilities is None else outlined_by(unet, probabilities),
        **more,
    )


def test_a_segment_is_told_in_image_pixels_with_its_type() -> None:
    found = named(marks(calm(), planes(stain=np.s_[8:12, 16:24]), anomalous=False), SPEC, None)
    assert found == [Finding("stain", "unet", 32, 8, 16, 4, 64, pytest.approx(0.9), pytest.approx(1.0), ("unet",))]


def test_what_both_models_mark_is_one_finding_with_the_u_nets_outline() -> None:
    hot = calm()
    hot[2:10, 6:16] = 5.0
    hot[4:6, 9:11] = 6.0  # far wider than the defect, as smoothed maps are, and highest on it
    (found,) = marks(hot, planes(scratch=np.s_[8:12, 16:24]), anomalous=True)
    assert (found.seen_by, found.region.bbox, found.channel) == (("unet", "patchcore"), (32, 8, 16, 4), 0)
    assert found.region.peak == pytest.approx(6.0)


def test_an_anomaly_elsewhere_stays_a_finding_of_its_own() -> None:
    hot = calm()
    hot[24:30, 24:30] = 5.0
    found = named(marks(hot, planes(scratch=np.s_[8:12, 16:24]), anomalous=True), SPEC, None)
    assert [(one.type, one.source, one.seen_by) for one in found] == [
        (ANOMALY, "patchcore", ("patchcore",)),
        ("scratch", "unet", ("unet",)),
    ]


def test_a_map_has_no_say_below_the_score_and_at_least_one_region_above() -> None:
    hot = calm()
    hot[4, 4] = 1.9
    assert marks(hot, None, anomalous=False) == []
    assert len(marks(hot, None, anomalous=True)) == 1
    hot[4:8, 4:8] = 9.0
    assert marks(hot, None, anomalous=False) == []


def test_a_region_needs_evidence_and_keeps_its_whole_outline() -> None:
    # ln(1 + 32) × logit(0.9) is 7.7 for the scratch, and 6.2 for the stain of half its size.
    strict = SPEC.model_copy(update={"sure": (7.0, 7.0)})
    probabilities = planes(scratch=np.s_[8:12, 16:24], stain=np.s_[40:44, 40:44])
    (found,) = marks(calm(), probabilities, anomalous=False, unet=strict)
    assert (found.channel, found.region.bbox) == (0, (32, 8, 16, 4))
    probabilities[1, 40:44, 40:44] = 0.99
    assert len(marks(calm(), probabilities, anomalous=False, unet=strict)) == 2, "a smaller one must be surer"


def test_evidence_is_beyond_the_threshold_by_region_and_in_the_networks_pixels() -> None:
    plane = planes(scratch=np.s_[8:12, 16:24])[0]
    plane[40, 40] = 0.6
    labels, evidence = evidence_of(plane, 0.5)
    assert evidence[labels[9, 20]] == pytest.approx(np.log1p(32) * np.log(9), rel=1e-5)
    assert evidence[labels[40, 40]] == pytest.approx(np.log(2) * np.log(1.5), rel=1e-5)
    assert evidence[labels[0, 0]] == 0
    assert evidence_of(plane, 0.8)[1][1] == pytest.approx(np.log1p(32) * (np.log(9) - np.log(4)), rel=1e-5)
    assert evidence_of(plane, 0.5, scale=2)[1].max() == pytest.approx(np.log1p(128) * np.log(9), rel=1e-5)
    certain = np.ones((8, 8), np.float32)
    assert np.isfinite(evidence_of(certain, 0.5)[1]).all()


def test_small_segments_are_dropped() -> None:
    probabilities = planes(scratch=np.s_[8:10, 16:18])
    assert marks(calm(), probabilities, anomalous=False, min_area_px=9) == []
    assert len(marks(calm(), probabilities, anomalous=False, min_area_px=8)) == 1


def test_a_region_that_two_classes_claim_goes_to_the_stronger_one() -> None:
    probabilities = planes(scratch=np.s_[8:12, 16:24], stain=np.s_[8:12, 22:26])
    (found,) = named(marks(calm(), probabilities, anomalous=False), SPEC, None)
    assert found.type == "scratch"


def test_the_classifiers_name_stands_and_its_unknown_too() -> None:
    marked = marks(calm(), planes(scratch=np.s_[8:12, 16:24], stain=np.s_[40:44, 40:44]), anomalous=False)
    found = named(marked, SPEC, [("stain", 0.7), (None, 0.2)])
    assert [(one.type, one.source, one.confidence) for one in found] == [
        ("stain", "classifier", 0.7),
        (UNKNOWN, "classifier", 0.2),
    ]


@pytest.mark.parametrize(
    ("policy", "ratio", "findings", "expected"),
    [
        ("either", 0.5, (), PASS),
        ("either", 1.5, (UNNAMED,), BY_SCORE),
        ("either", 0.5, (SCRATCH,), BY_DEFECT),
        ("either", 0.5, (NEW,), BY_DEFECT),
        ("either", 1.5, (SCRATCH,), BY_SCORE),
        ("score", 0.5, (SCRATCH,), PASS),
        ("score", 1.5, (SCRATCH,), BY_SCORE),
        ("defects", 0.5, (SCRATCH,), BY_DEFECT),
        ("defects", 1.5, (UNNAMED,), UNSURE),
        ("defects", 1.5, (UNNAMED, SCRATCH), BY_DEFECT),
        ("defects", 1.0, (), PASS),
    ],
)
def test_the_products_policy_decides(
    policy: str, ratio: float, findings: tuple[Finding, ...], expected: Decision
) -> None:
    assert decide(2 * ratio, 2.0, findings, Policy(reject_on=policy)) == expected  # type: ignore[arg-type]


def test_a_small_defect_is_tolerated_and_an_uncertain_one_is_looked_at() -> None:
    policy = Policy(types={"scratch": TypeRule(min_area_px=50, min_confidence=0.7)})
    assert decide(1.0, 2.0, (SCRATCH,), policy) == BY_DEFECT
    assert decide(1.0, 2.0, (replace(SCRATCH, area_px=49),), policy) == PASS
    assert decide(1.0, 2.0, (replace(SCRATCH, confidence=0.6),), policy) == UNSURE


def test_an_area_in_mm2_needs_a_scale_and_excuses_nothing_without_one() -> None:
    policy = Policy(types={"scratch": TypeRule(min_area_mm2=1.0)})
    assert decide(1.0, 2.0, (SCRATCH,), policy, mm_per_px=0.1) == PASS
    assert decide(1.0, 2.0, (SCRATCH,), policy, mm_per_px=0.2) == BY_DEFECT
    assert decide(1.0, 2.0, (SCRATCH,), policy) == BY_DEFECT


def test_tolerating_everything_else_does_not_hide_what_nobody_knows() -> None:
    policy = Policy(reject_on="defects", types={"scratch": TypeRule()}, others=TypeRule(reject=False))
    assert decide(1.0, 2.0, (replace(SCRATCH, type="stain"),), policy) == PASS
    assert decide(1.0, 2.0, (NEW,), policy) == UNSURE
    tolerant = replace(policy, types={UNKNOWN: TypeRule(reject=False)})
    assert decide(1.0, 2.0, (NEW,), tolerant) == PASS


def test_a_score_near_the_threshold_stays_unsure_whatever_was_found() -> None:
    assert decide(1.9, 2.0, (), Policy(), unsure=True) == UNSURE
    assert decide(1.9, 2.0, (SCRATCH,), Policy(), unsure=True) == BY_DEFECT
