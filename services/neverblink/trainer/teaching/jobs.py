"""The jobs that teach known defects: settings in, progress, result out. They print nothing."""

from collections.abc import Callable

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import good_images
from neverblink.trainer.datasets.usable_pictures import left_out_note, usable_pictures
from neverblink.trainer.teaching.results import (
    LearntClass,
    NamedType,
    SynthesizeResult,
    TrainClassifierResult,
    TrainUnetResult,
)
from neverblink.trainer.teaching.settings import SynthesizeJob, TrainClassifierJob, TrainUnetJob
from neverblink.trainer.teaching.synthesize import SynthesizeSettings, kinds_named, read_policy, synthesize
from neverblink.trainer.teaching.teaching import teach_classifier, teach_unet
from neverblink.trainer.teaching.train_classifier import ClassifierSettings
from neverblink.trainer.teaching.unet_checkpoint import Epoch
from neverblink.trainer.teaching.unet_settings import TrainSettings
from neverblink.vision.region import read_mask
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.synthesis import KINDS, Policy


def run_synthesize(job: SynthesizeJob, progress: Progress = lambda *_: None) -> SynthesizeResult:
    """Draw synthetic defects on pictures of good parts. Raises VisionError."""
    region = job.region
    settings = SynthesizeSettings(
        kinds=KINDS if job.kinds is None else kinds_named(job.kinds),
        per_kind=job.per_kind,
        seed=job.seed,
        region=region if region is None or isinstance(region, RegionOfInterest) else read_mask(region),
        scale=job.scale,
        light=job.light,
        policy=Policy() if job.policy is None else read_policy(job.policy),
        foreign=() if job.foreign is None else good_images(job.foreign),
        depth=job.depth,
    )
    usable = usable_pictures(
        good_images(job.images), skip_unusable=job.skip_unusable, depth=job.depth, progress=progress
    )
    written = synthesize(usable.paths, job.out, settings, progress)
    return SynthesizeResult(
        folder=job.out,
        defective=written.defective,
        good=written.good,
        sheet=written.sheet,
        notes=left_out_note(usable.left_out),
    )


def run_train_unet(
    job: TrainUnetJob,
    progress: Progress = lambda *_: None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> TrainUnetResult:
    """Train a U-Net that joins a model; `on_epoch` is told how each epoch went. Raises VisionError."""
    taught = teach_unet(
        job.images,
        job.artifact,
        job.out,
        TrainSettings.of(job),
        resize=job.resize,
        leave=job.leave,
        skip_unusable=job.skip_unusable,
        version=job.model_version,
        progress=progress,
        checkpoint=job.checkpoint,
        resume=job.resume,
        on_epoch=on_epoch,
    )
    trained = taught.trained
    division, held_out = trained.division, trained.held_out
    return TrainUnetResult.of(
        taught.artifact,
        job.out,
        epochs=len(trained.history),
        best_epoch=trained.best_epoch,
        classes=[LearntClass.model_validate(found, from_attributes=True) for found in held_out.classes],
        learnt_defective=len(division.defective),
        learnt_good=len(division.good),
        left=taught.lessons.left,
        notes=taught.lessons.notes,
        held_out_good=held_out.held_out_good,
        false_alarms=held_out.false_alarms,
        false_alarm_bound=held_out.false_alarm_bound,
        not_validated=division.not_validated,
        without_mask=division.without_mask,
        empty_masks=division.empty_masks,
    )


def run_train_classifier(job: TrainClassifierJob, progress: Progress = lambda *_: None) -> TrainClassifierResult:
    """Train a classifier that joins a model. Raises VisionError."""
    settings = ClassifierSettings(unknown_rate=job.unknown_rate, min_confidence=job.min_confidence, seed=job.seed)
    taught = teach_classifier(
        job.images,
        job.artifact,
        job.out,
        settings,
        weights=job.weights,
        leave=job.leave,
        skip_unusable=job.skip_unusable,
        drawn_only=job.drawn_only,
        version=job.model_version,
        progress=progress,
    )
    trained = taught.trained
    spec = trained.classifier.spec
    drawn = int((trained.regions.source == "drawn").sum())
    unknown = trained.confusion[:, -1] / trained.confusion.sum(axis=1).clip(min=1)
    return TrainClassifierResult.of(
        taught.artifact,
        job.out,
        types=[
            NamedType(**found.model_dump(), called_unknown=float(share))
            for found, share in zip(spec.figures, unknown, strict=True)
        ],
        statement=spec.statement(),
        drawn=drawn,
        flagged=len(trained.regions.source) - drawn,
        left=taught.lessons.left,
        notes=taught.lessons.notes,
        left_out=trained.left_out,
    )
