"""How a whole model does on known defects: PatchCore, U-Net and classifier in one verdict, on unseen images."""

from collections.abc import Sequence
from pathlib import Path

from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.datasets.images import DatasetError, file_digest
from neverblink.trainer.evaluation.defect_evaluation import DefectTally, InspectedImage
from neverblink.trainer.evaluation.defect_figures import DefectEvaluation
from neverblink.vision.artifact import Artifact
from neverblink.vision.decode import Image
from neverblink.vision.inspection import Inspection


class KnownDefects:
    """Decides inspected images by a product's rules and counts what was made of their known defects.

    Images that the artifact's U-Net or classifier has seen in training are left out: figures on them would flatter.
    """

    def __init__(self, images: Sequence[DefectImage], artifact: Artifact, rules: ProductRules = DEFAULT_RULES) -> None:
        """Raises DatasetError when the artifact was trained with every image that shows a defect."""
        seen = seen_images(artifact)
        self._unseen = {image.path: image for image in images if file_digest(image.path) not in seen}
        if not any(image.defective for image in self._unseen.values()):
            raise DatasetError(
                f"all {sum(image.defective for image in images)} images with defects were used to train"
                f" {artifact.name}: evaluate it on others, or leave some out of the training with --leave"
            )
        self.left_out = len(images) - len(self._unseen)
        self._artifact = artifact
        self._rules = rules
        manifest = artifact.manifest
        self._tally = DefectTally(
            None if manifest.unet is None else manifest.unet.spec,
            None if manifest.classifier is None else manifest.classifier.spec.types,
            decided_by=rules.title,
        )

    def add(self, path: Path, picture: Image, inspection: Inspection) -> None:
        """Count an image and its inspection, unless it was trained with; `picture` is (H, W, 3) uint8 RGB.

        Raises DatasetError and ImageError when its mask cannot be used.
        """
        image = self._unseen.get(path)
        if image is None:
            return
        found = judged(inspection, self._artifact.manifest.calibration, self._rules, mm_per_px=self._rules.mm_per_px)
        height, width = picture.shape[:2]
        self._tally.add(InspectedImage(image, height, width, inspection, found.reject, found.unsure, found.ratio))

    def evaluation(self) -> DefectEvaluation:
        """Return the figures of all images so far."""
        return self._tally.evaluation()


def seen_images(artifact: Artifact) -> set[str]:
    """Return the digests of the images that an artifact's U-Net and classifier were trained with."""
    manifest = artifact.manifest
    return {digest for part in (manifest.unet, manifest.classifier) if part is not None for digest in part.images}
