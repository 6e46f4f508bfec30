"""What the golden set of a product says of a model at a threshold: from the reports that are kept. It blocks."""

from dataclasses import dataclass
from typing import Literal

from neverblink.model_registry.golden_gate import GoldenGate
from neverblink.model_registry.golden_set import GoldenError
from neverblink.model_registry.qualifications import JudgedPart, Kept

State = Literal["none", "passed", "failed", "unjudged", "unknown"]


@dataclass(frozen=True, slots=True)
class Golden:
    """`none`: the product has no golden set. `unjudged`: no report is about this model, this threshold and the set as
    it is now. `unknown`: the set or the reports cannot be read, as `fault` says. `report` is what decided.
    """

    state: State
    demanded: bool = False
    report: Kept | None = None
    parts: int = 0
    defects: int = 0
    allowed: int | None = None
    fault: str | None = None

    @property
    def wrong(self) -> tuple[JudgedPart, ...]:
        """Return the parts that are not as they must be, known defects first."""
        if self.report is None:
            return ()
        faulty = [part for part in self.report.report.parts if part.fault is not None]
        return tuple(sorted(faulty, key=lambda part: (part.type is None, part.picture)))


def golden_of(gate: GoldenGate, product: str, artifact: str, edited: float | None) -> Golden:
    """Return what is known of the artifact of that digest, at its `edited` threshold."""
    if not gate.covers(product):
        return Golden("none")
    demanded, allowed = gate.settings.demands(product), gate.settings.good_rejected
    try:
        golden = gate.golden(product)
    except GoldenError as error:
        return Golden("unknown", demanded, fault=str(error))
    question = gate.question(product, artifact, edited, golden)
    reports = gate.reports(artifact)
    passing = gate.passing(question, reports)
    failing = None if passing is not None else gate.failing(question, reports)
    ref = passing or (None if failing is None else failing[0])
    if ref is None and reports.faults:
        return Golden("unknown", demanded, None, len(golden.parts), golden.defects, allowed, "; ".join(reports.faults))
    state: State = "unjudged" if ref is None else "passed" if passing is not None else "failed"
    report = None if ref is None else reports.of(ref.report)
    return Golden(state, demanded, report, len(golden.parts), golden.defects, allowed)
