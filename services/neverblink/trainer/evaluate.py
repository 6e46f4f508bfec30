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
    maps: list[npt.NDArray[np.float32]] = []
    truths: list[npt.NDArray[np.bool_]] = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        for image, anomaly in zip(
            batch, model.score(extractor.extract([read_image(image.path) for image in batch])), strict=True
        ):
            scores.append(anomaly.score)
            truth = _truth(image)
            if truth is not None:
                maps.append(cv2.resize(anomaly.anomaly_map, (_PIXEL_SIDE, _PIXEL_SIDE)).astype(np.float16))
                truths.append(truth)
        progress("scoring", min(start + _BATCH, len(images)), len(images))
    defective = np.array([image.defect is not None for image in images])
    rejected = np.array(scores) > artifact.threshold
    by_type = {
        name: float(rejected[[i for i, image in enumerate(images) if image.defect == name]].mean())
        for name in sorted({image.defect for image in images if image.defect})
    }
    with_defect = any(truth.any() for truth in truths)
    return Evaluation(
        images=len(images),
        image_auroc=float(roc_auc_score(defective, scores)),
        average_precision=float(average_precision_score(defective, scores)),
        pixel_auroc=float(roc_auc_score(np.stack(truths).ravel(), np.stack(maps).ravel())) if with_defect else None,
        threshold=artifact.threshold,
        false_rejects=int((rejected & ~defective).sum()),
        good=int((~defective).sum()),
        missed=int((~rejected & defective).sum()),
        defective=int(defective.sum()),
        recall=by_type,
    )


def _truth(image: LabelledImage) -> npt.NDArray[np.bool_] | None:
    if image.defect is None:
        return np.zeros((_PIXEL_SIDE, _PIXEL_SIDE), dtype=np.bool_)
    if image.mask is None:
        return None
    mask = read_image(image.mask)[..., 0]
    small = cv2.resize(mask, (_PIXEL_SIDE, _PIXEL_SIDE), interpolation=cv2.INTER_AREA) >= 128
    return np.asarray(small, dtype=np.bool_) if small.any() else None
