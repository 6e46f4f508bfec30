"""The jobs that make a model: settings in, progress, result out. They print nothing."""

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.exclusion import without_excluded
from neverblink.trainer.datasets.images import good_images, image_folder, labelled_images
from neverblink.trainer.datasets.usable_pictures import usable_pictures
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.places import check_place, check_writable
from neverblink.trainer.fitting.recalibrate import Cost, Wish, recalibrate
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
from neverblink.vision.artifact import read_manifest
from neverblink.vision.network_names import OWN_BANK


def run_fit(job: FitJob, progress: Progress = lambda *_: None) -> FitResult:
    """Fit a model to images of good parts.

    A bf16 or int8 model is tried on the labelled images too, where an MVTec layout has them. What lies where the
    artifact goes is looked at first. Raises VisionError.
    """
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
    )
    notes = [*found.left_out, *fitted.notes]
    if excluded:
        notes.insert(len(found.left_out), f"{len(excluded)} pictures were left out by --exclude")
    sheet = write_suspects(fitted, job.folder, job.depth)
    if sheet is not None:
        notes.append(f"the pictures that stand out, beside where they differ: {sheet}")
    return FitResult.of(
        fitted.artifact,
        job.folder,
        images=fitted.images,
        notes=notes,
        suspicious=[
            SuspiciousPicture(path=one.path, score=one.score, threshold_without=one.threshold_without, left_out=out)
            for some, out in ((fitted.left_out, True), (fitted.suspects, False))
            for one in some
        ],
        suspicious_page=sheet,
    )


def run_calibrate(job: CalibrateJob, progress: Progress = lambda *_: None) -> CalibrateResult:
    """Choose another threshold for a model, and tell what that changes for labelled images. Raises VisionError."""
    cost = None if job.cost is None else Cost.parse(job.cost)
    wish = Wish(false_reject=job.false_reject, cost=cost, threshold=job.threshold, unsure=job.unsure)
    check_writable(job.out)
    images = () if job.images is None else labelled_images(job.images)
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
        notes=() if warning is None else (warning,),
    )


def run_update(job: UpdateJob, progress: Progress = lambda *_: None) -> UpdateResult:
    """Teach a model more good parts. Raises VisionError."""
    check_writable(job.out)
    depth = read_manifest(job.artifact)[0].depth
    usable = usable_pictures(good_images(job.images), skip_unusable=job.skip_unusable, depth=depth, progress=progress)
    done = update(
        job.artifact,
        job.out,
        usable.paths,
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
        notes=usable.notes(),
    )
