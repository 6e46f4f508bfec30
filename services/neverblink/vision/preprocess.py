"""From a camera's image to the network's input; the bank and every score go through the same steps."""

from typing import Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from neverblink.vision.errors import VisionError


class Preprocess(BaseModel):
    """Resize to a square (aspect not kept), then optionally keep only the centre.

    No crop by default: outside a crop nothing is ever scored, and defects sit at edges too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: int = Field(default=256, ge=32, le=4096, description="Side in pixels after resizing.")
    crop: int | None = Field(default=None, ge=32, le=4096, description="Side of the centre that is kept.")

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop is not None and self.crop > self.resize:
            raise ValueError(f"a crop of {self.crop} px does not fit into an image of {self.resize} px")
        return self

    @property
    def side(self) -> int:
        """Return the network input's side in pixels."""
        return self.crop or self.resize

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn an (H, W, 3) uint8 RGB image of any size into (side, side, 3) uint8. Raises VisionError."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise VisionError(f"an image must be (height, width, 3) uint8 RGB, not {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        if (height, width) != (self.resize, self.resize):
            # Area averaging is the one filter of OpenCV that does not alias when it shrinks.
            shrinks = height >= self.resize and width >= self.resize
            image = np.asarray(
                cv2.resize(
                    image,
                    (self.resize, self.resize),
                    interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
                ),
                dtype=np.uint8,
            )
        start = (self.resize - self.side) // 2
        return np.ascontiguousarray(image[start : start + self.side, start : start + self.side])

    def uncrop(self, anomaly_map: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Place a (side, side) map into (resize, resize), so that it covers the whole image; zero outside."""
        if self.side == self.resize:
            return anomaly_map
        start = (self.resize - self.side) // 2
        end = self.resize - self.side - start
        return np.pad(anomaly_map, ((start, end), (start, end)))
