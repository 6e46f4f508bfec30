"""How a part lies, to a fraction of a pixel: its outline and what is on it, laid onto what good parts look like."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.alignment.silhouette import Floats, Silhouette, logarithms
from neverblink.vision.alignment.sliding import Slid, Steps, laid_upright, shown_share, slid, steps_of, turned_by

LAYERS = 4
"""Outline, brightness, and two colours."""

_SOFT = 1.2
"""Pixels by which outlines are blurred: a step would leave nothing to slide along."""

_TEXTURE = 0.3
"""What one deviation on the part weighs beside all of an outline's step."""

_LEAST_TEXTURE = (0.03, 0.03, 0.03)
"""A part that is more even than this is not spread further: noise would look like marks."""

_MOST_TEXTURE = 3.0

_SEEN = 0.1
_ANGLES = 120
_RADII = 24
_PEAKS = 4
_REFINED = 2
_POLAR = cv2.WARP_POLAR_LINEAR | cv2.WARP_FILL_OUTLIERS
_APART = 20.0
"""Degrees between angles that are two."""

_AXIS_FROM = 1.08
"""An outline that is longer than wide by this factor has an axis."""

_SHAPE, _LOOKS = 1.0, 0.5
"""What outline and looks weigh in the choice between poses."""


class Placed(NamedTuple):
    """A pose in searched pixels: middle (x, y), degrees, how well it fits and how much better than another turn."""

    x: float
    y: float
    angle: float
    fit: float
    rank: float
    lead: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What is registered of a picture: (h, w, 4) float32 `layers` around the part, whose top left pixel is at (left,
    top) of the searched picture, and its outline.
    """

    layers: Floats
    left: int
    top: int
    silhouette: Silhouette


def sight(image: npt.NDArray[np.uint8], silhouette: Silhouette) -> Sight:
    """Return what is registered of an (h, w, 3) uint8 RGB picture in which a part was found."""
    x, y, wide, high = cv2.boundingRect(silhouette.mask.astype(np.uint8))
    room = 6
    top, left = max(0, y - room), max(0, x - room)
    window = np.s_[top : y + high + room, left : x + wide + room]
    mask = silhouette.mask[window]
    values = logarithms(image[window])
    outline = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _SOFT)
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    inside = inside if inside.any() else mask
    layers = [outline]
    rows, columns = np.nonzero(inside)
    terms = np.stack([np.ones(len(rows)), columns - columns.mean(), rows - rows.mean()], axis=1)
    for channel, least in enumerate(_LEAST_TEXTURE):
        seen = values[..., channel][inside]
        # Light that falls off across the part is none of its marks; it bends the brightness alone.
        usual = terms @ np.linalg.lstsq(terms, seen, rcond=None)[0] if channel == 0 else seen.mean()
        seen = seen - usual
        spread = max(float(seen.std()), least)
        layer = np.zeros(mask.shape, dtype=np.float32)
        layer[inside] = np.clip(seen / spread, -_MOST_TEXTURE, _MOST_TEXTURE)
        layers.append(_TEXTURE * cv2.GaussianBlur(layer, (0, 0), _SOFT))
    return Sight(np.dstack(layers).astype(np.float32), left, top, silhouette)


class Template:
    """What good parts look like upright: (h, w, 4) float32 `layers`, the mean of theirs."""

    def __init__(self, layers: Floats) -> None:
        self.layers = np.ascontiguousarray(layers, dtype=np.float32)
        self.height, self.width = layers.shape[:2]
        outline = np.clip(self.layers[..., 0], 0, None)
        total = max(float(outline.sum()), 1e-6)
        down, across = np.mgrid[0 : self.height, 0 : self.width].astype(np.float64) + 0.5
        # From the template's middle to its centre of mass.
        self.offset = (
            float((outline * across).sum() / total - self.width / 2),
            float((outline * down).sum() / total - self.height / 2),
        )
        from_middle = np.hypot(across - self.width / 2 - self.offset[0], down - self.height / 2 - self.offset[1])
        self._radius = float(from_middle[outline > _SEEN].max(initial=4.0))

    def placed(self, seen: Sight, *, turned: bool = True, angles: list[float] | None = None) -> Placed:
        """Return the best pose; one that is not `turned` keeps the picture's angle. `angles` are tried alone."""
        if not turned:
            return self._refined(seen, *self._start(seen, 0.0), turned=False)
        tried = self._candidates(seen) if angles is None else angles
        rough = sorted((self._rated(seen, *self._start(seen, one)) for one in tried), key=lambda one: -one.rank)
        distinct: list[Placed] = []
        for one in rough:
            if all(apart(one.angle, other.angle) > _APART / 2 for other in distinct):
                distinct.append(one)
        refined = [self._refined(seen, one.x, one.y, one.angle) for one in distinct[:_REFINED]]
        refined.sort(key=lambda one: -one.rank)
        best = refined[0]
        others = [one.rank for one in refined[1:] if apart(one.angle, best.angle) > _APART]
        return best._replace(lead=best.rank - max(others) if others else 1.0)

    def at(self, seen: Sight, pose: Placed) -> Floats:
        """Return the (h, w, 4) layers of a picture where a part lies so, upright."""
        return self._warped(seen, pose.x, pose.y, pose.angle)

    def shown(self, place: Slid, size: tuple[int, int]) -> float:
        """Return the share of a good part's outline that a picture of `size` (h, w) shows, where the part lies so."""
        return shown_share(np.clip(self.layers[..., 0], 0, None), place, size)

    def _start(self, seen: Sight, angle: float) -> tuple[float, float, float]:
        x, y = seen.silhouette.middle
        across, down = turned_by(angle, *self.offset)
        return x - across, y - down, angle

    def _candidates(self, seen: Sight) -> list[float]:
        found = []
        axis, longer = seen.silhouette.axis()
        if longer >= _AXIS_FROM and self._axis[1] >= _AXIS_FROM:
            found += [axis - self._axis[0], axis - self._axis[0] + 180]
        seen_polar = np.fft.rfft(self._polar(seen.layers, *self._within(seen)), axis=0)
        alike = np.fft.irfft((seen_polar * np.conj(self._spectrum)).sum(axis=(1, 2)), n=_ANGLES)
        peaks = np.flatnonzero((alike >= np.roll(alike, 1)) & (alike > np.roll(alike, -1)))
        best = peaks[np.argsort(-alike[peaks])][:_PEAKS]
        found += [360.0 * float(place) / _ANGLES for place in best]
        return found or [0.0]

    def _within(self, seen: Sight) -> tuple[float, float]:
        x, y = seen.silhouette.middle
        return x - seen.left - 0.5, y - seen.top - 0.5

    @cached_property
    def _axis(self) -> tuple[float, float]:
        return Silhouette(self.layers[..., 0] > 0.5, 0.0, 0.0).axis()

    @cached_property
    def _spectrum(self) -> npt.NDArray[np.complexfloating]:
        middle = self.width / 2 + self.offset[0] - 0.5, self.height / 2 + self.offset[1] - 0.5
        return np.fft.rfft(self._polar(self.layers, *middle), axis=0)

    def _polar(self, layers: Floats, x: float, y: float) -> Floats:
        """Return (angles, radii, 4) float32 around a point; far rings count by their length."""
        turned = cv2.warpPolar(layers, (_RADII, _ANGLES), (x, y), self._radius * 1.1, _POLAR)
        weight = np.sqrt(np.arange(_RADII, dtype=np.float32) + 0.5)[None, :, None]
        return np.asarray((turned - turned.mean(axis=0)) * weight, dtype=np.float32)

    def _warped(self, seen: Sight, x: float, y: float, angle: float) -> Floats:
        return laid_upright(seen.layers, Slid(x, y, angle), self.height, self.width, left=seen.left, top=seen.top)

    def _rated(self, seen: Sight, x: float, y: float, angle: float) -> Placed:
        found = self._warped(seen, x, y, angle)
        own, other = self.layers[..., 0], found[..., 0]
        # What lies beyond the template belongs to the part's outline too.
        beyond = max(0.0, float(seen.layers[..., 0].sum()) - float(other.sum()))
        fit = float(np.minimum(own, other).sum()) / max(float(np.maximum(own, other).sum()) + beyond, 1e-6)
        looks, there = self.layers[..., 1:].ravel(), found[..., 1:].ravel()
        length = float(np.linalg.norm(looks) * np.linalg.norm(there))
        alike = float(looks @ there) / length if length > 1e-6 else 0.0
        return Placed(x, y, angle, fit, _SHAPE * fit + _LOOKS * alike, 1.0)

    def _refined(self, seen: Sight, x: float, y: float, angle: float, *, turned: bool = True) -> Placed:
        start = self._rated(seen, x, y, angle)
        place = slid(
            lambda one: self._warped(seen, *one),
            self.layers,
            self._steps,
            Slid(x, y, angle),
            reach=max(self.height, self.width) / 2,
            turned=turned,
        )
        ended = self._rated(seen, *place)
        # A slide that ran away, or made it worse, is none.
        return ended if ended.rank >= start.rank and apart(ended.angle, start.angle) < _APART else start

    @cached_property
    def _steps(self) -> Steps:
        return steps_of(self.layers)


def apart(one: float, other: float) -> float:
    """Return the degrees between two directions, 0 to 180."""
    return abs((one - other + 180) % 360 - 180)
