"""A part's outline against the ground that it lies on: whatever the light, and where the ground has a structure."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_DARK = 12.0
"""Added to grey levels before the logarithm: below, noise is larger than what light does."""

_FRAME = 0.05
"""The ground is learnt from a frame of this share of the picture's shorter side."""

_LEAST_SPREAD = 0.02
"""Ground is never taken to be more even than 2 % of its brightness: cameras and codecs are not."""

_SURELY_GROUND = 3.5
"""Deviations from the ground up to which nothing is taken for the part, whatever the picture's histogram says."""

_TERMS = 6
_FRAME_PIXELS = 1500
_ROUNDS = 4
_CALM = 9.0

_LEVELS = 6
_HIGHEST_LEVEL = 0.7
"""Thresholds are tried from the ground's own spread up to this share of what differs most, on a scale of logarithms."""

_WEAK = 0.2
"""An outline is as steep as where this share of it is less so: a shadow or a reflection is a piece of it alone."""

_NEARLY = 0.8
"""The lowest threshold is taken whose outline is nearly as steep as any: shadows and reflections end softly."""

_KEPT = 0.7
"""Share of the frame that is taken for ground at least: the part, a rail or a shadow may reach into the rest."""

_SMALLEST = 0.004
"""Of the picture's area: smaller outlines are dirt."""

_A_RAIL = 0.6
"""What touches this share of one of the picture's sides is no part, but what it lies on."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """An outline: (h, w) bool `mask`, its `area` in pixels, that of the next one as a share of it, and how many of the
    ground's deviations its inside is away from it, in the median.
    """

    mask: Mask
    area: float
    beside: float
    clearness: float = 0.0

    @property
    def middle(self) -> tuple[float, float]:
        """Return (x, y) of the centre of mass from the corner of the first pixel."""
        rows, columns = np.nonzero(self.mask)
        return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5

    def axis(self) -> tuple[float, float]:
        """Return the degrees from x to y of the longer principal axis, and how much longer it is than the other."""
        rows, columns = np.nonzero(self.mask)
        spread = np.cov(np.stack([columns, rows]), bias=True) + np.eye(2) / 12
        lengths, axes = np.linalg.eigh(spread)
        return float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))), float(np.sqrt(lengths[1] / lengths[0]))


def logarithms(image: npt.NDArray[np.uint8]) -> Floats:
    """Return (h, w, 3) float32 of an RGB image: brightness, whose differences light multiplies, and two colours that
    it leaves as they are.
    """
    red, green, blue = cv2.split(np.log(image.astype(np.float32) + _DARK))
    return np.dstack([(red + 2 * green + blue) / 4, red - green, blue - green])


def silhouettes(image: npt.NDArray[np.uint8], *, most: int = 3) -> list[Silhouette]:
    """Return the outlines in an (h, w, 3) uint8 RGB image of some 200 pixels a side, the largest first; none: [].

    What is unlike the ground in brightness or colour is a part: the ground is what the picture's frame shows, with a
    light that may fall off to any side, and as uneven as it is. Of several thresholds that one is taken at which the
    outline is where the picture changes most.
    """
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), dtype=np.uint8)
    distance = _from_ground(logarithms(smooth))
    mask = _outlined(np.log1p(distance))
    height, width = mask.shape
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled: list[Mask] = []
    for contour in contours:
        if cv2.contourArea(contour) < _SMALLEST * height * width:
            continue
        drawn = cv2.drawContours(np.zeros((height, width), np.uint8), [contour], -1, 1, cv2.FILLED).astype(np.bool_)
        if not _is_a_rail(drawn):
            filled.append(drawn)
    areas = sorted(((float(one.sum()), number) for number, one in enumerate(filled)), reverse=True)
    found = []
    for place, (area, number) in enumerate(areas[:most]):
        other = areas[1 if place == 0 else 0][0] if len(areas) > 1 else 0.0
        clearness = float(np.median(distance[filled[number]]))
        found.append(Silhouette(filled[number], area, other / area, clearness))
    return found


def _outlined(logs: Floats) -> Mask:
    """Return what is a part by the (h, w) logarithms of differences from the ground."""
    steep = cv2.magnitude(cv2.Scharr(logs, cv2.CV_32F, 1, 0), cv2.Scharr(logs, cv2.CV_32F, 0, 1))
    lowest, highest = float(np.log1p(_SURELY_GROUND)), float(logs.max())
    if highest <= lowest:
        return np.zeros(logs.shape, dtype=np.bool_)
    candidates = []
    for level in np.linspace(lowest, lowest + _HIGHEST_LEVEL * (highest - lowest), _LEVELS):
        filled = _closed_and_filled(logs > level)
        outlines, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if not outlines:
            break
        largest = max(outlines, key=cv2.contourArea)[:, 0]
        candidates.append((float(np.quantile(steep[largest[:, 1], largest[:, 0]], _WEAK)), filled))
    if not candidates:
        return np.zeros(logs.shape, dtype=np.bool_)
    steepest = max(steepness for steepness, _ in candidates)
    return next(filled for steepness, filled in candidates if steepness >= _NEARLY * steepest).astype(np.bool_)


def _closed_and_filled(mask: Mask) -> npt.NDArray[np.uint8]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    # Filled before it is opened: an outline that is found as a ring is a part, and must not be opened away.
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(closed), contours, -1, 1, cv2.FILLED)
    return np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, kernel), dtype=np.uint8)


def _from_ground(values: Floats) -> Floats:
    """Return how many of the ground's own deviations each pixel is away from it, (h, w) float32."""
    terms, frame = _of_light(*values.shape[:2])
    design, seen = terms.reshape(-1, _TERMS)[frame], values.reshape(-1, 3)[frame]
    kept = np.ones(len(seen), dtype=np.bool_)
    light, root = _ground(design, seen)
    for round_ in range(_ROUNDS):
        apart = np.square((seen - design @ light) @ root).sum(axis=1)
        # At last what is just beyond the calm part of the frame is ground too.
        limit = float(np.quantile(apart, _KEPT))
        kept = apart <= (limit if round_ < _ROUNDS - 1 else max(limit, _CALM))
        light, root = _ground(design[kept], seen[kept])
    return np.asarray(np.linalg.norm((values - terms @ light) @ root, axis=2), dtype=np.float32)


def _ground(design: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """Return how light bends the ground's brightness, (6, 3), and what turns differences into deviations, (3, 3)."""
    light = np.zeros((_TERMS, 3), dtype=np.float32)
    # Light bends the brightness alone: colours are one for all of the ground.
    light[:, 0] = np.linalg.solve(design.T @ design + 1e-6 * np.eye(_TERMS), design.T @ seen[:, 0])
    light[0, 1:] = np.median(seen[:, 1:], axis=0)
    spread = np.cov((seen - design @ light).T, bias=True) + _LEAST_SPREAD**2 * np.eye(3)
    return light, np.linalg.cholesky(np.linalg.inv(spread)).astype(np.float32)


@lru_cache(maxsize=8)
def _of_light(height: int, width: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the (h, w, 6) terms of a light that falls off, and the places of some pixels along the picture's frame."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = (down + 0.5) / height - 0.5, (across + 0.5) / width - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    frame = np.zeros((height, width), dtype=np.bool_)
    edge = max(2, round(_FRAME * min(height, width)))
    frame[:edge] = frame[-edge:] = frame[:, :edge] = frame[:, -edge:] = True
    places = np.flatnonzero(frame)
    return terms, places[:: max(1, len(places) // _FRAME_PIXELS)]


def _is_a_rail(mask: Mask) -> bool:
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return any(float(side.mean()) > _A_RAIL for side in sides)
