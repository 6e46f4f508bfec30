"""From a camera's image to the network's input; the bank and every score go through the same steps."""

from typing import Self, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from neverblink.vision.alignment.view import View
from neverblink.vision.area_average import area_average
from neverblink.vision.colour import Clahe, Gain
from neverblink.vision.errors import VisionError
from neverblink.vision.pictures.stated_depth import Depth

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)


class Preprocess(BaseModel):
    """Resize, white balance, CLAHE, pad to a square, keep the centre; what is not set does not happen.

    The colour steps come after the resizing, so they cost the same for a camera of any resolution, and before
    the padding, which would count in the histograms. No crop by default: outside a crop nothing is ever
    scored, and defects sit at edges too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    resize: int = Field(default=256, ge=32, le=4096, description="Side of the square in pixels after resizing.")
    crop: int | None = Field(default=None, ge=32, le=4096, description="Side of the centre that is kept.")
    aspect: float | None = Field(
        default=None,
        ge=1 / 16,
        le=16,
        description="Width over height of the product's images: it is kept, and the square is filled by repeating"
        " the edge pixels. Not set: the image is stretched to the square.",
    )
    white_balance: tuple[Gain, Gain, Gain] | None = Field(
        default=None, description="Fixed gains of red, green and blue."
    )
    clahe: Clahe | None = Field(default=None, description="Local contrast equalisation.")
    depth: Depth | None = Field(
        default=None,
        description="Bits that the values of 16-bit pictures use; not set: such pictures are refused. Where a station"
        " or product states one, it counts.",
    )

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop is not None and self.crop > self.resize:
            raise ValueError(f"a crop of {self.crop} px does not fit into an image of {self.resize} px")
        return self

    @property
    def side(self) -> int:
        """Return the network input's side in pixels."""
        return self.crop or self.resize

    @property
    def content(self) -> tuple[int, int, int, int]:
        """Return (top, left, height, width): where the image lies in the (resize, resize) square."""
        if self.aspect is None:
            return 0, 0, self.resize, self.resize
        height = round(self.resize / max(self.aspect, 1))
        width = round(self.resize * min(self.aspect, 1))
        return (self.resize - height) // 2, (self.resize - width) // 2, height, width

    def apply(self, image: npt.NDArray[np.uint8] | View[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn an (H, W, 3) uint8 RGB image of any size into (side, side, 3) uint8. Raises VisionError.

        A view of an aligned part goes from the camera's pixels to this size in one interpolation.
        """
        pixels = image.pixels if isinstance(image, View) else image
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
            raise VisionError(f"an image must be (height, width, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
        top, left, height, width = self.content
        image = image.sampled(height, width) if isinstance(image, View) else _resized(image, height, width)
        if self.white_balance is not None:
            image = _balanced(image, self.white_balance)
        if self.clahe is not None:
            image = _equalised(image, self.clahe)
        if self.aspect is not None:
            bottom, right = self.resize - height - top, self.resize - width - left
            image = np.asarray(
                cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REPLICATE), dtype=np.uint8
            )
        return np.ascontiguousarray(self._cropped(image))

    def apply_to_mask(self, mask: npt.NDArray[np.bool_] | View[np.bool_]) -> npt.NDArray[np.float32]:
        """Send an (H, W) mask over the whole image, of any resolution, the way an image goes.

        Returns (side, side) float32: the masked share of every pixel, zero where the square was padded.
        """
        if len(mask.shape) != 2 or 0 in mask.shape:
            raise VisionError(f"a mask must be (height, width), not {mask.shape}")
        top, left, height, width = self.content
        square = np.zeros((self.resize, self.resize), dtype=np.float32)
        shares = (
            mask.shares(height, width) if isinstance(mask, View) else _resized(mask.astype(np.float32), height, width)
        )
        square[top : top + height, left : left + width] = shares
        return np.ascontiguousarray(self._cropped(square))

    def uncrop(self, anomaly_map: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Place a (side, side) map over the whole image: (height, width) of `content`, zero outside the crop."""
        if self.side != self.resize:
            start = (self.resize - self.side) // 2
            end = self.resize - self.side - start
            anomaly_map = np.pad(anomaly_map, ((start, end), (start, end)))
        top, left, height, width = self.content
        return np.ascontiguousarray(anomaly_map[top : top + height, left : left + width])

    def _cropped(self, square: npt.NDArray[_Pixel]) -> npt.NDArray[_Pixel]:
        start = (self.resize - self.side) // 2
        return square[start : start + self.side, start : start + self.side]


def _resized(image: npt.NDArray[_Pixel], height: int, width: int) -> npt.NDArray[_Pixel]:
    if image.shape[:2] == (height, width):
        return image
    # Area averaging is the one filter of OpenCV that does not alias when it shrinks.
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    if shrinks and image.dtype == np.uint8:
        return np.asarray(area_average(np.asarray(image, dtype=np.uint8), height, width), dtype=image.dtype)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=image.dtype)


def _balanced(image: npt.NDArray[np.uint8], gains: tuple[Gain, Gain, Gain]) -> npt.NDArray[np.uint8]:
    values = np.arange(256)[:, None] * np.array(gains)
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), dtype=np.uint8)


def _equalised(image: npt.NDArray[np.uint8], settings: Clahe) -> npt.NDArray[np.uint8]:
    # One object a call: OpenCV's keeps state, and images are prepared in several threads.
    equaliser = cv2.createCLAHE(clipLimit=settings.clip_limit, tileGridSize=(settings.tiles, settings.tiles))
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)
