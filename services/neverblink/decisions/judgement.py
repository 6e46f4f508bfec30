"""The one judgement of an image, on the line and off it: what the models saw, decided by a product's rules."""

from dataclasses import dataclass
from typing import Literal

from neverblink.decisions.rules import ProductRules, taxonomy_of
from neverblink.events import BoundingBox, Decision, Defect, RegionScore
from neverblink.vision.calibration import Calibration
from neverblink.vision.errors import NoNumberError
from neverblink.vision.findings import Finding
from neverblink.vision.hybrid import area_mm2, decide
from neverblink.vision.inspection import Inspection, NamedScore

_ASSEMBLY = "assembly"
"""The class of what is not there, another part or turned, unless the plant file says otherwise."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is decided about an image, by which threshold on its score, and the regions that do not look right.

    `reason` is None for a part that passes. Only such a part is ever `unsure`: it passes, and a person should look.
    """

    score: float
    threshold: float
    reject: bool
    reason: Literal["anomaly", "defect"] | None
    unsure: bool
    defects: tuple[Defect, ...] = ()
    regions: tuple[RegionScore, ...] = ()

    @property
    def decision(self) -> Decision:
        """Return the decision in a verdict's words."""
        return Decision.REJECT if self.reject else Decision.PASS

    @property
    def ratio(self) -> float:
        """Return score / threshold."""
        return self.score / self.threshold


def judged(
    inspection: Inspection,
    calibration: Calibration,
    rules: ProductRules,
    *,
    mm_per_px: float | None,
    edited: float | None = None,
) -> Judgement:
    """Decide an image that a model inspected, by the model's `calibration` and the product's rules.

    `mm_per_px` is the scale of the image's station, None where it has none; `edited` the threshold that a person set
    instead of the calibration's. Raises NoNumberError when anything that the models said, or the threshold, is no
    finite number: the part is unscored, for nothing can be decided by it.
    """
    if (fault := inspection.fault) is not None:
        raise NoNumberError(fault)
    score = inspection.anomaly.score
    threshold = calibration.threshold if edited is None else edited
    decision = decide(
        score,
        threshold,
        inspection.findings,
        rules.policy,
        unsure=calibration.is_unsure(score, edited),
        mm_per_px=mm_per_px,
    )
    defects = tuple(_defect(finding, rules, mm_per_px) for finding in inspection.findings)
    regions = tuple(_region(one, threshold) for one in inspection.regions)
    return Judgement(score, threshold, decision.reject, decision.reason, decision.unsure, defects, regions)


def _region(seen: NamedScore, threshold: float) -> RegionScore:
    return RegionScore(
        name=seen.name,
        kind=seen.kind,
        score=seen.score,
        threshold=threshold,
        ratio=seen.score / threshold,
        state=seen.state,
    )


def _defect(finding: Finding, rules: ProductRules, mm_per_px: float | None) -> Defect:
    return Defect(
        type=finding.type,
        taxonomy=taxonomy_of(rules.defects, finding.type) or (_ASSEMBLY if finding.source == "presence" else None),
        bbox=BoundingBox(x=finding.x, y=finding.y, width=finding.width, height=finding.height),
        area_px=finding.area_px,
        area_mm2=area_mm2(finding, mm_per_px),
        confidence=finding.confidence,
        peak=finding.peak,
        source=finding.source,
        seen_by=finding.seen_by,
        region=finding.region,
    )
