"""All that the models say about one image: values alone, free of torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neverblink.vision.findings import Finding


@dataclass(frozen=True)
class Anomaly:
    """`score`: L2 distance of the most unusual patch, comparable with the threshold; `anomaly_map`: (S, S)
    float32 over the whole image (aspect not kept), smoothed, comparable with the map threshold.
    """

    score: float
    anomaly_map: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Inspection:
    """PatchCore's `anomaly`, and the `findings` of all models, the most conspicuous first.

    The U-Net's `probabilities` (K, h, w) float32 over the whole image, one channel a class, and what it marks by them,
    `outlined` (K, h, w) bool; both None where it did not run or there is none.
    """

    anomaly: Anomaly
    findings: tuple[Finding, ...] = ()
    probabilities: npt.NDArray[np.float32] | None = None
    outlined: npt.NDArray[np.bool_] | None = None
