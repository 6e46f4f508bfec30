"""The type of a flagged region by its descriptor, learnt from tens of examples; and when it is none that is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from neverblink.vision.classifier_spec import ClassifierSpec
from neverblink.vision.errors import VisionError

Floats = npt.NDArray[np.float32]


class Name(NamedTuple):
    """What a region is. `type` is None for unknown; `confidence` that of the likeliest type, whether named or not.

    `known` is the share of regions of known types that are at least as far from all others.
    """

    type: str | None
    confidence: float
    known: float


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
