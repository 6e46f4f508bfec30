"""A part as it lies in the camera's picture: one affine map says where, and pixels are interpolated once."""

import math
from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.errors import VisionError

_Pixel = TypeVar("_Pixel", np.uint8, np.float32, np.bool_)
_Other = TypeVar("_Other", np.uint8, np.float32, np.bool_)
Matrix = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]

MAX_SIDE = 32767
"""OpenCV's warp counts pixels in 16 bits."""

_MAP_SIDE = 1024
"""Longer side of a map that was brought back over the camera's picture; it is never larger than the picture."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a part lies: its middle (x, y) in pixels of the camera's picture from its top left corner, and by how many
    degrees it is turned from the way the model knows it, positive from x to y. `fit` is how well it lies there, 0 to 1.
    """

    x: float
    y: float
    angle: float
    fit: float = 1.0

    def matrix(self, height: float, width: float) -> Matrix:
        """Return the (2, 3) map from an upright picture of the part, height × width pixels, to the camera's picture."""
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        turn = np.array([[cosine, -sine], [sine, cosine]])
        shift = np.array([self.x, self.y]) - turn @ np.array([width / 2, height / 2])
        return np.column_stack([turn, shift])


@dataclass(frozen=True, slots=True, eq=False)
class View(Generic[_Pixel]):
    """An upright picture of `height` × `width` pixels within the camera's `pixels`, (H, W, 3) uint8 or an (H, W) mask.

    `matrix` (2, 3) goes from it to the camera's picture, both measured from the corner of the first pixel. Nothing is
    interpolated before somebody says at which size it is wanted. Raises VisionError when the picture is too large.
    """

    pixels: npt.NDArray[_Pixel]
    matrix: Matrix
    height: int
    width: int

    def __post_init__(self) -> None:
        if max(self.pixels.shape[:2]) > MAX_SIDE:
            raise VisionError(
                f"a picture of {self.pixels.shape[1]} × {self.pixels.shape[0]} pixels cannot be aligned: {MAX_SIDE} a"
                " side are the most"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (height, width), and the number of channels where there are some, of the upright picture."""
        return self.height, self.width, *self.pixels.shape[2:]

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) of the upright picture."""
        return self.height, self.width

    def of(self, pixels: "npt.NDArray[_Other]") -> "View[_Other]":
        """Return the same view of other pixels: the picture in another light, or a mask over it."""
        return View(pixels, self.matrix, self.height, self.width)

    def window(self, top: int, left: int, height: int, width: int) -> Self:
        """Return a rectangle of the upright picture."""
        shift = self.matrix[:, 2] + self.matrix[:, :2] @ np.array([left, top], dtype=np.float64)
        return replace(self, matrix=np.column_stack([self.matrix[:, :2], shift]), height=height, width=width)

    def sampled(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Return the upright picture in height × width pixels, uint8. Beyond its edge a picture goes on as it ends.

        Each pixel is the mean of what it covers, of as many bilinear samples as the camera has pixels there: shrinking
        does not alias.
        """
        return np.asarray(self._drawn(self.pixels.astype(np.uint8, copy=False), height, width), dtype=np.uint8)

    def shares(self, height: int, width: int) -> Plane:
        """Return the same of a mask: (height, width) float32, the share of each pixel that is masked; beyond, none."""
        return np.asarray(self._drawn(self.pixels.astype(np.float32), height, width), dtype=np.float32)

    def _drawn(self, source: npt.NDArray[np.generic], height: int, width: int) -> npt.NDArray[np.generic]:
        across, down = self.width / width, self.height / height
        steps = max(1, math.ceil(across - 1e-6)), max(1, math.ceil(down - 1e-6))
        matrix = _scaled(self.matrix, across / steps[0], down / steps[1])
        drawn = cv2.warpAffine(
            source,  # type: ignore[arg-type]
            _centred(matrix),
            (width * steps[0], height * steps[1]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT if source.ndim == 2 else cv2.BORDER_REPLICATE,
        )
        if steps != (1, 1):
            drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(drawn)

    def back(self, plane: Plane) -> Plane:
        """Bring an (h, w) float32 map over the upright picture back over the camera's, zero where that shows no part.

        The result is as fine as the map, (h', w') float32 with a longer side of 1,024 at most.
        """
        high, wide = self.back_size(*plane.shape)
        # From a pixel of the result over the camera's picture to the upright picture and there to the map.
        inverse = np.asarray(cv2.invertAffineTransform(self.matrix), dtype=np.float64)
        matrix = _scaled(inverse, self.pixels.shape[1] / wide, self.pixels.shape[0] / high)
        matrix[0] *= plane.shape[1] / self.width
        matrix[1] *= plane.shape[0] / self.height
        # The map's outermost values hold to its edge, half a pixel beyond their middle.
        framed = cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        matrix[:, 2] += 1
        drawn = cv2.warpAffine(
            framed, _centred(matrix), (wide, high), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )  # fmt: skip
        return np.asarray(drawn, dtype=np.float32)

    def back_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (h', w') of what `back` makes of a map of height × width."""
        rows, columns = self.pixels.shape[:2]
        fine = max(height / self.height, width / self.width)
        scale = min(1.0, fine, _MAP_SIDE / max(rows, columns))
        return max(1, round(rows * scale)), max(1, round(columns * scale))

    def onto(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Bring an (h, w) mask over the camera's picture, of any resolution, onto the upright one: as fine, bool.

        A pixel belongs to it that is half covered; a mask that covers half of none keeps all that it touches.
        """
        rows, columns = self.pixels.shape[:2]
        down, across = mask.shape[0] / rows, mask.shape[1] / columns
        matrix = self.matrix * np.array([[across], [down]])
        size = max(1, round(self.height * down)), max(1, round(self.width * across))
        shares = View(mask, matrix, self.height, self.width).shares(*size)
        covered = shares >= 0.5
        return np.asarray(covered if covered.any() else shares > 0, dtype=np.bool_)


def _scaled(matrix: Matrix, across: float, down: float) -> Matrix:
    """Return a map for coordinates that are counted in steps of `across` and `down`."""
    return np.asarray(matrix * np.array([across, down, 1.0]), dtype=np.float64)


def _centred(matrix: Matrix) -> Matrix:
    """Return a map of corner coordinates for OpenCV, whose whole numbers are the middles of pixels."""
    shift = matrix[:, 2] + matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return np.column_stack([matrix[:, :2], shift])
