"""What the jobs that make a model come to. Nothing heavy is imported."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from neverblink.job_life.results import JobResult

if TYPE_CHECKING:
    from neverblink.vision.artifact import Artifact
    from neverblink.vision.calibration import Calibration


class ModelResult(JobResult):
    """A model that was written."""

    artifact: Path = Field(description="Its folder.")
    name: str
    version: str
    product: str
    digest: str = Field(description="Its identity: sha256 over all that it is.")
    vectors: int = Field(description="Vectors in its memory bank.")
    dimension: int = Field(description="Numbers in each of them.")
    threshold: float = Field(description="Score above which a part is rejected.")
    promise: str = Field(description="What the threshold promises, in a sentence.")

    @classmethod
    def of(cls, artifact: "Artifact", folder: Path, **more: object) -> Self:
        """Return what an artifact that lies in `folder` is, and more about it."""
        about = {
            "artifact": folder,
            "name": artifact.name,
            "version": artifact.version,
            "product": artifact.product,
            "digest": artifact.digest,
            "vectors": artifact.bank.shape[0],
            "dimension": artifact.bank.shape[1],
            "threshold": artifact.threshold,
            "promise": artifact.manifest.calibration.statement(),
        }
        return cls.model_validate(about | more)


class SuspiciousPicture(JobResult):
    """A training picture whose held-out score stands out among the others."""

    path: Path
    score: float = Field(description="What it scores by a bank that never saw it.")
    threshold_without: float | None = Field(
        description="The threshold without it and those that score higher; null: too few would be left for the promise."
    )
    left_out: bool = Field(default=False, description="A robust fit took it for not good and left it out.")
    picture: str | None = Field(default=None, description="Its small JPEG in the gallery; null: there is none.")
    heat: str | None = Field(default=None, description="The same with its map over it.")


class LeastDefect(JobResult):
    """One of the tried defects that stand out least."""

    name: str
    kind: str = Field(description="Type of the defect, real or drawn.")
    of_threshold: float = Field(description="Its score as a share of the threshold; above 1 it is found.")
    picture: str = Field(description="Its small JPEG in the gallery, the defect outlined where it is known.")
    heat: str = Field(description="The picture with its map over it.")


class AlignedPicture(JobResult):
    """A picture that was aligned, or in which no part is found."""

    path: Path
    lies: str = Field(description="Its small JPEG in the gallery, the part's outline and frame drawn.")
    upright: str | None = Field(default=None, description="The part upright; null: none is found.")
    fit: float | None = Field(default=None, description="How well it fits what good parts look like, 0 to 1.")
    why: str | None = Field(default=None, description="Why no part is found, in a sentence.")


class FitResult(ModelResult):
    """What `neverblink fit` comes to."""

    images: int = Field(description="Images of good parts that it was fitted to.")
    suspicious: tuple[SuspiciousPicture, ...] = Field(default=(), description="Pictures to look at, the highest first.")
    suspicious_page: Path | None = Field(default=None, description="Where they are shown; null: there are none.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out, copies.")
    promises: dict[str, Any] | None = Field(
        default=None, description="Recall against promised false rejects, by real or synthetic defects."
    )
    least: tuple[LeastDefect, ...] = Field(
        default=(), description="The tried defects that stand out least, where a gallery was asked for."
    )
    parts: tuple[AlignedPicture, ...] = Field(
        default=(), description="Some parts as they lie and upright, and some not found, where a gallery was asked for."
    )
    doubts: tuple[str, ...] = Field(default=(), description="Why the model is of no use; none: it is of some.")
    next: tuple[str, ...] = Field(default=(), description="Commands to try next, in order.")
    report: Path | None = Field(default=None, description="The page, where one was asked for.")

    @property
    def sentence(self) -> str:
        """Return what was made, and what its threshold promises."""
        return (
            f"{self.product}: {self.images} images, memory bank {self.vectors} × {self.dimension}, "
            f"threshold {self.threshold:.3f}: {self.promise}"
        )


class Threshold(JobResult):
    """A threshold, and where it comes from."""

    threshold: float
    method: str = Field(description="How it was chosen: bound, cost or given.")
    unsure_from: float | None = Field(description="Score from which a part is unsure; null: there is no such band.")
    promise: str

    @classmethod
    def of(cls, calibration: "Calibration") -> Self:
        """Return a calibration's threshold."""
        return cls(
            threshold=calibration.threshold,
            method=calibration.method,
            unsure_from=calibration.unsure_from,
            promise=calibration.statement(),
        )


class ChangedImages(JobResult):
    """What two thresholds do to the same labelled images, before and after."""

    good: int
    defective: int
    false_rejects: tuple[int, int]
    missed: tuple[int, int]
    good_changed: int = Field(description="Good images that change side.")
    defective_changed: int = Field(description="Defective images that change side.")


class CalibrateResult(ModelResult):
    """What `neverblink calibrate` comes to."""

    before: Threshold
    after: Threshold
    labelled: ChangedImages | None = Field(default=None, description="Null: no images were named.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know about the images.")


class UpdateResult(ModelResult):
    """What `neverblink update` comes to."""

    images: int = Field(description="Images that it was taught.")
    skipped: int = Field(description="Images that it knew already.")
    added: int = Field(description="Vectors that went into its memory bank.")
    rejected_before: int = Field(description="Of these images, by the model as it was.")
    rejected_after: int
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out, copies.")
