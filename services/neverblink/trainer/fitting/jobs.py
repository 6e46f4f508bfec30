"""The jobs that make a model: settings in, progress, result out. They print nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neverblink.job_life.progress import Progress
from neverblink.reports import pages
from neverblink.reports.pages import Written
from neverblink.trainer.datasets.exclusion import without_excluded
from neverblink.trainer.datasets.found_parts import unfound_note, with_parts
from neverblink.trainer.datasets.images import DatasetError, good_images, image_folder, labelled_images
from neverblink.trainer.datasets.labelled_image import LabelledImage
from neverblink.trainer.datasets.usable_pictures import usable_pictures
from neverblink.trainer.fitting.first_trial import FirstTrial, try_out
from neverblink.trainer.fitting.fit import Fitted, fit
from neverblink.trainer.fitting.gallery import Gallery
from neverblink.trainer.fitting.placed_parts import ShownPart, shown_parts
from neverblink.trainer.fitting.places import check_place, check_writable
from neverblink.trainer.fitting.recalibrate import Cost, Wish, recalibrate
from neverblink.trainer.fitting.report import write_fit_report
from neverblink.trainer.fitting.results import (
    CalibrateResult,
    ChangedImages,
    FitResult,
    SuspiciousPicture,
    Threshold,
    UpdateResult,
)
from neverblink.trainer.fitting.settings import CalibrateJob, FitJob, UpdateJob
from neverblink.trainer.fitting.suspects_page import write_suspects
from neverblink.trainer.fitting.update import update
from neverblink.trainer.promises.advice import NO_ADVICE, Advice, Places, advise
from neverblink.vision.alignment.kept import kept_aligner
from neverblink.vision.artifact import load_artifact
from neverblink.vision.inspector import aligner_of
from neverblink.vision.network_names import OWN_BANK


@dataclass(frozen=True, slots=True)
class FirstFit:
    """What a program is told of a fit, and what a person sees: what the promise costs, and what to do next."""

    result: FitResult
    trial: FirstTrial | None = None
    advice: Advice = NO_ADVICE
    report: Written | None = None


def run_fit(job: FitJob, progress: Progress = lambda *_: None) -> FitResult:
    """Fit a model to images of good parts.

    A bf16 or int8 model is tried on the labelled images too, where an MVTec layout has them. What lies where the
    artifact goes is looked at first. Raises VisionError.
    """
    return _fitted(job, progress)[0]


def run_fit_and_trial(job: FitJob, progress: Progress = lambda *_: None) -> FirstFit:
    """Fit as `run_fit` does, then try the model on defects: real ones of the data set, else synthetic ones.

    Raises VisionError; what defects are like never keeps a model from being written.
    """
    if job.report is not None:
        pages.check_place(job.report)
    result, fitted, good = _fitted(job, progress)
    trial = _tried(job, fitted, good, progress)
    if trial is None:
        said = "no defect could be drawn on these pictures: `neverblink evaluate` judges the model by real ones"
        return FirstFit(result.model_copy(update={"notes": (*result.notes, said)}))
    manifest = fitted.artifact.manifest
    parts = _parts(job, fitted, good)
    places = Places(job.folder, job.images, manifest.product, manifest.backbone.preprocess.side)
    advice = advise(trial.costs, trial.ranking, places)
    notes = (*result.notes, *trial.notes)
    written = None
    if job.report is not None:
        written = write_fit_report(fitted.artifact, trial, advice, job.report, notes=notes, parts=parts)
    more: dict[str, object] = {
        "notes": notes,
        "promises": trial.costs.as_dict(),
        "doubts": advice.doubts,
        "next": advice.commands,
        "report": None if written is None else written.html,
    }
    if job.gallery is not None:
        gallery = Gallery(job.gallery, fitted.artifact, job.depth)
        more |= {"least": gallery.least(trial.lowest), "parts": gallery.parts(parts)}
    return FirstFit(result.model_copy(update=more), trial, advice, written)


def _parts(job: FitJob, fitted: Fitted, good: Sequence[Path]) -> tuple[ShownPart, ...]:
    """Return pictures of what was aligned, and of what was not found, where somebody looks at them."""
    if job.report is None and job.gallery is None:
        return ()
    return shown_parts(aligner_of(fitted.artifact), good, fitted.unfound, job.depth)


def _tried(job: FitJob, fitted: Fitted, good: Sequence[Path], progress: Progress) -> FirstTrial | None:
    assert fitted.extractor is not None
    try:
        labelled = image_folder(job.images, labelled=True).labelled
    except DatasetError:
        # A folder of good parts alone, or labels that cannot be read: defects are drawn.
        labelled = ()
    return try_out(fitted.artifact, fitted.extractor, job.of_the_model, good, labelled, progress)


def _fitted(job: FitJob, progress: Progress) -> tuple[FitResult, Fitted, list[Path]]:
    """Fit, and return what a program is told, what was made, and the pictures that it was made from."""
    check_place(job.folder, job.product, replace=job.replace)
    found = image_folder(job.images, labelled=False, deep=job.group_by is not None)
    root = job.images if job.images.is_dir() else job.images.parent
    good, excluded = without_excluded(found.good, root, job.exclude)
    tried = job.engine in OWN_BANK and (job.images / "test").is_dir()
    labelled = labelled_images(job.images) if tried else ()
    fitted = fit(
        good,
        job.folder,
        job.of_the_model,
        progress,
        labelled=labelled,
        skip_unusable=job.skip_unusable,
        root=root,
        excluded=excluded,
        aligner=None if job.alignment is None else kept_aligner(job.alignment),
    )
    notes = [*found.left_out, *fitted.notes]
    if excluded:
        notes.insert(len(found.left_out), f"{len(excluded)} pictures were left out by --exclude")
    sheet = write_suspects(fitted, job.folder, job.depth)
    if sheet is not None:
        notes.append(f"the pictures that stand out, beside where they differ: {sheet}")
    result = FitResult.of(
        fitted.artifact,
        job.folder,
        images=fitted.images,
        notes=notes,
        suspicious=_suspicious(job, fitted),
        suspicious_page=sheet,
    )
    bad = {one.path for one in fitted.left_out}
    return result, fitted, [path for path in good if path not in bad]


def _suspicious(job: FitJob, fitted: Fitted) -> list[SuspiciousPicture]:
    """Return what is told of pictures that stand out; with a gallery they are shown in it."""
    both = (*fitted.left_out, *fitted.suspects)
    shown = {} if job.gallery is None else Gallery(job.gallery, fitted.artifact, job.depth).suspects(both)
    found = []
    for place, one in enumerate(both):
        picture, hot = shown.get(one.path, (None, None))
        found.append(
            SuspiciousPicture(
                path=one.path,
                score=one.score,
                threshold_without=one.threshold_without,
                left_out=place < len(fitted.left_out),
                picture=picture,
                heat=hot,
            )
        )
    return found


def run_calibrate(job: CalibrateJob, progress: Progress = lambda *_: None) -> CalibrateResult:
    """Choose another threshold for a model, and tell what that changes for labelled images. Raises VisionError."""
    cost = None if job.cost is None else Cost.parse(job.cost)
    wish = Wish(false_reject=job.false_reject, cost=cost, threshold=job.threshold, unsure=job.unsure)
    check_writable(job.out)
    images: Sequence[LabelledImage] = () if job.images is None else labelled_images(job.images)
    notes: list[str] = []
    if images:
        model = load_artifact(job.artifact)
        found, lost = with_parts(
            images, lambda one: one.path, aligner_of(model), depth=model.manifest.depth, progress=progress
        )
        notes, images = unfound_note(lost, len(images)), found
    done = recalibrate(
        job.artifact, job.out, wish, images=images, place=job.images, weights=job.weights, progress=progress
    )
    warning = None if done.likeness is None else done.likeness.warning()
    return CalibrateResult.of(
        done.artifact,
        job.out,
        before=Threshold.of(done.before),
        after=Threshold.of(done.after),
        labelled=None if done.labelled is None else ChangedImages.model_validate(done.labelled, from_attributes=True),
        notes=tuple(notes) if warning is None else (*notes, warning),
    )


def run_update(job: UpdateJob, progress: Progress = lambda *_: None) -> UpdateResult:
    """Teach a model more good parts. Raises VisionError."""
    check_writable(job.out)
    model = load_artifact(job.artifact)
    depth = model.manifest.depth
    usable = usable_pictures(good_images(job.images), skip_unusable=job.skip_unusable, depth=depth, progress=progress)
    paths, lost = with_parts(usable.paths, lambda path: path, aligner_of(model), depth=depth, progress=progress)
    done = update(
        job.artifact,
        job.out,
        paths,
        version=job.model_version,
        share=job.share,
        weights=job.weights,
        progress=progress,
    )
    before, after = done.rejected
    return UpdateResult.of(
        done.artifact,
        job.out,
        images=done.images,
        skipped=done.skipped,
        added=done.added,
        rejected_before=before,
        rejected_after=after,
        notes=(*usable.notes(), *unfound_note(lost, len(usable.paths))),
    )
