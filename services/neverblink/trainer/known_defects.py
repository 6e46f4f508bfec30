"""How a whole model does on known defects: PatchCore, U-Net and classifier in one verdict, on unseen images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neverblink.trainer.dataset import DatasetError, file_digest
from neverblink.trainer.defect_dataset import DefectImage
from neverblink.trainer.defect_evaluation import DefectTally, InspectedImage
from neverblink.trainer.defect_figures import DefectEvaluation
from neverblink.trainer.fit import Progress
from neverblink.vision.artifact import Artifact
from neverblink.vision.decode import read_image
from neverblink.vision.engines import EngineName
from neverblink.vision.hybrid import Policy, decide
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects

_BATCH = 8


@dataclass(frozen=True, slots=True)
class KnownDefects:
    """The figures, and how many images were left out because U-Net or classifier had seen them in training."""

    evaluation: DefectEvaluation
    left_out: int


def evaluate_defects(
    images: Sequence[DefectImage],
    artifact: Artifact,
    weights: Path | None = None,
    progress: Progress = lambda *_: None,
    *,
    device: str = "cpu",
    engine: EngineName | Literal["auto"] = "auto",
    policy: Policy | None = None,
) -> KnownDefects:
    """Inspect labelled images with an artifact, decide each by a policy (reject by score or any defect unless given).

    Images that the artifact's U-Net or classifier has seen are left out: figures on them would flatter.
    Raises DatasetError when none remain, VisionError for an image, mask or artifact that cannot be used.
    """
    seen = seen_images(artifact)
    fresh = [image for image in images if file_digest(image.path) not in seen]
    if not any(image.defective for image in fresh):
        raise DatasetError(
            f"all {sum(image.defective for image in images)} images with defects were used to train {artifact.name}:"
            " evaluate it on others, or leave some out of the training with --leave"
        )
    inspector = Inspector(
        artifact, extractor_of(artifact, weights=weights, device=device, engine=engine), device=device
    )
    manifest = artifact.manifest
    tally = DefectTally(
        None if manifest.unet is None else manifest.unet.spec,
        None if manifest.classifier is None else manifest.classifier.spec.types,
    )
    for start in range(0, len(fresh), _BATCH):
        batch = fresh[start : start + _BATCH]
        pictures = [read_image(image.path) for image in batch]
        inspections = inspect_defects([(inspector, picture) for picture in pictures])
        for image, picture, inspection in zip(batch, pictures, inspections, strict=True):
            score = inspection.anomaly.score
            decision = decide(
                score,
                artifact.threshold,
                inspection.findings,
                policy or Policy(),
                unsure=manifest.calibration.is_unsure(score),
            )
            height, width = picture.shape[:2]
            tally.add(
                InspectedImage(
                    image, height, width, inspection, decision.reject, decision.unsure, score / artifact.threshold
                )
            )
        progress("known defects", start + len(batch), len(fresh))
    return KnownDefects(tally.evaluation(), len(images) - len(fresh))


def seen_images(artifact: Artifact) -> set[str]:
    """Return the digests of the images that an artifact's U-Net and classifier were trained with."""
    manifest = artifact.manifest
    return {digest for part in (manifest.unet, manifest.classifier) if part is not None for digest in part.images}
