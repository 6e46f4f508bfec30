"""A model anew, as another one was made: same network, preprocessing, region and promise, other good parts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from neverblink.confidence.intervals import upper_bound
from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import LabelledImage
from neverblink.trainer.datasets.usable_pictures import Usable
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.artifact import Artifact, joined, load_artifact, recalibrated
from neverblink.vision.calibration import calibrate, tightest_promise
from neverblink.vision.inspector import aligner_of, regions_of
from neverblink.vision.network_names import OWN_BANK


def settings_like(
    champion: Artifact, normals: int, *, version: str, weights: Path | None = None, device: str = "cpu"
) -> FitSettings:
    """Return the settings that a model was fitted with, for `normals` images, copies counted once.

    Its promised false-reject rate is kept, or the tightest that so many images can promise. The region is not among
    the settings: an artifact knows it by patches, which `fit` takes too.
    """
    manifest, made = champion.manifest, champion.manifest.provenance
    preprocess = champion.backbone.preprocess
    checked = next((name for name in OWN_BANK if name == manifest.engine), None)
    settings = FitSettings(
        product=champion.product,
        name=champion.name,
        version=version,
        model=champion.backbone.model,
        weights=weights,
        levels=champion.backbone.levels,
        dimension=champion.backbone.dimension,
        size=preprocess.resize,
        crop=preprocess.crop,
        keep_aspect=preprocess.aspect is not None,
        white_balance=preprocess.white_balance,
        clahe=preprocess.clahe,
        depth=preprocess.depth,
        tiling=manifest.tiling,
        brightness=made.brightness or (1.0,),
        # Other numbers of images have other usual shares: a quarter of thirty images' is no share for thousands.
        ratio=None if made.usual_ratio else made.coreset_ratio,
        projection=made.projection,
        neighbours=manifest.neighbours,
        top=manifest.top,
        folds=made.folds,
        seed=made.seed,
        starts=made.starts,
        device=device,
        engine=checked or "auto",
    )
    # A copy is not checked: a promise from a few images is worse than what a person may ask for.
    return settings.model_copy(
        update={"false_reject": max(manifest.calibration.false_reject, tightest_promise(normals))}
    )


def refit(
    champion: Artifact,
    images: Sequence[Path] | Usable,
    out: Path,
    settings: FitSettings,
    progress: Progress = lambda *_: None,
    *,
    labelled: Sequence[LabelledImage] = (),
) -> Artifact:
    """Fit to `images` as the champion was, and give the new model its U-Net, its classifier and its unsure band.

    U-Net and classifier see pixels and features that the network alone determines, so they stay as they are.
    Raises VisionError.
    """
    fitted = fit(
        images, out, settings, progress, judged=champion.region, labelled=labelled, aligner=aligner_of(champion),
        regions=regions_of(champion),
    ).artifact  # fmt: skip
    manifest = champion.manifest
    unsure = _unsure_share(champion)
    if unsure is not None:
        rate = fitted.manifest.calibration.false_reject
        band = calibrate(fitted.scores, fitted.peaks, false_reject=rate, unsure=max(unsure, 1.01 * rate))
        fitted = recalibrated(out, band, out=out, overwrite=True)
    if champion.knows_defects:
        fitted = joined(
            fitted,
            out,
            unet=None if manifest.unet is None else (manifest.unet, champion.parts["unet"]),
            classifier=None if manifest.classifier is None else (manifest.classifier, champion.parts["classifier"]),
            version=settings.version,
            created=datetime.now(UTC),
            overwrite=True,
        )
    return load_artifact(out, digest=fitted.digest)


def _unsure_share(champion: Artifact) -> float | None:
    """Return the share of good parts that a model's unsure band was opened for, by its promise; None without one."""
    calibration = champion.manifest.calibration
    if calibration.unsure_from is None:
        return None
    rank = max(1, int((champion.scores <= calibration.unsure_from).sum()))
    return upper_bound(calibration.normals - rank, calibration.normals, calibration.confidence)
