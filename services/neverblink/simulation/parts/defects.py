"""Defects that any part can have, drawn into a copy of the matter around them."""

from collections.abc import Sequence

import numpy as np

from neverblink.simulation.parts.light import REACH
from neverblink.simulation.parts.surface import (
    Material,
    Surface,
    clouds,
    disc,
    inside,
    path,
)

Point = tuple[float, float]

BELT = Material((0.15, 0.157, 0.17), rough=0.9, belt=1.0)


def copy_around(surface: Surface, points: Sequence[Point], extent: float) -> Surface:
    """Return a copy of the matter within `extent` of the points, with room to light it again."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return surface.around(
        (min(xs) + max(xs)) / 2,
        (min(ys) + max(ys)) / 2,
        (max(xs) - min(xs)) / 2 + extent + 2 * REACH,
        (max(ys) - min(ys)) / 2 + extent + 2 * REACH,
    ).copy()


def wander(
    rng: np.random.Generator, start: Point, heading: float, length: float, bend: float, jag: float
) -> list[Point]:
    """Return a line from `start`: `heading` and `bend` (over the whole length) in radians, `jag` per step."""
    steps = max(4, round(length / 5))
    angles = heading + bend * np.linspace(-0.5, 0.5, steps) + jag * rng.standard_normal(steps)
    xs = start[0] + np.cumsum(np.cos(angles)) * length / steps
    ys = start[1] + np.cumsum(np.sin(angles)) * length / steps
    return [start, *zip(xs.tolist(), ys.tolist(), strict=True)]


def scratch(
    surface: Surface,
    rng: np.random.Generator,
    points: Sequence[Point],
    raw: Material,
    below: float = np.inf,
) -> Surface:
    """Draw a scratch that lays `raw` matter open: a groove with raised lips, thinner at its ends.

    What stands higher than `below` is not touched.
    """
    width = rng.uniform(1.5, 2.1)
    patch = copy_around(surface, points, 4)
    distance = path(patch, points)
    start, end = points[0], points[-1]
    to_ends = np.minimum(np.hypot(patch.x - start[0], patch.y - start[1]), np.hypot(patch.x - end[0], patch.y - end[1]))
    half = np.float32(width) * np.clip(to_ends / 8, 0.3, 1)
    reached = patch.height < below
    cover = inside(distance - half) * reached
    patch.height += 0.5 * inside(distance - half - 1.0) * reached - 1.3 * cover
    patch.paint(cover, raw)
    return patch


def stain(
    surface: Surface,
    rng: np.random.Generator,
    where: Point,
    radius: float,
    factor: tuple[float, float, float],
    film: Material | None = None,
) -> Surface:
    """Draw a blot with a ragged, darker rim; `film` lies over it where given (a dried residue)."""
    patch = copy_around(surface, [where], radius * 1.6)
    u, v = patch.turned_to(where[0], where[1], rng.uniform(0, 180))
    v = v * np.float32(rng.uniform(1.0, 1.5))
    rough = clouds(rng, patch.height.shape, radius * 0.7, radius * 0.25)
    distance = disc(u, v, radius) + rough * np.float32(radius * 0.16)
    body = np.clip(0.5 - distance / 2.5, 0, 1)
    rim = np.exp(-((distance / 2.2) ** 2)) * np.float32(0.5)
    grain = np.clip(0.78 + 0.18 * rough, 0.4, 1)
    alpha = np.clip(body * grain + rim * body, 0, 1).astype(np.float32)
    patch.tint(alpha, factor)
    patch.turned *= 1 - 0.6 * alpha
    patch.rough += alpha * (0.9 - patch.rough) * np.float32(0.7)
    if film is not None:
        patch.paint(alpha * np.float32(0.85), film)
    return patch


def dent(surface: Surface, rng: np.random.Generator, where: Point, radius: float) -> Surface:
    """Draw a dent: a hollow with a pushed-up rim."""
    patch = copy_around(surface, [where], radius * 1.8)
    u, v = patch.turned_to(where[0], where[1], rng.uniform(0, 180))
    far = np.hypot(u, v * np.float32(rng.uniform(1.0, 1.35))) / np.float32(radius)
    hollow = np.maximum(1 - far * far, 0) ** 1.5
    rim = np.exp(-(((far - 1.08) / 0.2) ** 2))
    patch.height += (radius * (-0.55 * hollow + 0.07 * rim)).astype(np.float32)
    patch.turned *= 1 - 0.55 * np.clip(hollow * 2, 0, 1)
    return patch


def crack(
    surface: Surface,
    rng: np.random.Generator,
    start: Point,
    heading: float,
    length: float,
    deep: Material,
    below: float = np.inf,
) -> Surface:
    """Draw a crack: a jagged dark gap, with one branch, under everything higher than `below`."""
    trunk = wander(rng, start, heading, length, 0.3 * rng.uniform(-1, 1), 0.42)
    fork = trunk[len(trunk) // 2]
    side = heading + rng.choice((-1, 1)) * rng.uniform(0.5, 0.9)
    branch = wander(rng, fork, side, length * rng.uniform(0.25, 0.4), 0.0, 0.4)
    patch = copy_around(surface, [*trunk, *branch], 4)
    from_start = np.hypot(patch.x - start[0], patch.y - start[1]) / np.float32(length)
    width = np.float32(rng.uniform(1.3, 1.9)) * np.clip(1.1 - from_start, 0.4, 1)
    distance = np.minimum(path(patch, trunk) - width, path(patch, branch) - np.float32(0.7))
    reached = patch.height < below
    cover = inside(distance) * reached
    patch.height += 0.4 * inside(distance - 0.9) * reached - 3.0 * cover
    patch.paint(cover, deep)
    return patch


def bite(
    surface: Surface,
    rng: np.random.Generator,
    where: Point,
    radius: float,
    fracture: Material,
    ground: float = 0.0,
) -> Surface:
    """Break a piece out around `where`: the conveyor at height `ground` shows, a rough fracture edges it."""
    patch = copy_around(surface, [where], radius * 1.7)
    u, v = patch.turned_to(where[0], where[1], rng.uniform(0, 180))
    rough = clouds(rng, patch.height.shape, radius * 0.6, radius * 0.2, 3.0)
    distance = disc(u, v * np.float32(rng.uniform(0.85, 1.15)), radius) + rough * np.float32(radius * 0.12)
    present = 1 - np.clip(patch.belt, 0, 1)
    slope = np.clip(0.5 + distance / 3.5, 0, 1)
    edge = inside(distance - 3.0) * present
    fine = clouds(rng, patch.height.shape, 1.2)
    patch.level(edge, ground + (patch.height - ground) * slope + 0.5 * fine * slope)
    patch.paint(edge, fracture)
    gone = inside(distance + 1.2)
    patch.paint(gone, BELT)
    patch.level(gone, ground)
    return patch


def hair(surface: Surface, rng: np.random.Generator, where: Point, colour: tuple[float, float, float]) -> Surface:
    """Lay a hair or a fibre on the part: thin, curled, with a shadow of its own."""
    length, steps = rng.uniform(55, 95), 22
    curl = rng.choice((-1, 1)) * rng.uniform(1.0, 3.2) * np.linspace(-0.5, 0.5, steps)
    waves = rng.uniform(0.25, 0.6) * np.sin(np.linspace(0, rng.uniform(4, 9), steps) + rng.uniform(0, 6))
    angles = rng.uniform(0, 2 * np.pi) + curl + waves
    xs, ys = np.cumsum(np.cos(angles)) * length / steps, np.cumsum(np.sin(angles)) * length / steps
    xs, ys = xs - xs.mean() + where[0], ys - ys.mean() + where[1]
    points = list(zip(xs.tolist(), ys.tolist(), strict=True))
    patch = copy_around(surface, points, 4)
    cover = inside(path(patch, points) - np.float32(rng.uniform(0.75, 1.05)))
    patch.height += 2.2 * cover
    patch.paint(cover, Material(colour, rough=0.5))
    return patch


def swarf(surface: Surface, rng: np.random.Generator, where: Point, size: float, metal: Material) -> Surface:
    """Drop a turning on the part: a coil of thin, shining ribbon, `size` long."""
    heading, loops = rng.uniform(0, 2 * np.pi), rng.uniform(1.6, 2.8)
    turn = np.linspace(0, 2 * np.pi * loops, 36) * rng.choice((-1, 1)) + rng.uniform(0, 6)
    wide = size * rng.uniform(0.24, 0.34)
    along = np.linspace(-0.5, 0.5, turn.size) * size * 0.8 + wide * np.cos(turn)
    aside = wide * np.sin(turn) * np.linspace(0.75, 1.1, turn.size)
    xs = where[0] + along * np.cos(heading) - aside * np.sin(heading)
    ys = where[1] + along * np.sin(heading) + aside * np.cos(heading)
    points = list(zip(xs.tolist(), ys.tolist(), strict=True))
    patch = copy_around(surface, points, 5)
    half = np.float32(rng.uniform(1.4, 1.9))
    distance = path(patch, points)
    cover = inside(distance - half)
    arch = np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1))
    patch.height += cover * (1.6 + 1.5 * arch)
    patch.paint(cover, metal)
    return patch


def plug(
    surface: Surface, rng: np.random.Generator, where: Point, radius: float, top: float, filling: Material
) -> Surface:
    """Fill a hole with lumps of some `filling` up to just below the height `top`."""
    patch = copy_around(surface, [where], radius + 3)
    u, v = patch.turned_to(where[0], where[1], 0)
    cover = inside(disc(u, v, radius + 0.6))
    lumps = clouds(rng, patch.height.shape, radius * 0.5, 1.6)
    patch.level(cover, top - 1.6 + 0.6 * lumps)
    patch.paint(cover, filling)
    shade = float(rng.uniform(0.55, 0.8))
    patch.tint(cover * np.clip(0.5 + 0.4 * lumps, 0, 1), (shade, shade, shade))
    return patch
