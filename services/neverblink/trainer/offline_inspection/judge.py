"""One artifact as offline inspection judges by it: the scorer's models and decisions, image by image."""

from collections.abc import Sequence
from typing import NamedTuple

from neverblink.decisions.judgement import judged
from neverblink.events import ArtifactRef, Reason
from neverblink.trainer.offline_inspection.rows import DETAIL, Opinion, Unscored
from neverblink.trainer.offline_inspection.terms import InspectSettings
from neverblink.vision.alignment.aligner import NotFoundError
from neverblink.vision.artifact import Artifact
from neverblink.vision.decode import Image
from neverblink.vision.errors import NoNumberError, VisionError
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, inspect_defects
from neverblink.vision.patchcore import FeatureExtractor


class Place(NamedTuple):
    """What an image's station adds to the product's rules: its scale, and what the threshold was edited to there."""

    mm_per_px: float | None
    edited: float | None


class Judge:
    """One artifact, and what a product is rejected for."""

    def __init__(self, artifact: Artifact, extractor: FeatureExtractor, settings: InspectSettings) -> None:
        self.artifact, self.extractor = artifact, extractor
        self._rules = settings.rules
        self._reference = ArtifactRef(name=artifact.name, version=artifact.version, digest=artifact.digest)
        self._inspector = Inspector(
            artifact,
            extractor,
            device=settings.device,
            segment_from=settings.rules.segment_from,
            min_area_px=settings.rules.min_area_px,
        )
        # U-Net and classifier are opened here: no image's time pays for it, and a fault of theirs is no image's.
        _ = self._inspector.finder
        self._edited: dict[float, Inspector] = {}

    def look(self, images: Sequence[Image], places: Sequence[Place]) -> list[Inspection | Unscored]:
        """Return what the models see in (H, W, 3) uint8 RGB images; one that they cannot take costs no other."""
        work = [(self._at(place.edited), image) for image, place in zip(images, places, strict=True)]
        try:
            return list(inspect_defects(work))
        except Exception as error:  # noqa: BLE001 - the boundary: whatever a model stumbles over is one image's row
            if len(images) == 1:
                sentence = str(error) if isinstance(error, VisionError) else repr(error)
                reason = Reason.NOT_FOUND if isinstance(error, NotFoundError) else Reason.SCORER_ERROR
                return [Unscored(reason, sentence[:DETAIL])]
        return [one for image, place in zip(images, places, strict=True) for one in self.look([image], [place])]

    def judge(self, images: Sequence[Image], places: Sequence[Place]) -> list[Opinion | Unscored]:
        """Decide images as the scorer does, each as at its place."""
        return [
            one if isinstance(one, Unscored) else self.opinion(one, place)
            for one, place in zip(self.look(images, places), places, strict=True)
        ]

    def opinion(self, inspection: Inspection, place: Place) -> Opinion | Unscored:
        """Decide by what the models saw, as the scorer does."""
        calibration = self.artifact.manifest.calibration
        try:
            found = judged(inspection, calibration, self._rules, mm_per_px=place.mm_per_px, edited=place.edited)
        except NoNumberError as error:
            return Unscored(Reason.SCORER_ERROR, str(error)[:DETAIL])
        return Opinion(self._reference, found)

    def _at(self, edited: float | None) -> Inspector:
        """Return what inspects by a threshold: where it lies decides what is marked, as in the scorer."""
        if edited is None:
            return self._inspector
        if edited not in self._edited:
            self._edited[edited] = self._inspector.with_threshold(edited)
        return self._edited[edited]
