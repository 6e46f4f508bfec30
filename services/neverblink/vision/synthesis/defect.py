"""A defect of a kind on an image of a good part: where it goes, how large it is, and which pixels it changed."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import Image
from neverblink.vision.errors import VisionError
from neverblink.vision.region import Mask
from neverblink.vision.synthesis.kinds import DRAW, Canvas, Colour
from neverblink.vision.synthesis.policy import TAXONOMY, DefectClass, Kind, Lengths, Lines, Policy, Ranges, Specks

VISIBLE = 3
"""Grey levels, in any channel, from which on a pixel counts as changed; what changed less is put back."""

_FEWEST = 4
_ATTEMPTS = 12
_GUESSES = 64
"""Pixels tried at random before all that qualify are listed: of a 64-megapixel image that list takes 512 MB."""

_FINISH_AT_EDGE = 0.5

_MOST_PIXELS_LOST = 0.9
"""Share of a defect that may fall outside the region before another place is tried."""


class SynthesisError(VisionError):
    """A defect that cannot be drawn as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of the picture.

    `region` is the (H, W) part that defects stay on, None for all of the image. `light` is the direction that light
    comes from, in degrees: 0 is the right, 90 the top. `scale` is millimetres a pixel. `foreign` are (h, w, 3) uint8
    images that foreign objects are cut from.
    """

    region: Mask | None = None
    light: float = 135.0
    scale: float | None = None
    foreign: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Synthetic:
    """The (H, W, 3) uint8 image with its defect, and the (H, W) mask of every pixel that differs."""

    image: Image
    mask: Mask
    kind: Kind
    taxonomy: DefectClass


def synthesise(
    image: Image, kind: Kind, random: np.random.Generator, *, policy: Policy | None = None, scene: Scene | None = None
) -> Synthetic:
    """Draw a defect on an (H, W, 3) uint8 image; the same generator state gives the same pixels.

    Outside the mask the image is as it was. Raises SynthesisError.
    """
    policy, scene = policy or Policy(), scene or Scene()
    if kind not in DRAW:
        raise SynthesisError(f"there is no kind of defect {kind!r}; the kinds are {', '.join(DRAW)}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape) < 1:
        raise SynthesisError(f"an image is (height, width, 3) uint8, not {image.shape} {image.dtype}")
    ranges = policy.of(kind)
    if not policy.states(kind):
        raise SynthesisError(f"the policy's lengths are in {policy.unit} and it does not say how large a {kind} is")
    pixel = _lengths_in_pixels(policy, scene, image)
    _check(kind, ranges, pixel, scene, image)
    places = _Places(scene.region, image, kind)
    for _ in range(_ATTEMPTS):
        drawn = _with_defects(image, kind, ranges, pixel, scene, places, random)
        difference = np.abs(drawn.astype(np.int16) - image).max(axis=2)
        # Single pixels inside a defect may come out nearly as they were; they belong to it all the same.
        visible = (difference >= VISIBLE).astype(np.uint8)
        closed = cv2.morphologyEx(visible, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
        mask = np.asarray(closed & (difference > 0), dtype=np.bool_)
        if mask.sum() >= _FEWEST and (difference >= VISIBLE).any():
            return Synthetic(np.where(mask[..., None], drawn, image), mask, kind, TAXONOMY[kind])
    raise SynthesisError(f"a {kind} cannot be seen on this image: raise its contrast or size, or enlarge the region")


def _with_defects(
    image: Image,
    kind: Kind,
    ranges: Ranges,
    pixel: float,
    scene: Scene,
    places: "_Places",
    random: np.random.Generator,
) -> Image:
    drawn = image.copy()
    # Tools miss a part's rim more often than its middle.
    at_edge = kind == "edge-break" or (kind == "finish" and random.random() < _FINISH_AT_EDGE)
    cluster = places.near_edge(random) if at_edge else places.anywhere(random, 0.25 * ranges.size[1] * pixel)
    for number in range(int(random.integers(ranges.count[0], ranges.count[1] + 1))):
        size = _between(random, ranges.size) * pixel
        if isinstance(ranges, Specks):
            spread = _between(random, ranges.spread) * pixel
            centre = places.around(random, cluster, spread / 4)
        elif number == 0:
            centre = cluster
        else:
            centre = places.near_edge(random) if at_edge else places.anywhere(random, size / 4)
        for _ in range(_ATTEMPTS):
            if _draw_one(drawn, centre, kind, ranges, size, pixel, scene, places, random):
                break
            centre = places.near_edge(random) if at_edge else places.anywhere(random, size / 4)
    return drawn


def _draw_one(
    image: Image,
    centre: tuple[int, int],
    kind: Kind,
    ranges: Ranges,
    size: float,
    pixel: float,
    scene: Scene,
    places: "_Places",
    random: np.random.Generator,
) -> bool:
    """Draw one defect around (row, column) in place; False, with nothing drawn, where too little lies on the part."""
    reach = math.ceil(size * (1.1 if kind in ("misplacement", "finish") else 0.7)) + 8
    window, before = _window(image, centre, reach)
    canvas = Canvas(
        pixels=before.astype(np.float32),
        ranges=ranges,
        size=size,
        width=_between(random, ranges.width) * pixel if isinstance(ranges, Lines) else 0.0,
        contrast=_between(random, ranges.contrast),
        light=math.radians(scene.light),
        random=random,
        background=places.background(centre, reach),
        foreign=scene.foreign,
    )
    after = np.clip(np.rint(DRAW[kind](canvas)), 0, 255).astype(np.uint8)
    rows, columns = window
    top, left = centre[0] - reach, centre[1] - reach
    inner = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    part = True if scene.region is None else scene.region[window]
    changed = np.abs(after.astype(np.int16) - before).max(axis=2) >= VISIBLE
    kept = int((changed[inner] & part).sum())
    if kept < _FEWEST or kept < (1 - _MOST_PIXELS_LOST) * int(changed.sum()):
        return False
    image[window] = np.where(np.broadcast_to(part, changed[inner].shape)[..., None], after[inner], image[window])
    return True


def _window(image: Image, centre: tuple[int, int], reach: int) -> tuple[tuple[slice, slice], Image]:
    """Return the part of the image around a pixel as slices, and as a square that is mirrored beyond the border."""
    spans = [(middle - reach, middle + reach + 1) for middle in centre]
    window = tuple(slice(max(0, low), min(high, end)) for (low, high), end in zip(spans, image.shape, strict=False))
    beyond = [(max(0, -low), max(0, high - end)) for (low, high), end in zip(spans, image.shape, strict=False)]
    return (window[0], window[1]), np.pad(image[window], [*beyond, (0, 0)], mode="symmetric")


class _Places:
    """Where on the part defects may go: by the distance of its pixels from its edge."""

    def __init__(self, region: Mask | None, image: Image, kind: Kind) -> None:
        height, width = image.shape[:2]
        if region is not None and (region.shape != (height, width) or region.dtype != np.bool_):
            raise SynthesisError(
                f"the region is {region.shape} {region.dtype}, the image needs ({height}, {width}) bool"
            )
        if region is not None and not region.any():
            raise SynthesisError("the region is empty: no pixel of the image is in it")
        self._region, self._image = region, image
        inside = np.ones((height, width), np.uint8) if region is None else region.astype(np.uint8)
        padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        self._depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        if kind == "edge-break" and region is not None:
            # Where the part leaves the picture it has no edge that could break.
            padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
            within = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
            self._edge = np.flatnonzero((within > 0) & (within < 2))
        else:
            self._edge = np.flatnonzero((self._depth > 0) & (self._depth < 2))
        if not len(self._edge):
            self._edge = np.flatnonzero((self._depth > 0) & (self._depth < 2))

    def anywhere(self, random: np.random.Generator, depth: float) -> tuple[int, int]:
        """Return (row, column) of a pixel that lies so deep in the part, or as deep as its thickness allows."""
        depth = min(depth, 0.7 * float(self._depth.max()))
        for row, column in random.integers((0, 0), self._depth.shape, (_GUESSES, 2)).tolist():
            if self._depth[row, column] >= max(depth, 1e-6):
                return row, column
        return self._one_of(np.flatnonzero(self._depth >= max(depth, 1e-6)), random)

    def near_edge(self, random: np.random.Generator) -> tuple[int, int]:
        """Return a pixel at the part's edge; where it fills the picture, at the picture's."""
        return self._one_of(self._edge, random)

    def around(self, random: np.random.Generator, centre: tuple[int, int], sigma: float) -> tuple[int, int]:
        """Return a pixel of the part at a normal distance from another."""
        row, column = (round(middle + sigma * random.normal()) for middle in centre)
        height, width = self._depth.shape
        if 0 <= row < height and 0 <= column < width and self._depth[row, column] > 0:
            return row, column
        return self.anywhere(random, 1)

    def background(self, centre: tuple[int, int], reach: int) -> Colour | None:
        """Return the median colour of what is near and not the part; None where all is."""
        if self._region is None:
            return None
        window, _ = _window(self._image, centre, reach)
        beyond = self._image[window][~self._region[window]]
        return np.asarray(np.median(beyond, axis=0), dtype=np.float32) if len(beyond) else None

    def _one_of(self, pixels: npt.NDArray[np.intp], random: np.random.Generator) -> tuple[int, int]:
        row, column = divmod(int(pixels[int(random.integers(len(pixels)))]), self._depth.shape[1])
        return row, column


def _between(random: np.random.Generator, span: tuple[float, float]) -> float:
    return float(random.uniform(*span))


def _lengths_in_pixels(policy: Policy, scene: Scene, image: Image) -> float:
    """Return how many pixels the policy's unit of length is."""
    if scene.scale is not None and not (math.isfinite(scene.scale) and scene.scale > 0):
        raise SynthesisError(f"a scale is more than 0 mm per pixel, not {scene.scale}")
    if policy.unit == "mm":
        if scene.scale is None:
            raise SynthesisError("the policy's lengths are in mm: say how many mm a pixel is (--scale)")
        return 1 / scene.scale
    return 1.0 if policy.unit == "px" else float(min(image.shape[:2]))


def _check(kind: Kind, ranges: Ranges, pixel: float, scene: Scene, image: Image) -> None:
    height, width = image.shape[:2]
    if not math.isfinite(scene.light):
        raise SynthesisError(f"the light comes from a direction in degrees, not {scene.light}")
    lengths: list[tuple[str, Lengths]] = [("size", ranges.size)]
    if isinstance(ranges, Specks):
        lengths.append(("spread", ranges.spread))
    for name, span in lengths:
        low, high = span[0] * pixel, span[1] * pixel
        if high > max(height, width):
            raise SynthesisError(f"{kind}: a {name} of {high:.0f} px is more than the image's {width} × {height} px")
        if high < 1:
            raise SynthesisError(f"{kind}: a {name} of {low:.2f} to {high:.2f} px is less than a pixel")
