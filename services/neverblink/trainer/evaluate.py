"""How well a model tells good parts from defects, on images it has not seen."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from neverblink.trainer.dataset import LabelledImage
from neverblink.trainer.fit import Progress
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import read_image
from neverblink.vision.patchcore import FeatureExtractor, PatchCore

_BATCH = 8
_PIXEL_SIDE = 256


@dataclass(slots=True)
class Evaluation:
    """Ranking quality, and what happens at the artifact's threshold. `recall` is per defect type."""

    images: int
    image_auroc: float
    average_precision: float
    pixel_auroc: float | None
    threshold: float
    false_rejects: int
    good: int
    missed: int
    defective: int
    recall: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return asdict(self)


def evaluate(
    images: Sequence[LabelledImage], folder: Path, weights: Path | None = None, progress: Progress = lambda *_: None
) -> Evaluation:
    """Score labelled images with an artifact. Masks without a defect pixel are left out of the pixel figures.

    Pixel AUROC is taken over images with a mask and good ones, at 256 × 256 pixels each.
    """
    artifact = load_artifact(folder)
    extractor = FeatureExtractor.from_spec(artifact.backbone, weights=weights)
    model = PatchCore.from_artifact(artifact)
    scores: list[float] = []
    pixels = _PixelRanking()
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        for image, anomaly in zip(
            batch, model.score(extractor.extract([read_image(image.path) for image in batch])), strict=True
        ):
            scores.append(anomaly.score)
            truth = _truth(image)
            if truth is not None:
                small = cv2.resize(anomaly.anomaly_map, (_PIXEL_SIDE, _PIXEL_SIDE))
                pixels.add(np.asarray(small, dtype=np.float32), truth)
        progress("scoring", min(start + _BATCH, len(images)), len(images))
    defective = np.array([image.defect is not None for image in images])
    rejected = np.array(scores) > artifact.threshold
    by_type = {
        name: float(rejected[[i for i, image in enumerate(images) if image.defect == name]].mean())
        for name in sorted({image.defect for image in images if image.defect})
    }
    return Evaluation(
        images=len(images),
        image_auroc=float(roc_auc_score(defective, scores)),
        average_precision=float(average_precision_score(defective, scores)),
        pixel_auroc=pixels.auroc(),
        threshold=artifact.threshold,
        false_rejects=int((rejected & ~defective).sum()),
        good=int((~defective).sum()),
        missed=int((~rejected & defective).sum()),
        defective=int(defective.sum()),
        recall=by_type,
    )


class _PixelRanking:
    """Pixel AUROC of any number of maps in 1 MB: half-precision bits of positive numbers sort as they do."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, 1 << 16), dtype=np.int64)

    def add(self, anomaly_map: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> None:
        """Count one map's pixels; values are rounded to half precision, 0.05 % apart."""
        codes = np.clip(anomaly_map, 0, 65504).astype(np.float16).view(np.uint16)
        for row, chosen in enumerate((~truth, truth)):
            self._counts[row] += np.bincount(codes[chosen], minlength=1 << 16)

    def auroc(self) -> float | None:
        """Return the share of (defect, good) pixel pairs in the right order, None without defect pixels."""
        good, defect = self._counts.astype(np.float64)
        if not defect.any() or not good.any():
            return None
        below = np.cumsum(good) - good
        return float((defect * (below + good / 2)).sum() / (defect.sum() * good.sum()))


def _truth(image: LabelledImage) -> npt.NDArray[np.bool_] | None:
    if image.defect is None:
        return np.zeros((_PIXEL_SIDE, _PIXEL_SIDE), dtype=np.bool_)
    if image.mask is None:
        return None
    mask = read_image(image.mask)[..., 0]
    small = cv2.resize(mask, (_PIXEL_SIDE, _PIXEL_SIDE), interpolation=cv2.INTER_AREA) >= 128
    return np.asarray(small, dtype=np.bool_) if small.any() else None
