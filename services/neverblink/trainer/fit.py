"""From pictures of good parts to a calibrated artifact."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import timm
import torch
from torch import Tensor

from neverblink import __version__
from neverblink.trainer.dataset import DatasetError
from neverblink.vision.artifact import Artifact, Description, Provenance, save_artifact
from neverblink.vision.backbone_spec import DEFAULT_MODEL
from neverblink.vision.backbones import load_backbone
from neverblink.vision.calibration import calibrate
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.decode import read_image
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, how much is done, and of how much."""

_BATCH = 8


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a model is made with; the defaults are what `neverblink fit` uses."""

    product: str
    name: str
    version: str = "1"
    model: str = DEFAULT_MODEL
    weights: Path | None = None
    size: int = 256
    crop: int | None = None
    ratio: float = 0.01
    projection: int = 128
    false_reject: float | None = None
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Fitted:
    """The artifact, and how many images are behind it."""

    artifact: Artifact
    images: int


def fit(images: Sequence[Path], folder: Path, settings: FitSettings, progress: Progress = lambda *_: None) -> Fitted:
    """Fit a PatchCore model to images of good parts and write it to `folder`.

    Every image is in the memory bank and also calibrates the threshold: it is scored against the bank without
    its own vectors. What it alone represented is then missing, so its score is, if anything, too high, and
    the threshold keeps its promise. Raises VisionError in a sentence.
    """
    backbone = load_backbone(
        settings.model,
        weights=settings.weights,
        preprocess=Preprocess(resize=settings.size, crop=settings.crop),
    )
    extractor = FeatureExtractor(backbone, device=settings.device)
    features, digests = _features(images, extractor, progress)
    count, height, width, channels = features.shape
    patches = features.view(-1, channels)
    chosen = greedy_k_center(
        project(patches, settings.projection, seed=settings.seed),
        max(1, round(settings.ratio * len(patches))),
        seed=settings.seed,
        progress=lambda done, total: progress("choosing the memory bank", done, total),
    )
    bank = patches[chosen].clone()
    owner = chosen // (height * width)
    scores, peaks = _leave_one_out(features, bank, owner, backbone.spec.preprocess, progress)
    calibration = calibrate(
        scores, peaks, false_reject="auto" if settings.false_reject is None else settings.false_reject
    )
    description = Description(
        name=settings.name,
        version=settings.version,
        product=settings.product,
        created=datetime.now(UTC),
        backbone=backbone.spec,
        grid=(height, width),
        dimension=channels,
        vectors=len(bank),
        calibration=calibration,
        provenance=Provenance(
            images=digests,
            coreset_ratio=settings.ratio,
            projection=settings.projection,
            seed=settings.seed,
            folds=count,
            software={"neverblink": __version__, "torch": torch.__version__, "timm": timm.__version__},
        ),
    )
    artifact = save_artifact(folder, description, bank=bank.numpy(), scores=scores, peaks=peaks, overwrite=True)
    return Fitted(artifact, count)


def _features(
    images: Sequence[Path], extractor: FeatureExtractor, progress: Progress
) -> tuple[Tensor, tuple[str, ...]]:
    """Return (N, h, w, C) float32 features of all images, and the digest of each file."""
    if len(images) < 2:
        raise DatasetError(f"{len(images)} image is not enough to know what is normal; give dozens, better hundreds")
    features = torch.empty((len(images), *extractor.grid, extractor.dimension), dtype=torch.float32)
    digests: list[str] = []
    for start in range(0, len(images), _BATCH):
        paths = images[start : start + _BATCH]
        features[start : start + len(paths)] = extractor.extract([read_image(path) for path in paths]).cpu()
        digests += ["sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        progress("extracting features", start + len(paths), len(images))
    return features, tuple(digests)


def _leave_one_out(
    features: Tensor, bank: Tensor, owner: Tensor, preprocess: Preprocess, progress: Progress
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return each image's score and highest map value against the bank without the image's own vectors."""
    scores = np.empty(len(features), dtype=np.float32)
    peaks = np.empty(len(features), dtype=np.float32)
    for index in range(len(features)):
        (anomaly,) = PatchCore(bank[owner != index], preprocess=preprocess).score(features[index : index + 1])
        scores[index], peaks[index] = anomaly.score, anomaly.anomaly_map.max()
        progress("calibrating", index + 1, len(features))
    return scores, peaks
