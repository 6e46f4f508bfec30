"""Whether a model may score a product that has a golden set: asked by those who change models and those who score."""

from collections.abc import Callable
from dataclasses import dataclass, field

from neverblink.events import ModelSlots, QualificationRef, Slot
from neverblink.model_registry import changes
from neverblink.model_registry.changes import Stamp
from neverblink.model_registry.golden_set import GoldenPlace, GoldenSet
from neverblink.model_registry.qualifications import (
    Qualification,
    QualificationError,
    QualificationStore,
    Question,
    Reports,
)
from neverblink.plant import GoldenSettings, Plant, rules_digest


@dataclass(frozen=True, slots=True)
class Judged:
    """A model's report, how a slot names it, and where its page lies."""

    report: Qualification
    ref: QualificationRef
    page: str


Judge = Callable[[str, Slot], Judged]
"""Lets a slot's model judge the golden set of a product, and keeps the report; blocks for as long as that takes."""


class GoldenGate:
    """The golden sets of a plant, and what the reports say of models. Its methods block."""

    def __init__(self, plant: Plant) -> None:
        """Raises PlantError when no installed package knows the store of the reports."""
        self._plant = plant
        self._store = QualificationStore(plant.storage)

    @property
    def settings(self) -> GoldenSettings:
        """Return what the plant file says."""
        return self._plant.proof.golden

    def covers(self, product: str) -> bool:
        """Say whether a product has a golden set."""
        return product in self.settings.sets

    def golden(self, product: str) -> GoldenSet:
        """Return a product's set as it is now. Raises GoldenError."""
        return GoldenPlace.of(self._plant, product).read()

    def question(self, product: str, artifact: str, edited: float | None, golden: GoldenSet) -> Question:
        """Return what must be answered before the artifact of that digest may score, at its `edited` threshold."""
        return Question(product, artifact, edited, rules_digest(self._plant, product), golden.digest)

    def reports(self, artifact: str) -> Reports:
        """Return what is known of an artifact, by its digest."""
        return self._store.about(artifact)

    def passing(self, question: Question, reports: Reports) -> QualificationRef | None:
        """Return the report by which a model may score, None when there is none."""
        return reports.passing(question, self.settings.good_rejected)

    def failing(self, question: Question, reports: Reports) -> tuple[QualificationRef, str] | None:
        """Return the report by which a model may not score, and why; None when there is none."""
        return reports.failing(question, self.settings.good_rejected)

    def refusal(self, question: Question, reports: Reports) -> str:
        """Return why a model may not score that has no passing report, and what to do."""
        known = self.failing(question, reports)
        if known is not None:
            return known[1]
        away = f" (not asked: {'; '.join(reports.faults)})" if reports.faults else ""
        at = "" if question.edited is None else f" --threshold {question.edited:g}"
        return (
            f"no report says that it passes the golden set of {question.product} as that is now{away}:"
            f" `neverblink qualify ARTIFACT --product {question.product}{at}` makes one"
        )


@dataclass(slots=True)
class Qualifying:
    """The judgement before a change: what fails the golden set is refused, what passes says so in its slot.

    Without a `judge` only reports count that were made before. `judged_anew` says whether any model was judged since
    it was last set to False: that takes time, in which the topic may have gone on.
    """

    gate: GoldenGate
    stamp: Stamp
    force: bool = False
    judge: Judge | None = None
    judged_anew: bool = False
    notes: dict[str, None] = field(default_factory=dict)
    _known: dict[Question, tuple[QualificationRef | None, str | None]] = field(default_factory=dict)

    def passed(self, event: ModelSlots, slot: Slot) -> ModelSlots:
        """Return a change with what came of it, `slot` being what is to score. Raises ModelsError, VisionError,
        GoldenError, QualificationError.
        """
        product, name = event.product, f"{slot.artifact.name} {slot.artifact.version}"
        question = self.gate.question(product, slot.artifact.digest, slot.threshold, self.gate.golden(product))
        if question not in self._known:
            self._known[question] = self._asked(question, slot)
        ref, refused = self._known[question]
        if refused is not None:
            demanded = self.gate.settings.demands(product)
            event = changes.overridden(event, name, refused, self.stamp, force=self.force, demanded=demanded)
            self.notes[f"{name} scores {product} against its golden set: {refused}"] = None
        if event.active is None:
            return event
        return event.model_copy(update={"active": event.active.model_copy(update={"qualification": ref})})

    def _asked(self, question: Question, slot: Slot) -> tuple[QualificationRef | None, str | None]:
        reports = self.gate.reports(question.artifact)
        known = self.gate.passing(question, reports)
        if known is not None:
            return known, None
        if (failing := self.gate.failing(question, reports)) is not None:
            return failing
        if self.judge is None:
            return None, self.gate.refusal(question, reports)
        self.judged_anew = True
        judged = self.judge(question.product, slot)
        if judged.report.question != question:
            raise QualificationError(
                f"the golden set of {question.product}, its rules or its model changed while it was judged: try again"
            )
        refused = judged.report.refusal(self.gate.settings.good_rejected)
        name, count = f"{slot.artifact.name} {slot.artifact.version}", len(judged.report.parts)
        if refused is None:
            self.notes[f"{name} passes the golden set of {question.product} ({count} parts): {judged.page}"] = None
        else:
            refused = f"{refused}; its report: {judged.page}"
        return judged.ref.model_copy(update={"passed": refused is None}), refused
