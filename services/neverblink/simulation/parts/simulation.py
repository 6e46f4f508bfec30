"""A simulated camera over a simulated line: each part number gives one image, the same one every time."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.simulation.parts.bracket import BRACKET
from neverblink.simulation.parts.disc import DISC
from neverblink.simulation.parts.drawing import HALF, MARGIN, DefectType, ProductDrawing, SimulationError
from neverblink.simulation.parts.light import REACH, light
from neverblink.simulation.parts.pcb import PCB
from neverblink.simulation.parts.surface import SCALE, Field, Surface, clouds

PRODUCTS: Mapping[str, ProductDrawing] = MappingProxyType({drawing.name: drawing for drawing in (PCB, DISC, BRACKET)})
"""The simulated products by name."""

SIZE = 2 * HALF
"""Height and width of every image, pixels."""

EXPOSURE_SPREAD, TILT_SPREAD = 0.022, 0.012
"""How far the light level, and its fall from one image border to the centre, may differ, either way."""

VISIBLE_CHANGE = 0.05
"""A pixel belongs to the defect's mask when the defect changes its light by this share of full scale."""
MIN_AREA_PX, MIN_CONTRAST = 120, 0.13
"""What a careful person surely sees: a defect below this area or mean change is drawn again."""
_TRIES = 8

_WHITE_NOISE, _READ_NOISE = 0.010, 0.002
"""Shot noise at full scale and noise in the dark, standard deviation as a share of full scale."""
_OPTICS_BLUR = 0.9
"""Blur of the lens before sampling, drawing pixels (standard deviation)."""
_EXPOSURE = 1.3
"""Lens and shutter together: light of the drawing to share of full scale."""
_WEAVE, _TURNING = 0.014, 0.045
"""Contrast of the conveyor's weave (of full scale) and of the tool marks (of the metal's light)."""


class _Stream(IntEnum):
    """Independent random streams of one seed."""

    TRUTH = 0
    PART = 1
    GOOD = 2
    DEFECT = 3
    HIDDEN = 4


@dataclass(frozen=True, eq=False)
class SimulatedPart:
    """One part as the camera saw it: `image` (352, 352, 3) uint8 RGB, its defect's `mask` (352, 352) bool."""

    number: int
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    defect: str | None = None
    taxonomy: str | None = None


@dataclass(frozen=True)
class Simulation:
    """A product on a line: part `number` is drawn from (product, seed, number) and from nothing else.

    `defect_rate` is the share of defective parts, and `hidden_rate` the share of those whose defect no picture shows,
    such as a crack inside: no model finds it, a person with the part in hand does. `brightness` scales the light, 1 is
    as fitted: an ageing lamp is `dataclasses.replace(sim, brightness=0.8)`. Raises SimulationError for a value out of
    range.
    """

    product: str
    seed: int = 1
    defect_rate: float = 0.15
    brightness: float = 1.0
    hidden_rate: float = 0.0

    def __post_init__(self) -> None:
        if self.product not in PRODUCTS:
            known = ", ".join(sorted(PRODUCTS))
            raise SimulationError(f"There is no simulated product {self.product!r}. Known products: {known}.")
        if self.seed < 0:
            raise SimulationError(f"The seed of a simulation must be 0 or more, not {self.seed}.")
        if not 0 <= self.defect_rate <= 1:
            raise SimulationError(f"The defect rate must lie between 0 and 1, not at {self.defect_rate}.")
        if not 0 <= self.hidden_rate <= 1:
            raise SimulationError(f"The share of hidden defects must lie between 0 and 1, not at {self.hidden_rate}.")
        if not 0 < self.brightness <= 4:
            raise SimulationError(f"The brightness must be above 0 and at most 4, not {self.brightness}.")

    @property
    def drawing(self) -> ProductDrawing:
        """The product's drawing."""
        return PRODUCTS[self.product]

    def truth(self, number: int) -> str | None:
        """Return the defect of part `number`, None for a good part, without drawing it."""
        rng = self._random(_Stream.TRUTH, number)
        if rng.random() >= self.defect_rate:
            return None
        return self.drawing.defects[rng.integers(len(self.drawing.defects))].name

    def hides(self, number: int) -> bool:
        """Say whether part `number` has a defect that its picture does not show."""
        return self.truth(number) is not None and self._random(_Stream.HIDDEN, number).random() < self.hidden_rate

    def part(self, number: int) -> SimulatedPart:
        """Return part `number` as the line brings it: good, or with the defect that `truth` names, unless it hides."""
        defect = None if self.hides(number) else self.truth(number)
        rng = self._random(_Stream.PART, number)
        return self._expose(number, rng, None if defect is None else self.drawing.defect(defect))

    def good(self, number: int) -> SimulatedPart:
        """Return a good part for fitting; never the same exposure as any `part`."""
        return self._expose(number, self._random(_Stream.GOOD, number), None)

    def defective(self, defect: str, number: int) -> SimulatedPart:
        """Return a part with the named defect, in an exposure of its own; SimulationError for an unknown name."""
        kind = self.drawing.defect(defect)
        return self._expose(number, self._random(_Stream.DEFECT, number, zlib.crc32(defect.encode())), kind)

    def showing(self, kind: DefectType, number: int) -> SimulatedPart:
        """Return a part with a defect that the product's drawing does not know, in an exposure of its own."""
        return self._expose(number, self._random(_Stream.DEFECT, number, zlib.crc32(kind.name.encode())), kind)

    def _random(self, stream: _Stream, *numbers: int) -> np.random.Generator:
        if min(numbers) < 0:
            raise SimulationError(f"Part numbers start at 0, got {min(numbers)}.")
        return np.random.default_rng([zlib.crc32(self.product.encode()), self.seed, stream, *numbers])

    def _expose(self, number: int, rng: np.random.Generator, kind: DefectType | None) -> SimulatedPart:
        scene = _scene(self.product)
        pose = _pose(rng, self.drawing)
        exposure = _exposure(rng) * np.float32(self.brightness)
        weave = _weave()
        row, column = rng.integers(0, weave.shape[0] - SIZE, 2)
        marks = rng.standard_normal(_MARKS, np.float32)
        blur = float(rng.uniform(0.2, 0.5))
        noise = rng.standard_normal((SIZE, SIZE, 3), np.float32)

        lit, texture, mask = scene.lit, scene.texture, np.zeros((SIZE, SIZE), np.bool_)
        if kind is not None:
            change = _visible_change(scene, kind, rng)
            lit, texture = lit.copy(), texture.copy()
            lit[change.place] = change.lit
            texture[change.place] = change.texture
            everywhere = np.zeros(scene.lit.shape[:2], np.float32)
            everywhere[change.place] = change.mask
            mask = _sample(everywhere, pose.matrix) > 0.5

        image = _sample(lit, pose.matrix)
        grain = _sample(texture, pose.matrix)
        image *= 1 + (grain[..., 0] * _tool_marks(marks, pose))[..., None]
        image += (grain[..., 1] * weave[row : row + SIZE, column : column + SIZE])[..., None]
        image = np.asarray(cv2.GaussianBlur(image, (5, 5), blur), np.float32)
        image *= exposure[..., None]
        np.maximum(image, 0, out=image)
        image += noise * np.sqrt(image * np.float32(_WHITE_NOISE**2) + np.float32(_READ_NOISE**2))
        pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
        return SimulatedPart(
            number=number,
            image=pixels,
            mask=mask,
            defect=None if kind is None else kind.name,
            taxonomy=None if kind is None else kind.taxonomy,
        )


class _Scene(NamedTuple):
    """A good part, lit: drawn once per product and never written to."""

    matter: Surface
    lit: Field
    texture: Field


class _Change(NamedTuple):
    """What a defect changes: the place in the scene's arrays, and its new light, texture and mask there."""

    place: tuple[slice, slice]
    lit: Field
    texture: Field
    mask: Field


class _Pose(NamedTuple):
    """How a part lies: `matrix` (2, 3) from image to drawing pixels, and its centre in image pixels."""

    matrix: Field
    x: float
    y: float


@lru_cache(maxsize=4)
def _scene(product: str) -> _Scene:
    matter = PRODUCTS[product].build()
    scene = _Scene(matter, _lens(light(matter)), _texture(matter))
    for array in (scene.lit, scene.texture, matter.colour, matter.height):
        array.flags.writeable = False
    return scene


def _lens(image: Field) -> Field:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _OPTICS_BLUR), np.float32)


def _texture(matter: Surface) -> Field:
    return np.stack([matter.turned, matter.belt], axis=-1)


def _visible_change(scene: _Scene, kind: DefectType, rng: np.random.Generator) -> _Change:
    """Draw the defect until a careful person would see it; the plainest of the tries otherwise."""
    best: tuple[float, _Change] | None = None
    for _ in range(_TRIES):
        change = _change(scene, kind.draw(scene.matter, rng))
        difference = np.abs(change.lit - scene.lit[change.place]).max(axis=2)
        area = float(change.mask.sum()) / SCALE**2
        contrast = float(difference[change.mask > 0].mean()) if area else 0.0
        plainness = min(area / MIN_AREA_PX, contrast / MIN_CONTRAST)
        if best is None or plainness > best[0]:
            best = plainness, change
        if plainness >= 1:
            break
    if best is None:
        raise AssertionError("a defect is drawn at least once")
    return best[1]


def _change(scene: _Scene, patch: Surface) -> _Change:
    """Light a changed patch and keep the part of it whose light is whole: all but a border of `REACH`."""
    left, top = patch.left - scene.matter.left, patch.top - scene.matter.top
    x, y = round(left * SCALE), round(top * SCALE)
    h, w = patch.height.shape
    full_h, full_w = scene.matter.height.shape
    border = REACH * SCALE
    y0, y1 = (border if y > 0 else 0), (h - border if y + h < full_h else h)
    x0, x1 = (border if x > 0 else 0), (w - border if x + w < full_w else w)
    inner = slice(y0, y1), slice(x0, x1)
    place = slice(y + y0, y + y1), slice(x + x0, x + x1)
    lit = _lens(light(patch))[inner]
    changed = (np.abs(lit - scene.lit[place]).max(axis=2) > VISIBLE_CHANGE).astype(np.uint8)
    closed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return _Change(place, lit, _texture(patch)[inner], closed.astype(np.float32))


def _pose(rng: np.random.Generator, drawing: ProductDrawing) -> _Pose:
    x, y = rng.uniform(-drawing.shift_px, drawing.shift_px, 2)
    turn = np.radians(rng.uniform(-drawing.turn_degrees, drawing.turn_degrees))
    rotation = SCALE * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    first = rotation @ (0.5 - HALF - np.array([x, y]))
    offset = first + SCALE * (HALF + MARGIN) - 0.5
    return _Pose(np.column_stack([rotation, offset]).astype(np.float32), float(x), float(y))


def _sample(drawing: Field, matrix: Field) -> Field:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sampled = cv2.warpAffine(drawing, matrix, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32)


def _exposure(rng: np.random.Generator) -> Field:
    """Return this exposure's light over the image, (352, 352): vignetting, a slope, the lamp's level."""
    level = 1 + rng.uniform(-EXPOSURE_SPREAD, EXPOSURE_SPREAD)
    across, down = rng.uniform(-TILT_SPREAD, TILT_SPREAD, 2)
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / HALF - 1
    slope = np.float32(level) + np.float32(across) * axis[None, :] + np.float32(down) * axis[:, None]
    exposure: Field = slope * _station_light()
    return exposure


@lru_cache(maxsize=1)
def _station_light() -> Field:
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / HALF - 1
    x, y = axis[None, :], axis[:, None]
    vignette = np.float32(_EXPOSURE) - np.float32(0.11) * (x * x + y * y)
    station: Field = vignette * (1 - np.float32(0.05) * x - np.float32(0.06) * y)
    return station


@lru_cache(maxsize=1)
def _weave() -> Field:
    """Return a conveyor's weave, larger than an image: every part lies on another piece of it."""
    size = 3 * SIZE
    rng = np.random.default_rng(30)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    threads = np.sin(x * np.float32(1.15)) * np.sin(y * np.float32(1.15))
    wear = clouds(rng, (size, size), 2.0, 12.0, 40.0)
    weave: Field = np.float32(_WEAVE) * (0.28 * threads + 0.22 * wear)
    return weave


_MARKS_PER_PX = 4
_MARKS = 2 * HALF * _MARKS_PER_PX


@lru_cache(maxsize=1)
def _axis() -> Field:
    return np.arange(SIZE, dtype=np.float32) + np.float32(0.5 - HALF)


def _tool_marks(marks: Field, pose: _Pose) -> Field:
    """Return this part's own concentric tool marks, (352, 352), from random `marks` along the radius."""
    fine = cv2.GaussianBlur(marks[None, :], (0, 0), 0.55 * _MARKS_PER_PX)[0]
    broad = cv2.GaussianBlur(marks[None, :], (0, 0), 3.0 * _MARKS_PER_PX)[0]
    profile = fine / fine.std() + 0.6 * broad / broad.std()
    x, y = _axis()[None, :] - np.float32(pose.x), _axis()[:, None] - np.float32(pose.y)
    radius = np.sqrt(x * x + y * y) * np.float32(_MARKS_PER_PX)
    seen: Field = (np.float32(_TURNING * 0.5) * profile.astype(np.float32))[radius.astype(np.int32)]
    return seen
