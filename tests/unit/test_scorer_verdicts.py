"""From frame and score to what is said about a part."""

from datetime import UTC, datetime, timedelta

import pytest

from neverblink.events import ArtifactRef, Decision, Frame, Times, Verdict
from neverblink.events.examples import examples
from neverblink.plant import DefectPolicy
from neverblink.scorer import verdicts
from neverblink.scorer.pictures import defects_of
from neverblink.vision import hybrid
from neverblink.vision.findings import Finding

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


def told(score: float, decision: hybrid.Decision, *, findings: tuple[Finding, ...] = ()) -> Verdict:
    (frame,) = (event for event in examples() if isinstance(event, Frame))
    return verdicts.in_time(
        frame,
        (),
        score=score,
        threshold=2.0,
        artifact=ArtifactRef(name="board", version="1", digest="sha256:" + "0" * 64),
        decision=decision,
        defects=defects_of(findings, DefectPolicy(), 0.1),
        times=Times(captured=NOW, emitted=NOW + timedelta(milliseconds=90)),
    )


PASS = hybrid.Decision(reject=False, reason=None, unsure=False)
UNSURE = hybrid.Decision(reject=False, reason=None, unsure=True)
ANOMALY = hybrid.Decision(reject=True, reason="anomaly", unsure=False)
DEFECT = hybrid.Decision(reject=True, reason="defect", unsure=False)
SCRATCH = Finding("scratch", "unet", 10, 20, 30, 4, 80, 0.9, 1.7, ("unet",))


def test_a_verdict_says_what_was_decided_and_why() -> None:
    assert (told(2.0, PASS).decision, told(2.0, PASS).ratio, told(2.0, PASS).unsure) == (Decision.PASS, 1.0, False)
    assert (told(2.001, ANOMALY).decision, told(2.001, ANOMALY).reason) == (Decision.REJECT, "anomaly")
    assert told(1.9, UNSURE).unsure


def test_a_known_defect_rejects_a_part_whose_score_alone_would_pass() -> None:
    verdict = told(1.2, DEFECT, findings=(SCRATCH,))
    assert (verdict.decision, verdict.reason, verdict.ratio) == (Decision.REJECT, "defect", 0.6)
    (defect,) = verdict.defects
    assert (defect.type, defect.taxonomy, defect.source, defect.confidence) == ("scratch", "surface", "unet", 0.9)
    assert (defect.area_px, defect.area_mm2) == (80, pytest.approx(0.8))
