"""The matter of a simulated part: colour, metal, roughness and height, drawn with signed distances."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""A float32 field over the drawing's pixels, (h, w), or (h, w, 3) for colour."""

SCALE = 2
"""Drawing pixels per image pixel: drawn finer, then averaged, so that edges are smooth."""


@dataclass(frozen=True)
class Material:
    """What something is made of. `colour` is linear reflectance (R, G, B), the rest are shares of one."""

    colour: tuple[float, float, float]
    metal: float = 0.0
    rough: float = 0.6
    turned: float = 0.0
    belt: float = 0.0


@dataclass
class Surface:
    """A rectangle of matter under the camera. Lengths are image pixels from the image's centre, y down.

    All fields are (h, w) float32, `colour` is (h, w, 3). `height` is in image pixels towards the camera;
    `turned` is the share of concentric tool marks around the centre; `belt` the share of bare conveyor.
    """

    left: float
    top: float
    colour: Field
    metal: Field
    rough: Field
    turned: Field
    belt: Field
    height: Field

    @classmethod
    def blank(cls, half_width: float, half_height: float, material: Material) -> Self:
        """Return a flat surface of one material, centred."""
        h, w = round(2 * half_height * SCALE), round(2 * half_width * SCALE)

        def full(value: float) -> Field:
            return np.full((h, w), value, np.float32)

        return cls(
            left=-half_width,
            top=-half_height,
            colour=np.broadcast_to(np.array(material.colour, np.float32), (h, w, 3)).copy(),
            metal=full(material.metal),
            rough=full(material.rough),
            turned=full(material.turned),
            belt=full(material.belt),
            height=full(0.0),
        )

    @property
    def x(self) -> Field:
        """Each column's x, (1, w)."""
        return (np.arange(self.height.shape[1], dtype=np.float32)[None, :] + 0.5) / SCALE + self.left

    @property
    def y(self) -> Field:
        """Each row's y, (h, 1)."""
        return (np.arange(self.height.shape[0], dtype=np.float32)[:, None] + 0.5) / SCALE + self.top

    def rows_columns(self, x: float, y: float, half_width: float, half_height: float) -> tuple[slice, slice]:
        """Return the array slices of the rectangle around (x, y), cut at this surface's border."""
        h, w = self.height.shape

        def span(low: float, high: float, size: int) -> slice:
            start = min(max(int(np.floor(low * SCALE)), 0), size - 1)
            return slice(start, min(max(int(np.ceil(high * SCALE)), start + 1), size))

        return (
            span(y - half_height - self.top, y + half_height - self.top, h),
            span(x - half_width - self.left, x + half_width - self.left, w),
        )

    def around(self, x: float, y: float, half_width: float, half_height: float | None = None) -> "Surface":
        """Return the rectangle around (x, y) as a view: drawing on it draws on this surface."""
        rows, columns = self.rows_columns(x, y, half_width, half_width if half_height is None else half_height)
        arrays = {f.name: getattr(self, f.name)[rows, columns] for f in fields(self)[2:]}
        return Surface(left=self.left + columns.start / SCALE, top=self.top + rows.start / SCALE, **arrays)

    def copy(self) -> "Surface":
        """Return an independent copy."""
        arrays = {f.name: getattr(self, f.name).copy() for f in fields(self)[2:]}
        return Surface(left=self.left, top=self.top, **arrays)

    def paint(self, alpha: Field, material: Material) -> None:
        """Cover with a material where `alpha` (h, w), 0 to 1, says so; the height stays."""
        self.colour += alpha[..., None] * (np.array(material.colour, np.float32) - self.colour)
        for name in ("metal", "rough", "turned", "belt"):
            field: Field = getattr(self, name)
            field += alpha * (np.float32(getattr(material, name)) - field)

    def tint(self, alpha: Field, factor: tuple[float, float, float]) -> None:
        """Multiply the colour where `alpha` (h, w) says so."""
        self.colour *= 1 + alpha[..., None] * (np.array(factor, np.float32) - 1)

    def level(self, alpha: Field, height: Field | float) -> None:
        """Bring the height to `height` where `alpha` says so."""
        self.height += alpha * (np.asarray(height, np.float32) - self.height)

    def take(self, alpha: Field, other: "Surface") -> None:
        """Replace by the same place of another surface where `alpha` says so."""
        self.colour += alpha[..., None] * (other.colour - self.colour)
        for name in ("metal", "rough", "turned", "belt", "height"):
            field: Field = getattr(self, name)
            field += alpha * (getattr(other, name) - field)

    def turned_to(self, x: float, y: float, degrees: float) -> tuple[Field, Field]:
        """Return the coordinates (u, v), both (h, w), of a frame at (x, y) turned clockwise by `degrees`."""
        cos, sin = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
        dx, dy = self.x - np.float32(x), self.y - np.float32(y)
        return dx * cos + dy * sin, dy * cos - dx * sin


def inside(distance: Field) -> Field:
    """Return the anti-aliased coverage, 0 to 1, of a signed distance in image pixels."""
    covered: Field = np.clip(0.5 - distance * SCALE, 0, 1)
    return covered


def disc(u: Field, v: Field, radius: float) -> Field:
    """Return the signed distance to a circle around the origin."""
    return np.hypot(u, v) - np.float32(radius)


def box(u: Field, v: Field, half_width: float, half_height: float, corner: float = 0.0) -> Field:
    """Return the signed distance to a rectangle with rounded corners around the origin."""
    qx = np.abs(u) - np.float32(half_width - corner)
    qy = np.abs(v) - np.float32(half_height - corner)
    outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    return outside + np.minimum(np.maximum(qx, qy), 0) - np.float32(corner)


def path(surface: Surface, points: Sequence[tuple[float, float]], room: float = 10.0) -> Field:
    """Return the distance to a chain of straight pieces, (h, w); true up to `room`, larger beyond."""
    if len(points) < 2:
        raise ValueError("a path needs at least two points")
    corners = np.array(points, np.float32)
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2 + room
    rows, columns = surface.rows_columns(middle[0], middle[1], half[0], half[1])
    x, y = surface.x[:, columns], surface.y[rows]
    nearest = np.full((y.shape[0], x.shape[1]), np.inf, np.float32)
    for (ax, ay), (dx, dy) in zip(corners[:-1], np.diff(corners, axis=0), strict=True):
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, np.float32(1e-6)), 0, 1)
        across_x, across_y = x - ax - along * dx, y - ay - along * dy
        np.minimum(nearest, across_x * across_x + across_y * across_y, out=nearest)
    distance = np.full(surface.height.shape, 1e3, np.float32)
    distance[rows, columns] = np.sqrt(nearest)
    return distance


def lettering(surface: Surface, text: str, x: float, y: float, size: float, degrees: float = 0.0) -> Field:
    """Return the coverage of printed text, capital height `size`, centred at (x, y), as (h, w)."""
    font, fine = cv2.FONT_HERSHEY_SIMPLEX, 4
    factor = size * fine / 21.0
    thickness = max(1, round(size * fine / 8))
    (width, height), base = cv2.getTextSize(text, font, factor, thickness)
    stamp = np.zeros((height + 2 * base + 4, width + 8), np.uint8)
    cv2.putText(stamp, text, (4, height + base // 2 + 2), font, factor, 255, thickness, cv2.LINE_AA)
    u, v = surface.turned_to(x, y, degrees)
    columns = (u * fine + stamp.shape[1] / 2).astype(np.float32)
    rows = (v * fine + (height + base + 4) / 2).astype(np.float32)
    blurred = cv2.GaussianBlur(stamp, (0, 0), fine / SCALE / 2)
    return np.asarray(cv2.remap(blurred, columns, rows, cv2.INTER_LINEAR), np.float32) / 255


def clouds(rng: np.random.Generator, shape: tuple[int, int], *sizes: float) -> Field:
    """Return smooth random structure of about unit spread; `sizes` are its grain sizes in image pixels."""
    total = np.zeros(shape, np.float32)
    for size in sizes:
        cell = max(size * SCALE, 1.0)
        grid = (int(shape[0] / cell) + 3, int(shape[1] / cell) + 3)
        coarse = rng.standard_normal(grid, np.float32)
        large = cv2.resize(coarse, (round(grid[1] * cell), round(grid[0] * cell)), interpolation=cv2.INTER_CUBIC)
        y, x = rng.integers(0, large.shape[0] - shape[0] + 1), rng.integers(0, large.shape[1] - shape[1] + 1)
        total += large[y : y + shape[0], x : x + shape[1]]
    return total * np.float32(1.2 / np.sqrt(len(sizes)))
