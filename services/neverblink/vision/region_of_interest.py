"""Where a product is looked at, as settings: polygons over the image; `region` turns them into patches."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Share = Annotated[float, Field(ge=0, le=1)]
Polygon = Annotated[tuple[tuple[Share, Share], ...], Field(min_length=3, max_length=1000)]
"""Corners (x, y) as shares of the image's width and height, from its top left."""

_SUBPIXEL_BITS = 8


class RegionOfInterest(BaseModel):
    """Polygons that are inspected, less those that are not; without any, the whole image is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    inside: tuple[Polygon, ...] = Field(default=(), max_length=100, description="Inspected; none: all of the image.")
    outside: tuple[Polygon, ...] = Field(
        default=(), max_length=100, description="Left out, even where inspected: holes, labels, fixtures."
    )

    @model_validator(mode="after")
    def _polygons_have_an_area(self) -> Self:
        for polygon in (*self.inside, *self.outside):
            if _area(polygon) == 0:
                raise ValueError(f"the polygon {polygon} has no area")
        return self

    def mask(self, height: int, width: int) -> "npt.NDArray[np.bool_]":
        """Draw the region as an (height, width) mask."""
        # Settings are read without numpy and OpenCV: they take longer to load than all of a command line.
        import cv2
        import numpy as np

        drawn = np.full((height, width), not self.inside, dtype=np.uint8)
        for polygons, value in ((self.inside, 1), (self.outside, 0)):
            for polygon in polygons:
                # The middle of the first pixel is OpenCV's (0, 0) and half a pixel from the image's corner.
                corners = np.array(polygon) * (width, height) - 0.5
                fixed = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
                cv2.fillPoly(drawn, [fixed], value, shift=_SUBPIXEL_BITS)
        return drawn.astype(np.bool_)


def _area(polygon: Polygon) -> float:
    """Return the area by the shoelace formula, signed by the sense of rotation."""
    import numpy as np

    x, y = np.array(polygon, dtype=np.float32).astype(np.float64).T
    return float(np.sum(np.roll(x, 1) * y - np.roll(y, 1) * x)) / 2
