"""The sheet-metal bracket: an L with holes and a slot, on a conveyor that holds it in no place: it lies as it fell."""

import numpy as np

from neverblink.simulation.parts import defects
from neverblink.simulation.parts.defects import BELT, Point
from neverblink.simulation.parts.drawing import HALF, MARGIN, DefectType, ProductDrawing
from neverblink.simulation.parts.surface import Field, Material, Surface, box, clouds, disc, inside, lettering

PLATE = 6.0
ARM, LEG = (0.0, 32.0, 104.0, 34.0), (-68.0, -34.0, 36.0, 78.0)
"""x, y, half width and half height of the L's two rectangles."""

HOLES: tuple[tuple[Point, float], ...] = (((-68.0, -78.0), 13.0), ((-68.0, 32.0), 10.0), ((78.0, 32.0), 13.0))
SLOT = (12.0, 32.0, 26.0, 8.0)

STEEL = Material((0.60, 0.61, 0.63), metal=0.55, rough=0.75)
CUT = Material((0.80, 0.80, 0.80), metal=0.9, rough=0.4)
INK = Material((0.08, 0.08, 0.09), rough=0.8)
GASH = Material((0.95, 0.95, 0.93), metal=0.8, rough=0.7)
DEBRIS = Material((0.50, 0.40, 0.28), metal=0.1, rough=0.9)
TORN = Material((0.35, 0.34, 0.33), metal=0.3, rough=0.9)


def build() -> Surface:
    """Return the matter of a good bracket on the conveyor."""
    rng = np.random.default_rng(40)
    surface = Surface.blank(HALF + MARGIN, HALF + MARGIN, BELT)
    outline = _outline(surface)
    body = inside(outline)
    surface.paint(body, STEEL)
    surface.level(body, PLATE - np.clip(outline + 2.5, 0, 2.5))
    surface.paint(inside(np.abs(outline + 1.2) - 1.2), CUT)
    for (x, y), radius in HOLES:
        u, v = surface.turned_to(x, y, 0)
        _through(surface, disc(u, v, radius))
    x, y, half_width, half_height = SLOT
    u, v = surface.turned_to(x, y, 0)
    _through(surface, box(u, v, half_width, half_height, half_height))
    for text, where, degrees in (("B-40", (-68.0, -24.0), -90.0), ("OK 7", (52.0, 54.0), 0.0)):
        local = surface.around(*where, 34)
        local.paint(lettering(local, text, *where, 11.0, degrees), INK)
    surface.colour *= 1 + 0.015 * clouds(rng, surface.height.shape, 1.5, 10.0, 36.0)[..., None]
    return surface


def _outline(surface: Surface) -> Field:
    """Return the signed distance to the L."""
    parts = []
    for x, y, half_width, half_height in (ARM, LEG):
        u, v = surface.turned_to(x, y, 0)
        parts.append(box(u, v, half_width, half_height, 7.0))
    return np.minimum(*parts)


def _through(surface: Surface, distance: Field) -> None:
    surface.paint(inside(distance - 1.5), CUT)
    through = inside(distance)
    surface.paint(through, BELT)
    surface.tint(through * np.clip(1 + distance / 6, 0, 1), (0.6, 0.6, 0.6))
    surface.level(through, 0.0)


def _on_plate(rng: np.random.Generator, room: float) -> Point:
    """Return a point on the plate, `room` away from its edge, and beside its holes."""
    while True:
        x, y, half_width, half_height = (ARM, LEG)[rng.integers(2)]
        u, v = rng.uniform(-1, 1, 2)
        point = x + float(u) * (half_width - room), y + float(v) * (half_height - room)
        free = all(np.hypot(point[0] - at[0], point[1] - at[1]) > radius + room for at, radius in HOLES)
        if free and abs(point[0] - SLOT[0]) + abs(point[1] - SLOT[1]) > SLOT[2] + room / 2:
            return point


def _scratch(clean: Surface, rng: np.random.Generator) -> Surface:
    start = _on_plate(rng, 10)
    heading = rng.uniform(0, 2 * np.pi)
    points = defects.wander(rng, start, heading, rng.uniform(40, 70), rng.uniform(-0.5, 0.5), 0.04)
    return defects.scratch(clean, rng, [_pulled_in(point) for point in points], GASH)


def _pulled_in(point: Point) -> Point:
    """Return the nearest point on the L, some way from its edge."""
    near = []
    for x, y, half_width, half_height in (ARM, LEG):
        near.append(
            (
                float(np.clip(point[0], x - half_width + 6, x + half_width - 6)),
                float(np.clip(point[1], y - half_height + 6, y + half_height - 6)),
            )
        )
    return min(near, key=lambda one: float(np.hypot(one[0] - point[0], one[1] - point[1])))


def _stain(clean: Surface, rng: np.random.Generator) -> Surface:
    factor = ((0.62, 0.40, 0.24), (0.48, 0.42, 0.36))[rng.integers(2)]
    return defects.stain(clean, rng, _on_plate(rng, 14), rng.uniform(9, 15), factor)


def _torn(clean: Surface, rng: np.random.Generator) -> Surface:
    corner = ((100.0, -2.0), (100.0, 62.0), (-100.0, 62.0), (-100.0, -108.0), (-36.0, -108.0))[rng.integers(5)]
    return defects.bite(clean, rng, corner, rng.uniform(11, 18), TORN)


def _blocked(clean: Surface, rng: np.random.Generator) -> Surface:
    where, radius = HOLES[rng.integers(len(HOLES))]
    return defects.plug(clean, rng, where, radius, PLATE, DEBRIS)


def _fibre(clean: Surface, rng: np.random.Generator) -> Surface:
    colour = ((0.03, 0.03, 0.035), (0.05, 0.16, 0.55), (0.70, 0.12, 0.08))[rng.integers(3)]
    return defects.hair(clean, rng, _on_plate(rng, 12), colour)


BRACKET = ProductDrawing(
    name="bracket",
    title="Stamped bracket, lying on a conveyor as it fell",
    shift_px=20.0,
    turn_degrees=180.0,
    build=build,
    defects=(
        DefectType("scratch", "surface", "a scratch", _scratch),
        DefectType("stain", "surface", "rust or a stain of oil", _stain),
        DefectType("torn_corner", "structural", "a corner torn off", _torn),
        DefectType("blocked_hole", "structural", "a hole filled with debris", _blocked),
        DefectType("fibre", "foreign-object", "a fibre lying on the part", _fibre),
    ),
)
"""The light that falls on it turns with it: a part is lit once, and turned then."""
