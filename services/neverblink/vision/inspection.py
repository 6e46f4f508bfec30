"""All that the models say about one image: values alone, free of torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from neverblink.vision.errors import NoNumberError
from neverblink.vision.findings import Finding
from neverblink.vision.map_on_demand import A_MAP, MapField


@dataclass(frozen=True, slots=True)
class RegionSeen:
    """What a named region scores, in the unit of the image's score: how `unusual` its patches are, and for a presence
    check how far it is from `presence`, and the state that it looks like, None: like none of the examples.
    """

    name: str
    unusual: float
    presence: float | None = None
    looks: str | None = None

    @property
    def score(self) -> float:
        """Return the higher of both; NaN where either is."""
        return self.unusual if self.presence is None else float(np.maximum(self.unusual, self.presence))


@dataclass(frozen=True)
class Anomaly:
    """`score`: L2 distance of the most unusual patch, comparable with the threshold; `anomaly_map`: (S, S)
    float32 over the whole image (aspect not kept), smoothed, comparable with the map threshold.

    A score is had for a tenth of what the map costs, and few maps are looked at: given what makes it instead of the
    map, it is made when it is first read, in whatever thread reads it, and is then the same whole map.
    `regions` are what named regions score, where the model has any; the score is the highest of them.
    """

    score: float
    anomaly_map: MapField = A_MAP
    regions: tuple[RegionSeen, ...] = ()

    @property
    def unusual(self) -> float:
        """Return the score of the patches alone: what must be there and is not shows in no map."""
        return max((region.unusual for region in self.regions), default=self.score)

    @property
    def fault(self) -> str | None:
        """Return in words what is no finite number, None when all is. It makes no map.

        A map that is not made yet comes of features that gave a finite score, which is the farthest of its distances.
        """
        if not math.isfinite(self.score):
            return f"the anomaly score is {self.score}"
        made = MapField.made(self)
        return None if made is None or np.isfinite(made).all() else "the anomaly map has values that are no numbers"


@dataclass(frozen=True, slots=True)
class NamedScore:
    """A named region's score in the unit of the image's; `state` of a presence check, None of others."""

    name: str
    kind: Literal["judged", "presence"]
    score: float
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """PatchCore's `anomaly`, and the `findings` of all models, the most conspicuous first.

    The U-Net's `probabilities` (K, h, w) float32 over the whole image, one channel a class, and what it marks by them,
    `outlined` (K, h, w) bool; both None where it did not run or there is none. `regions` are the named ones.
    """

    anomaly: Anomaly
    findings: tuple[Finding, ...] = ()
    probabilities: npt.NDArray[np.float32] | None = None
    outlined: npt.NDArray[np.bool_] | None = None
    regions: tuple[NamedScore, ...] = ()

    @property
    def anomalous(self) -> bool:
        """Say whether the score was above the threshold in force: then alone the map has a say in a region."""
        return any("patchcore" in finding.seen_by for finding in self.findings)

    @property
    def fault(self) -> str | None:
        """Return in words what any model said that is no finite number, None when all is: comparisons with what is
        none are all false, and would pass whatever part it is.
        """
        if (fault := self.anomaly.fault) is not None:
            return fault
        if self.probabilities is not None and not np.isfinite(self.probabilities).all():
            return "the U-Net's probabilities have values that are no numbers"
        for finding in self.findings:
            if not all(math.isfinite(value) for value in (finding.confidence or 0.0, finding.peak or 0.0)):
                return f"a region's confidence is {finding.confidence} and its peak {finding.peak}"
        return None


def scores_of(anomalies: Iterable[Anomaly], paths: Iterable[Path]) -> list[float]:
    """Return the scores of images, in order. Raises NoNumberError, naming the image, where one is no number."""
    found: list[float] = []
    for anomaly, path in zip(anomalies, paths, strict=True):
        if (fault := anomaly.fault) is not None:
            raise NoNumberError(f"{path} cannot be judged: {fault}")
        found.append(anomaly.score)
    return found
