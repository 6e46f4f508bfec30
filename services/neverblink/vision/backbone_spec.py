"""Which network sees the images, with which weights, and how: what must be equal for features to compare."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from neverblink.vision.preprocess import Preprocess

SHA256 = r"^sha256:[0-9a-f]{64}$"

WeightsSource = Literal["packaged", "file", "timm"]


class BackboneSpec(BaseModel):
    """Everything that determines a patch feature. Two artifacts with the same `key` share one forward pass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(pattern=r"^[A-Za-z0-9_.]{1,64}$", description="timm's name of the network.")
    levels: tuple[int, ...] = Field(
        min_length=1,
        max_length=4,
        description="timm's feature levels, finest first: level n has stride 2^(n+1). Of a vision transformer: blocks,"
        " counted from 0.",
    )
    source: WeightsSource = Field(description="Where the weights came from.")
    weights: str = Field(pattern=SHA256, description="Digest of the parameters up to the last level.")
    mean: tuple[float, float, float] = Field(description="Subtracted from RGB values of 0 to 255.")
    deviation: tuple[float, float, float] = Field(description="Then divided by this.")
    pooling: int = Field(default=3, ge=1, le=9, description="Side of the local average around each patch.")
    dimension: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="Numbers a patch vector is pooled to by adaptive averages, as the official code's 1024. Not set:"
        " the channels of all levels, one after another.",
    )
    preprocess: Preprocess = Preprocess()

    @property
    def key(self) -> str:
        """Return a digest of the whole spec: frames of any product with the same key go into one batch."""
        # Without defaults: a field added later leaves the keys of older specs as they were.
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
