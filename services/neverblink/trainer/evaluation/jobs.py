"""The jobs that judge models: settings in, progress, result out. They print nothing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neverblink.decisions.rules import DEFAULT_RULES, ProductRules, rules_of
from neverblink.job_life.progress import Progress
from neverblink.plant import PlantError, load_plant
from neverblink.reports import pages
from neverblink.trainer.datasets.defect_images import with_defects
from neverblink.trainer.datasets.found_parts import unfound_note, with_parts
from neverblink.trainer.datasets.images import LabelledImage, both_kinds, file_digest, image_folder
from neverblink.trainer.datasets.labelled_image import good_beside
from neverblink.trainer.datasets.usable_pictures import left_out_note, usable_labelled
from neverblink.trainer.evaluation import report
from neverblink.trainer.evaluation.compare import RESULTS, compare, read_configurations
from neverblink.trainer.evaluation.defect_figures import DefectEvaluation
from neverblink.trainer.evaluation.evaluate import evaluate
from neverblink.trainer.evaluation.figures import Evaluation
from neverblink.trainer.evaluation.known_defects import KnownDefects, seen_images
from neverblink.trainer.evaluation.results import CompareResult, EvaluateResult
from neverblink.trainer.evaluation.settings import CompareJob, EvaluateJob
from neverblink.trainer.fitting.likeness_of_pictures import likeness_of
from neverblink.trainer.promises.advice import Advice, Places, Ranking, advise
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.inspector import aligner_of
from neverblink.vision.likeness import Likeness
from neverblink.vision.plain_name import product_of


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A model's figures on labelled images, what they mean, `defects` where it knows defects, `notes`, the report.

    `likeness` compares the good parts with those of the calibration; None where the model was fitted to them.
    """

    evaluation: Evaluation
    advice: Advice
    defects: DefectEvaluation | None
    notes: tuple[str, ...]
    report: pages.Written | None
    likeness: Likeness | None = None

    def figures(self) -> dict[str, Any]:
        """Return all figures as plain values, for JSON."""
        more = {} if self.defects is None else {"known_defects": self.defects.as_dict()}
        alike = {} if self.likeness is None else {"likeness": asdict(self.likeness) | {"alike": self.likeness.alike}}
        return self.evaluation.as_dict() | {"doubts": list(self.advice.doubts)} | alike | more

    def result(self, artifact: Path) -> EvaluateResult:
        """Return what a program is told of the artifact in that folder."""
        found = self.evaluation
        return EvaluateResult(
            artifact=artifact,
            name=found.manifest.name,
            version=found.manifest.version,
            digest=found.digest,
            good=found.good,
            defective=found.defective,
            image_auroc=found.image_auroc,
            au_pro=found.pixels.au_pro,
            false_rejects=found.false_rejects,
            missed=found.missed,
            threshold=found.threshold,
            report=None if self.report is None else self.report.html,
            figures=self.figures(),
            notes=self.notes,
            like_calibration=None if self.likeness is None else self.likeness.alike,
            doubts=self.advice.doubts,
            next=self.advice.commands,
        )


def run_evaluate(job: EvaluateJob, progress: Progress = lambda *_: None) -> Evaluated:
    """Evaluate a model on the test part of an MVTec layout, and write a report where one is asked for.

    All is decided by the rules of the artifact's product in the plant file, where one is named. Images that the model
    was made with are left out: figures on them would flatter. Raises VisionError, PlantError.
    """
    listed = image_folder(job.images, labelled=True)
    labelled = both_kinds(listed, job.images)
    if job.report is not None:
        # A report that cannot be written is told before the images are scored, not after.
        pages.check_place(job.report)
    model = load_artifact(job.artifact)
    rules, own_weights = DEFAULT_RULES, None
    if job.plant is not None:
        rules, own_weights = _product(job.plant, job.artifact, model.product, job.station)
    rules = rules if job.depth is None else replace(rules, depth=job.depth)
    depth = rules.depth or model.manifest.depth
    found, unusable = usable_labelled(labelled, skip_unusable=job.skip_unusable, depth=depth, progress=progress)
    found, notes, fitted_to_all = _fresh(found, model)
    total = len(found)
    found, lost = with_parts(found, lambda one: one.path, aligner_of(model), depth=depth, progress=progress)
    notes = [*listed.left_out, *left_out_note(unusable), *notes, *unfound_note(lost, total)]
    known, taught = None, frozenset[Path]()
    if model.knows_defects:
        usable = {image.path for image in found}
        known = KnownDefects([one for one in with_defects(labelled, job.images) if one.path in usable], model, rules)
        taught, more = _taught(found, model)
        notes += more
    result = evaluate(
        found,
        job.artifact,
        job.weights or own_weights,
        progress,
        device=job.device,
        engine=job.engine,
        rules=rules if model.knows_defects else replace(DEFAULT_RULES, depth=rules.depth),
        taught=taught,
        witness=(lambda *_: None) if known is None else known.add,
    )
    defects = None if known is None else known.evaluation()
    if known is None and job.plant is not None:
        notes.append(f"{job.artifact} has neither U-Net nor classifier: {_without_parts(rules)}")
    alike = (
        None
        if fitted_to_all
        else likeness_of(model, {one.path: one.score for one in result.scored if one.defect is None}, job.images)
    )
    told = tuple(notes)
    if alike is not None and (warning := alike.warning()) is not None:
        notes.append(warning)
    advice = _advice(result, job)
    written = None
    if job.report is not None:
        subject = job.images.resolve().name
        written = report.write_report(
            result, job.report, subject=subject, defects=defects, advice=advice, likeness=alike, notes=told
        )
    return Evaluated(result, advice, defects, tuple(notes), written, alike)


def _advice(found: Evaluation, job: EvaluateJob) -> Advice:
    manifest = found.manifest
    places = Places(job.artifact, job.images, manifest.product, manifest.backbone.preprocess.side)
    ranking = Ranking(found.image_auroc, found.auroc_interval, found.good, found.defective)
    return advise(found.promises, ranking, places, hybrid=found.hybrid)


def _fresh(images: Sequence[LabelledImage], model: Artifact) -> tuple[list[LabelledImage], list[str], bool]:
    """Leave out good parts that the model was fitted to, and say so: it would reject too few of them.

    Where it was fitted to all of them they stay, and that is said; true: so it was.
    """
    new = {image.path for image in good_beside(images, set(model.manifest.provenance.images))}
    good = sum(image.defect is None for image in images)
    if len(new) == good:
        return list(images), [], False
    if not new:
        return (
            list(images),
            [f"the model was fitted to all {good} good images: on fresh ones it rejects more than it does here"],
            True,
        )
    note = f"{good - len(new)} of {good} good images were left out, the model was fitted to them"
    return [image for image in images if image.defect is not None or image.path in new], [note], False


def _taught(images: Sequence[LabelledImage], model: Artifact) -> tuple[frozenset[Path], list[str]]:
    """Return the images that U-Net or classifier were trained with, and say so; good ones count where all are."""
    seen = seen_images(model)
    taught = {image.path for image in images if file_digest(image.path) in seen}
    good = {image.path for image in images if image.defect is None}
    notes: list[str] = []
    if good <= taught:
        taught -= good
        notes.append(f"U-Net and classifier were trained with all {len(good)} good images: fresh ones may be rejected")
    if taught:
        notes.append(
            f"decisions and known defects: {len(taught)} images were left out, the model was trained with them"
        )
    return frozenset(taught), notes


def _without_parts(rules: ProductRules) -> str:
    """Return how a model is judged that neither U-Net nor classifier belong to."""
    said = "it is judged by its threshold, whatever the rules"
    if rules.policy.reject_on == "defects":
        said += "; by these rules (reject_on: defects) a scorer rejects nothing of its own: such parts are unsure"
    return said


def _product(plant: Path, artifact: Path, name: str, station: str | None) -> tuple[ProductRules, Path | None]:
    """Return the rules of the artifact's product, and the weights file that its plant file names."""
    description = load_plant(plant)
    try:
        weights = description.product(name).weights
    except PlantError as error:
        raise PlantError(f"{artifact} is a model of product {name}, and {plant} does not fit: {error}") from error
    return rules_of(description, name, station), weights


def run_compare(job: CompareJob, progress: Progress = lambda *_: None) -> CompareResult:
    """Fit and judge several configurations; a stage is named after its configuration. Raises VisionError."""
    chosen = read_configurations(job.config, job.product or product_of(job.images))

    def titled(label: str) -> Progress:
        return lambda stage, done, total: progress(f"{label}: {stage}", done, total)

    rows = compare(job.images, chosen, job.folder, titled)
    return CompareResult(configurations=tuple(rows), figures_file=job.folder / RESULTS)
