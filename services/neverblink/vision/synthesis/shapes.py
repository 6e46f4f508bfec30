"""Soft shapes and textures that defects are made of: strokes, blobs, noise, light on a relief."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""(n, n) float32, mostly between 0 and 1."""

Points = npt.NDArray[np.float64]
"""(k, 2) of x and y in pixels."""

_SHIFT = 4
_MOST_SUPERSAMPLED = 2048
"""Strokes are drawn four times as fine and averaged, as far as that drawing has no more rows than this."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A path with a width and a strength (0 to 1) at each of its points."""

    points: Points
    widths: npt.NDArray[np.float64]
    strengths: npt.NDArray[np.float64]


def blurred(field: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Blur a field or an image by a Gaussian; a sigma below a tenth of a pixel does nothing."""
    if sigma < 0.1:
        return field
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)


def noise(random: np.random.Generator, side: int, grain: float, *, octaves: int = 4) -> Field:
    """Return (side, side) fractal noise between 0 and 1 whose largest blotches measure `grain` pixels."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        cells = max(2, min(side, math.ceil(side * 2**octave / max(grain, 1.0)) + 1))
        coarse = random.random((cells, cells), dtype=np.float32)
        total += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), dtype=np.float32)


def noise_along(random: np.random.Generator, count: int, knots: int) -> npt.NDArray[np.float64]:
    """Return `count` numbers between 0 and 1 that change smoothly between `knots` random ones."""
    return np.interp(np.linspace(0, 1, count), np.linspace(0, 1, knots), random.random(knots))


def drawn(strokes: Sequence[Stroke], side: int) -> Field:
    """Draw strokes with anti-aliased edges; where they cross, the later one lies on top."""
    finer = max(1, min(4, _MOST_SUPERSAMPLED // side))
    canvas = np.zeros((side * finer, side * finer), np.uint8)
    for stroke in strokes:
        fixed = np.rint(((stroke.points + 0.5) * finer - 0.5) * (1 << _SHIFT)).astype(int)
        for start, end, width, strength in zip(fixed[:-1], fixed[1:], stroke.widths, stroke.strengths, strict=False):
            thick = max(1, round(float(width) * finer))
            value = round(255 * float(np.clip(strength, 0, 1)))
            cv2.line(canvas, start.tolist(), end.tolist(), value, thick, cv2.LINE_AA, _SHIFT)
    return np.asarray(
        cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA) / np.float32(255), dtype=np.float32
    )


def blob(random: np.random.Generator, side: int, size: float, *, roughness: float, soft: float = 1.0) -> Field:
    """Return an irregular blob in the middle of the canvas, as long as `size`, with an edge `soft` pixels wide."""
    angles = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    radius = np.ones_like(angles)
    for wave in range(2, 9):
        radius += roughness / wave * random.normal() * np.cos(wave * angles + random.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.35, None)
    outline = np.stack([radius * np.cos(angles), radius * np.sin(angles) * random.uniform(0.7, 1)], axis=1)
    spread = outline[:, None] - outline[None]
    # The soft edge lies within the size.
    outline *= max(size - soft, size / 2) / float(np.sqrt((spread**2).sum(axis=2)).max())
    outline = turned(outline - (outline.max(axis=0) + outline.min(axis=0)) / 2, random.uniform(0, 2 * np.pi))
    return blurred(filled(outline + side / 2, side), soft / 2)


def filled(outline: Points, side: int) -> Field:
    """Fill an outline with anti-aliased edges."""
    finer = max(1, min(4, _MOST_SUPERSAMPLED // side))
    canvas = np.zeros((side * finer, side * finer), np.uint8)
    fixed = np.rint(((outline + 0.5) * finer - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_AA, _SHIFT)
    return np.asarray(
        cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA) / np.float32(255), dtype=np.float32
    )


def turned(points: Points, angle: float) -> Points:
    """Turn points about the origin by an angle in radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]), dtype=np.float64)


def shading(height: Field, light: float) -> Field:
    """Return how much brighter (+) and darker (−) a low relief looks, at most 1 either way.

    `light` is the direction that the light comes from, in radians: 0 is the right, a quarter turn the top. A slope
    that faces it is bright.
    """
    down = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3)
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3)
    facing = -(across * math.cos(light) - down * math.sin(light))
    return np.asarray(facing / max(float(np.abs(facing).max()), 1e-6), dtype=np.float32)


def straight(random: np.random.Generator, length: float, angle: float, *, bend: float, jitter: float) -> Points:
    """Return a path through the origin: an arc that leaves its chord by `bend` of the length, with a small jitter."""
    count = max(8, min(400, round(length / 2)))
    along = np.linspace(-0.5, 0.5, count)
    aside = bend * (0.25 - along**2) * 4 - bend / 2
    if jitter:
        aside = aside + jitter * (noise_along(random, count, max(4, count // 6)) - 0.5)
    return turned(np.stack([along * length, aside * length], axis=1), angle)


def jagged(random: np.random.Generator, length: float, angle: float) -> Points:
    """Return the path of a crack through the origin: it wanders on every scale and comes out `length` long."""
    points = np.array([[-0.5, 0.0], [0.5, 0.0]])
    roughness = 0.16
    while len(points) < min(257, max(9, length / 1.5)):
        middle = (points[:-1] + points[1:]) / 2
        step = points[1:] - points[:-1]
        across = np.stack([-step[:, 1], step[:, 0]], axis=1)
        middle = middle + across * random.normal(0, roughness, (len(middle), 1))
        points = np.insert(points, range(1, len(points)), middle, axis=0)
        roughness = 0.2
    return turned(points * length, angle)
