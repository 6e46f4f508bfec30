"""What was found in an image: regions with a type, from whichever model saw them."""

from dataclasses import dataclass
from typing import Literal

ANOMALY = "anomaly"
"""The type of a region that only PatchCore saw and nobody named."""

UNKNOWN = "unknown"
"""The type of a region that the classifier looked at and knows no type for."""

Source = Literal["patchcore", "unet", "classifier", "presence"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One region that does not look right, box and area in pixels of the image.

    `type` is a defect type, `anomaly` or `unknown`; `source` the model that says so, with a `confidence` of 0 to 1
    (None from PatchCore). `peak` is the highest anomaly value in the region, `seen_by` every model that marked it,
    `region` the named one that its middle lies in.
    """

    type: str
    source: Source
    x: int
    y: int
    width: int
    height: int
    area_px: int
    confidence: float | None = None
    peak: float | None = None
    seen_by: tuple[Source, ...] = ()
    region: str | None = None
