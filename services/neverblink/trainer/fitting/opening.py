"""The network of a fit, and what finds its parts: what an aspect is of depends on how they are turned."""

from collections.abc import Sequence
from pathlib import Path

from neverblink.job_life.progress import Progress
from neverblink.trainer.fitting.aligning import Aligning, aligning
from neverblink.trainer.fitting.picture_set import PictureSet
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.views import preprocess_of
from neverblink.vision.alignment.aligner import Aligner
from neverblink.vision.backbones import Backbone, load_backbone
from neverblink.vision.network_names import OWN_BANK
from neverblink.vision.patchcore import FeatureExtractor


def network_of(
    paths: Sequence[Path], settings: FitSettings, aligner: Aligner | None
) -> tuple[Backbone, FeatureExtractor]:
    """Open the network for pictures whose parts are found by `aligner`. Raises VisionError.

    An engine with a bank of its own is tried against what this one finds.
    """
    backbone = load_backbone(
        settings.model,
        weights=settings.weights,
        levels=settings.levels,
        dimension=settings.dimension,
        preprocess=preprocess_of(paths, settings, aligner),
    )
    engine = "auto" if settings.engine in OWN_BANK else settings.engine
    return backbone, FeatureExtractor(backbone, device=settings.device, engine=engine)


def aligned_network(
    given: PictureSet, settings: FitSettings, progress: Progress, known: Aligner | None = None
) -> tuple[Backbone, FeatureExtractor, Aligning]:
    """Open the network, and learn how parts are found unless that is `known`. Raises VisionError."""
    backbone, extractor = network_of(given.usable.paths, settings, known)
    aligned = aligning(given, settings, extractor, progress, known=known)
    if settings.keep_aspect and aligned.aligner is not known:
        backbone, extractor = network_of(given.usable.paths, settings, aligned.aligner)
    return backbone, extractor, aligned
