"""Another threshold for a model that stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.labelled_image import LabelledImage, good_beside
from neverblink.trainer.fitting.likeness_of_pictures import likeness_of
from neverblink.vision.artifact import Artifact, load_artifact, recalibrated
from neverblink.vision.calibration import Calibration, calibrate, calibrate_at, threshold_by_cost
from neverblink.vision.decode import read_image
from neverblink.vision.errors import VisionError
from neverblink.vision.inspection import scores_of
from neverblink.vision.inspector import Inspector, extractor_of, inspect
from neverblink.vision.likeness import Likeness

_BATCH = 8


class RecalibrationError(VisionError):
    """A wish for a threshold that cannot be understood or followed."""


class Cost(NamedTuple):
    """What one false reject costs, and one missed defect; only their ratio matters."""

    false_reject: float
    miss: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FALSE_REJECT:MISS`, for example 1:50. Raises RecalibrationError."""
        try:
            false_reject, miss = (float(part) for part in text.split(":"))
        except ValueError:
            false_reject = miss = float("nan")
        if not (0 <= false_reject < float("inf") and 0 <= miss < float("inf") and false_reject + miss > 0):
            raise RecalibrationError(
                f"costs are two numbers, of a false reject and of a missed defect, such as 1:50, not {text!r}"
            )
        return cls(false_reject, miss)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the threshold shall do: one of the first three, or none of them to keep it; and the unsure band."""

    false_reject: float | None = None
    cost: Cost | None = None
    threshold: float | None = None
    unsure: float | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """What two thresholds do to the same labelled images, before and after."""

    good: int
    defective: int
    false_rejects: tuple[int, int]
    missed: tuple[int, int]
    good_changed: int
    defective_changed: int


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The artifact that was written, the calibration it replaces, and what that means for labelled images.

    `likeness` compares the good ones that the model was not fitted to with those of its calibration.
    """

    artifact: Artifact
    before: Calibration
    labelled: Labelled | None
    likeness: Likeness | None = None

    @property
    def after(self) -> Calibration:
        """Return the calibration that was written."""
        return self.artifact.manifest.calibration


def recalibrate(
    folder: Path,
    out: Path,
    wish: Wish,
    *,
    images: Sequence[LabelledImage] = (),
    place: Path | None = None,
    weights: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Recalibration:
    """Write the artifact to `out` with another calibration, from its own held-out scores of good images.

    `images` are scored to choose a threshold by cost, and to tell how many of them change side. The promise
    comes from the held-out scores in any case. `place` is the folder that the images were named by. Raises VisionError
    in a sentence.
    """
    if sum(given is not None for given in (wish.false_reject, wish.cost, wish.threshold)) > 1:
        raise RecalibrationError("a threshold is chosen by a false-reject rate, by cost, or given: name one of them")
    if wish == Wish():
        raise RecalibrationError("say what shall change: a false-reject rate, costs, a threshold or an unsure band")
    if wish.cost is not None and not images:
        raise RecalibrationError("a threshold by cost needs labelled images of good and of defective parts")
    if wish.threshold is not None and not 0 < wish.threshold < float("inf"):
        raise RecalibrationError(f"a threshold is a number above zero, not {wish.threshold}")
    if out.exists():
        raise RecalibrationError(f"{out} already exists; choose another folder for the recalibrated artifact")
    artifact = load_artifact(folder)
    before = artifact.manifest.calibration
    scores = _scores(images, artifact, weights, progress)
    defective = np.array([image.defect is not None for image in images], dtype=np.bool_)
    after = _chosen(wish, artifact, scores[~defective], scores[defective])
    written = recalibrated(folder, after, out=out)
    if not images:
        return Recalibration(written, before, None)
    new = {image.path for image in good_beside(images, set(artifact.manifest.provenance.images))}
    fresh = {image.path: float(score) for image, score in zip(images, scores, strict=True) if image.path in new}
    alike = likeness_of(written, fresh, place or images[0].path.parent) if fresh else None
    return Recalibration(written, before, _compared(scores, defective, before, after), alike)


def _chosen(wish: Wish, artifact: Artifact, good: npt.NDArray[np.float64], bad: npt.NDArray[np.float64]) -> Calibration:
    before = artifact.manifest.calibration
    held_out = (artifact.scores, artifact.peaks)
    if wish.cost is not None:
        cheapest = threshold_by_cost(good, bad, false_reject_cost=wish.cost.false_reject, miss_cost=wish.cost.miss)
        return calibrate_at(cheapest.threshold, *held_out, method="cost", unsure=wish.unsure)
    if wish.threshold is not None:
        return calibrate_at(wish.threshold, *held_out, method="given", unsure=wish.unsure)
    if wish.false_reject is None and before.method != "bound":
        return calibrate_at(before.threshold, *held_out, method=before.method, unsure=wish.unsure)
    rate = before.false_reject if wish.false_reject is None else wish.false_reject
    return calibrate(*held_out, false_reject=rate, unsure=wish.unsure, counted=before.counted)


def _scores(
    images: Sequence[LabelledImage], artifact: Artifact, weights: Path | None, progress: Progress
) -> npt.NDArray[np.float64]:
    if not images:
        return np.empty(0)
    inspector = Inspector(artifact, extractor_of(artifact, weights=weights))
    scores: list[float] = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        pictures = [read_image(image.path, depth=artifact.manifest.depth) for image in batch]
        anomalies = inspect([(inspector, picture) for picture in pictures])
        scores += scores_of(anomalies, [image.path for image in batch])
        progress("scoring labelled images", len(scores), len(images))
    return np.array(scores)


def _compared(
    scores: npt.NDArray[np.float64], defective: npt.NDArray[np.bool_], before: Calibration, after: Calibration
) -> Labelled:
    was, becomes = scores > before.threshold, scores > after.threshold
    return Labelled(
        good=int((~defective).sum()),
        defective=int(defective.sum()),
        false_rejects=(int((was & ~defective).sum()), int((becomes & ~defective).sum())),
        missed=(int((~was & defective).sum()), int((~becomes & defective).sum())),
        good_changed=int(((was != becomes) & ~defective).sum()),
        defective_changed=int(((was != becomes) & defective).sum()),
    )
