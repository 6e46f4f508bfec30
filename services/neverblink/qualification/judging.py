"""A model judges a golden set, exactly as a scorer would: same models, same rules, same decision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from neverblink.decisions.judgement import Judgement, judged
from neverblink.decisions.rules import ProductRules, rules_of
from neverblink.events import BoundingBox
from neverblink.job_life.progress import Progress
from neverblink.model_registry.golden_set import GoldenError, GoldenPart, GoldenPlace, GoldenSet
from neverblink.model_registry.qualifications import JudgedPart
from neverblink.plant import Plant
from neverblink.vision.artifact import Artifact
from neverblink.vision.decode import Image, ImageError, decode
from neverblink.vision.errors import NoNumberError, VisionError
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, inspect_defects
from neverblink.vision.patchcore import FeatureExtractor

_BATCH_BYTES = 256 * 1024 * 1024
"""Decoded pictures in one batch at most: one of 64 megapixels, or 85 of one."""

_NEAR = 0.02
_FAULT = 900


@dataclass(frozen=True, slots=True)
class Look:
    """What a model made of one golden part; picture and inspection are None where there is none."""

    part: JudgedPart
    image: Image | None = None
    inspection: Inspection | None = None


class GoldenJudge:
    """A model with its extractor, as a scorer of the plant runs it for a product; `edited` is a person's threshold."""

    def __init__(
        self,
        plant: Plant,
        product: str,
        artifact: Artifact,
        extractor: FeatureExtractor,
        edited: float | None,
        device: str,
    ) -> None:
        self.plant, self.product, self.artifact = plant, product, artifact
        self._edited = edited
        described = plant.product(product)
        opened = Inspector(
            artifact,
            extractor,
            device=device,
            segment_from=described.defects.segment_from,
            min_area_px=described.min_area_px,
            search="auto" if described.search == "exact" else "approximate",
        )
        self._inspector = opened if edited is None else opened.with_threshold(edited)
        # U-Net and classifier are opened here: a fault of theirs is no picture's.
        _ = self._inspector.finder
        self._by_station: dict[str | None, ProductRules] = {}

    @cached_property
    def threshold(self) -> float:
        """Return the score above which a part is rejected."""
        return self.artifact.threshold if self._edited is None else self._edited

    def looks(self, golden: GoldenSet, place: GoldenPlace, progress: Progress) -> Iterator[Look]:
        """Yield what the model makes of each part, in order. Raises GoldenError for a picture that is gone or altered,
        PlantError.
        """
        batch: list[tuple[GoldenPart, Image]] = []
        held = 0
        for number, part in enumerate(golden.parts, start=1):
            image = self._decoded(part, place.picture(part))
            batch.append((part, image))
            held += image.nbytes
            if held >= _BATCH_BYTES or len(batch) == self.plant.scorer.max_batch or number == len(golden.parts):
                yield from self._judged(batch)
                progress("judging the golden set", number, len(golden.parts))
                batch, held = [], 0

    def _decoded(self, part: GoldenPart, content: bytes) -> Image:
        depth = self._rules(part).depth or self.artifact.manifest.depth
        try:
            return decode(content, depth=depth)
        except ImageError as error:
            raise GoldenError(f"the golden picture {part.picture} of {self.product} cannot be read: {error}") from error

    def _judged(self, batch: Sequence[tuple[GoldenPart, Image]]) -> list[Look]:
        try:
            seen = inspect_defects([(self._inspector, image) for _, image in batch])
        except VisionError as error:
            if len(batch) == 1:
                return [Look(_unscored(batch[0][0], str(error)), batch[0][1])]
            # One picture that the model cannot take costs no other its judgement.
            return [look for one in batch for look in self._judged([one])]
        return [self._look(part, image, one) for (part, image), one in zip(batch, seen, strict=True)]

    def _look(self, part: GoldenPart, image: Image, seen: Inspection) -> Look:
        rules, calibration = self._rules(part), self.artifact.manifest.calibration
        try:
            found = judged(seen, calibration, rules, mm_per_px=rules.mm_per_px, edited=self._edited)
        except NoNumberError as error:
            return Look(_unscored(part, str(error)), image)
        told = JudgedPart(
            picture=part.picture,
            type=part.type,
            decision="reject" if found.reject else "pass",
            score=found.score,
            ratio=found.ratio,
            found=tuple(dict.fromkeys(defect.type for defect in found.defects))[:100],
            fault=fault_of(part, found),
        )
        return Look(told, image, seen)

    def _rules(self, part: GoldenPart) -> ProductRules:
        if part.station not in self._by_station:
            self._by_station[part.station] = rules_of(self.plant, self.product, part.station)
        return self._by_station[part.station]


def fault_of(part: GoldenPart, found: Judgement) -> str | None:
    """Return what is wrong with a judgement of a golden part, None when it is as it must be."""
    # None is rounded to the threshold itself: it lies on one side.
    at = f"{max(found.ratio, 1.001) if found.reject else min(found.ratio, 0.999):.4g} of the threshold"
    if part.type is None:
        return f"rejected, {at}" if found.reject else None
    if not found.reject:
        return f"{part.type} passes, {at}"
    if part.named and part.type not in {defect.type for defect in found.defects}:
        named = ", ".join(dict.fromkeys(defect.type for defect in found.defects)) or "nothing"
        return f"{part.type} is rejected and not named so, but {named}"
    region = part.region
    if region is not None and not any(_overlap(region, defect.bbox) for defect in found.defects):
        return f"{part.type} is rejected for something elsewhere"
    return None


def doubts(parts: Sequence[JudgedPart]) -> list[str]:
    """Return what a person should know of a report that passes: which known defects it only just catches."""
    near = [
        part for part in parts if part.type is not None and part.fault is None and 1 < (part.ratio or 0) < 1 + _NEAR
    ]
    if not near:
        return []
    named = ", ".join(part.picture for part in near[:3])
    what = "1 known defect is" if len(near) == 1 else f"{len(near)} known defects are"
    said = (
        f"{what} caught by less than {_NEAR:.0%} of the threshold ({named}): scores of another"
        " engine, or of the next model, may lie on the other side"
    )
    return [said]


def _unscored(part: GoldenPart, why: str) -> JudgedPart:
    return JudgedPart(
        picture=part.picture, type=part.type, decision="unscored", fault=f"cannot be judged: {why}"[:_FAULT]
    )


def _overlap(one: BoundingBox, other: BoundingBox) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )
