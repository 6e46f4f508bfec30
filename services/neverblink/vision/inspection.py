"""All that the models say about one image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neverblink.vision.findings import Finding
from neverblink.vision.patchcore import Anomaly


@dataclass(frozen=True, slots=True)
class Inspection:
    """PatchCore's `anomaly`, the U-Net's `probabilities` (K, h, w) float32 over the whole image, one channel a class
    (None where it did not run or there is none), and the `findings` of all models, the most conspicuous first.
    """

    anomaly: Anomaly
    findings: tuple[Finding, ...] = ()
    probabilities: npt.NDArray[np.float32] | None = None
