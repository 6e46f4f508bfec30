"""What a classifier of defect types is, without its tensors; and how many images its promise takes."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DESCRIPTOR: Literal[1] = 1
"""Rises when `region_features.describe` changes: a classifier understands only descriptors that it was trained on."""

UNKNOWN_RATE = 0.05
"""What is asked for when there are enough images: 19."""


class TypeFigures(BaseModel):
    """How well a type is told from the others, by classifiers that had not seen the image."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    regions: int = Field(ge=1, description="Regions that it was learnt from.")
    images: int = Field(ge=1, description="Images that show them.")
    recall: float = Field(ge=0, le=1, description="Share of its regions that get its name.")
    precision: float | None = Field(ge=0, le=1, description="Share of regions with its name that are; null: none has.")


class ClassifierSpec(BaseModel):
    """Everything but the tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    types: tuple[str, ...] = Field(min_length=1, max_length=64, description="Defect types that it can name.")
    dimension: int = Field(ge=1, le=16384, description="Numbers that describe a region.")
    descriptor: Literal[1] = Field(default=DESCRIPTOR, description="Version of the description.")
    novelty: Literal["nearest-region"] = Field(
        default="nearest-region", description="A region is unlike the known ones by its distance from the nearest."
    )
    temperature: float = Field(gt=0, description="What distances are divided by, so that a confidence is a frequency.")
    unknown_rate: float = Field(
        gt=0,
        lt=1,
        description="At most this share of an image's regions of known types is called unknown, on average.",
    )
    min_confidence: float = Field(
        default=0.0, ge=0, le=1, description="Below, a region is unknown too; above 0 the promise does not hold."
    )
    regions: int = Field(ge=1, description="Regions that it was learnt from.")
    images: int = Field(ge=2, description="Images that show them.")
    figures: tuple[TypeFigures, ...] = Field(description="Cross-fitted by image, a type each, in the order of `types`.")
    called_unknown: float = Field(ge=0, le=1, description="Share of cross-fitted regions that were called unknown.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(set(self.types)) != len(self.types):
            raise ValueError(f"the types of a classifier are all different, not {', '.join(self.types)}")
        if tuple(figures.name for figures in self.figures) != self.types:
            raise ValueError("a classifier has figures of each of its types, in their order")
        if self.images < images_needed(self.unknown_rate):
            raise ValueError(
                f"{self.images} images cannot promise an unknown rate of {100 * self.unknown_rate:.3g} %:"
                f" {images_needed(self.unknown_rate)} are needed"
            )
        return self

    def statement(self) -> str:
        """Return the promise as a sentence."""
        said = (
            f"on average at most {100 * self.unknown_rate:.3g} % of an image's regions of known types are called"
            f" unknown, from {self.images} images"
        )
        if self.unknown_rate > UNKNOWN_RATE:
            said += f"; {images_needed(UNKNOWN_RATE)} images would promise {100 * UNKNOWN_RATE:.3g} %"
        if self.min_confidence:
            said += f"; more are, where the type is less certain than {self.min_confidence:.3g}"
        return said


def images_needed(unknown_rate: float) -> int:
    """Return how many images an unknown rate needs: 19 for 5 %, 99 for 1 %."""
    return math.ceil(1 / unknown_rate - 1 - 1e-9)
