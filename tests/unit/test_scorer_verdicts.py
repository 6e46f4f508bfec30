"""From frame and score to what is said about a part."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.events import ArtifactRef, Decision, Frame, Times, Verdict
from neverblink.events.examples import examples
from neverblink.scorer import verdicts
from neverblink.vision.calibration import Calibration
from neverblink.vision.findings import Finding
from neverblink.vision.inspection import Anomaly, Inspection

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


def told(score: float, *, unsure_from: float | None = None, findings: tuple[Finding, ...] = ()) -> Verdict:
    (frame,) = (event for event in examples() if isinstance(event, Frame))
    calibration = Calibration(
        threshold=2.0,
        map_threshold=1.5,
        false_reject=0.1,
        confidence=0.95,
        normals=29,
        rank=29,
        unsure_from=unsure_from,
    )
    inspection = Inspection(Anomaly(score, np.zeros((1, 1), np.float32)), findings)
    return verdicts.in_time(
        frame,
        (),
        judgement=judged(inspection, calibration, DEFAULT_RULES, mm_per_px=0.1),
        artifact=ArtifactRef(name="board", version="1", digest="sha256:" + "0" * 64),
        times=Times(captured=NOW, emitted=NOW + timedelta(milliseconds=90)),
    )


SCRATCH = Finding("scratch", "unet", 10, 20, 30, 4, 80, 0.9, 1.7, ("unet",))


def test_a_verdict_says_what_was_decided_and_why() -> None:
    assert (told(2.0).decision, told(2.0).ratio, told(2.0).unsure) == (Decision.PASS, 1.0, False)
    assert (told(2.001).decision, told(2.001).reason) == (Decision.REJECT, "anomaly")
    assert told(1.9, unsure_from=1.8).unsure


def test_a_known_defect_rejects_a_part_whose_score_alone_would_pass() -> None:
    verdict = told(1.2, findings=(SCRATCH,))
    assert (verdict.decision, verdict.reason, verdict.ratio) == (Decision.REJECT, "defect", 0.6)
    (defect,) = verdict.defects
    assert (defect.type, defect.taxonomy, defect.source, defect.confidence) == ("scratch", "surface", "unet", 0.9)
    assert (defect.area_px, defect.area_mm2) == (80, pytest.approx(0.8))
