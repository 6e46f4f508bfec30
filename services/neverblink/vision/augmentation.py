"""Variants of good images that the memory bank should know as good too."""

from typing import Annotated, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

Factor = Annotated[float, Field(ge=0.1, le=4)]


class Lighting(BaseModel):
    """Brightness of the bank's training images: each goes into the bank once a factor.

    Only the bank takes variants; a threshold comes from images as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    brightness: tuple[Factor, ...] = Field(
        default=(0.8, 1.0, 1.2), min_length=1, max_length=9, description="Factors; 1 is among them."
    )

    @model_validator(mode="after")
    def _keeps_the_original(self) -> Self:
        if 1.0 not in self.brightness or len(set(self.brightness)) != len(self.brightness):
            raise ValueError(f"brightness factors are all different and 1 is among them, not {self.brightness}")
        return self

    def variants(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
        """Return the (H, W, 3) uint8 image once a factor, in their order."""
        return [brightened(image, factor) for factor in self.brightness]


def brightened(image: npt.NDArray[np.uint8], factor: float) -> npt.NDArray[np.uint8]:
    """Multiply a uint8 image by a factor, rounded and clipped at 255, as a longer exposure would be."""
    if factor == 1:
        return image
    table = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)
