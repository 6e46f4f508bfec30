"""The type of a flagged region by its descriptor, learnt from tens of examples; and when it is none that is known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from neverblink.vision.errors import VisionError
from neverblink.vision.region_features import DESCRIPTOR

UNKNOWN_RATE = 0.05
"""What is asked for when there are enough images: 19."""

Floats = npt.NDArray[np.float32]


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


class Name(NamedTuple):
    """What a region is. `type` is None for unknown; `confidence` that of the likeliest type, whether named or not.

    `known` is the share of regions of known types that are at least as far from all others.
    """

    type: str | None
    confidence: float
    known: float


def images_needed(unknown_rate: float) -> int:
    """Return how many images an unknown rate needs: 19 for 5 %, 99 for 1 %."""
    return math.ceil(1 / unknown_rate - 1 - 1e-9)


@dataclass(frozen=True, slots=True)
class KnownRegions:
    """Where the known regions lie, in a space in which types of one shape and spread are balls.

    `centre` (D,) and `whitening` (D, D) lead there; `means` (K, D) are the types', `regions` (n, D) all that were
    learnt from. All float32.
    """

    centre: Floats
    whitening: Floats
    means: Floats
    regions: Floats

    def distances(self, descriptor: Floats) -> tuple[npt.NDArray[np.float64], float]:
        """Return a descriptor's squared distances (K,) from the types' means, and its distance from a region."""
        place = (descriptor - self.centre) @ self.whitening
        nearest = np.sqrt(np.square(self.regions - place).sum(axis=1, dtype=np.float64).min())
        return np.square(self.means - place).sum(axis=1, dtype=np.float64), float(nearest)


@dataclass(frozen=True, slots=True)
class Familiar:
    """How far known regions are from the others: `distances` (n,) float32 ascending, and `weights` (n,) float32.

    Regions of one image resemble each other, so each image weighs 1 in all, however many regions it has.
    """

    distances: Floats
    weights: Floats

    def share(self, distance: float) -> float:
        """Return the share of known regions at least as far away: a conformal p-value.

        It is at most p for a share of p of an image's known regions, on average over images drawn alike and over what
        was learnt from (Y. Lee, R. F. Barber, R. Willett, Distribution-free inference with hierarchical data, 2023).
        That is proven for distances from regions of other images; cross-fitted ones come from fewer, so are longer.
        """
        first = int(np.searchsorted(self.distances, np.float32(distance), side="left"))
        images = float(self.weights.sum(dtype=np.float64))
        return (1 + float(self.weights[first:].sum(dtype=np.float64))) / (1 + images)


class Classifier:
    """Names regions; plain NumPy, and no part of it changes."""

    def __init__(self, spec: ClassifierSpec, known: KnownRegions, familiar: Familiar) -> None:
        self.spec = spec
        self._known = known
        self._familiar = familiar

    def name(self, descriptors: Floats) -> list[Name]:
        """Name regions by their (R, D) float32 descriptors; one with NaN was not seen and is unknown.

        A region's name does not depend on the others'. Raises VisionError for descriptors of another width.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.spec.dimension:
            raise VisionError(
                f"the classifier knows regions by {self.spec.dimension} numbers each, not by an array of"
                f" {descriptors.shape}: it was trained on features of another backbone"
            )
        # Row by row: a product of matrices may round otherwise with another number of rows.
        return [self._name(descriptor) for descriptor in descriptors.astype(np.float32, copy=False)]

    def tensors(self) -> dict[str, Floats]:
        """Return what it was taught, for a safetensors file."""
        known, familiar = self._known, self._familiar
        return {
            "centre": known.centre,
            "whitening": known.whitening,
            "means": known.means,
            "regions": known.regions,
            "distances": familiar.distances,
            "weights": familiar.weights,
        }

    @classmethod
    def from_tensors(cls, spec: ClassifierSpec, tensors: Mapping[str, Floats]) -> Self:
        """Build it again from `tensors`. Raises VisionError when they do not fit the spec or are not finite."""
        shapes = {
            "centre": (spec.dimension,),
            "whitening": (spec.dimension, spec.dimension),
            "means": (len(spec.types), spec.dimension),
            "regions": (spec.regions, spec.dimension),
            "distances": (spec.regions,),
            "weights": (spec.regions,),
        }
        if tensors.keys() != shapes.keys():
            raise VisionError(f"a classifier has the tensors {', '.join(shapes)}, not {', '.join(sorted(tensors))}")
        for name, shape in shapes.items():
            tensor = tensors[name]
            if tensor.shape != shape or tensor.dtype != np.float32:
                raise VisionError(f"the classifier's {name} must be {shape} float32, not {tensor.shape} {tensor.dtype}")
            if not np.isfinite(tensor).all():
                raise VisionError(f"the classifier's {name} has values that are no numbers")
        if (np.diff(tensors["distances"]) < 0).any() or (tensors["weights"] <= 0).any():
            raise VisionError("the classifier's distances must ascend and its weights be above zero")
        known = KnownRegions(tensors["centre"], tensors["whitening"], tensors["means"], tensors["regions"])
        return cls(spec, known, Familiar(tensors["distances"], tensors["weights"]))

    def novelty(self, descriptors: Floats) -> npt.NDArray[np.float64]:
        """Return how far each of (R, D) regions is from the nearest known one: (R,), no unit, infinite for NaN."""
        finite = np.isfinite(descriptors).all(axis=1)
        found = np.full(len(descriptors), np.inf)
        found[finite] = [self._known.distances(descriptor)[1] for descriptor in descriptors[finite]]
        return found

    def _name(self, descriptor: Floats) -> Name:
        if not np.isfinite(descriptor).all():
            return Name(None, 0.0, 0.0)
        from_means, nearest = self._known.distances(descriptor)
        return name_of(
            self.spec.types,
            type_chances(from_means, self.spec.temperature),
            self._familiar.share(nearest),
            unknown_rate=self.spec.unknown_rate,
            min_confidence=self.spec.min_confidence,
        )


def name_of(
    types: Sequence[str],
    chances: npt.NDArray[np.float64],
    known: float,
    *,
    unknown_rate: float,
    min_confidence: float = 0.0,
) -> Name:
    """Return the name of a region by its (K,) probabilities of the types and its share `known`."""
    likeliest = int(chances.argmax())
    confidence = float(chances[likeliest])
    # In floating point 1/20 may be a hair above 0.05.
    unknown = known <= unknown_rate * (1 + 1e-6) or confidence < min_confidence
    return Name(None if unknown else types[likeliest], confidence, known)


def type_chances(squared: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Return each type's probability from squared distances (..., K): equal balls, every type as likely before."""
    closer = -(squared - squared.min(axis=-1, keepdims=True)) / (2 * temperature)
    chances = np.exp(closer)
    return np.asarray(chances / chances.sum(axis=-1, keepdims=True))
