"""The machined disc: turned friction face, cross-drilled holes, hat with bore and bolt holes, chamfers."""

import numpy as np

from neverblink.simulation.parts import defects
from neverblink.simulation.parts.defects import BELT, Point
from neverblink.simulation.parts.drawing import HALF, MARGIN, DefectType, ProductDrawing
from neverblink.simulation.parts.surface import (
    Field,
    Material,
    Surface,
    clouds,
    disc,
    inside,
    lettering,
)

OUTER, HAT, BORE = 142.0, 82.0, 31.0
FACE_HEIGHT, HAT_HEIGHT = 8.0, 13.0
BOLTS: tuple[Point, ...] = tuple(
    (57 * float(np.cos(a)), 57 * float(np.sin(a))) for a in np.radians(np.arange(5) * 72 - 90)
)
BOLT_RADIUS = 8.5
DRILLED: tuple[Point, ...] = tuple(
    (r * float(np.cos(a)), r * float(np.sin(a)))
    for start, r in ((0.0, 98.0), (8.0, 112.0), (16.0, 126.0))
    for a in np.radians(np.arange(12) * 30 + start)
)
DRILLED_RADIUS = 3.6

FACE = Material((0.66, 0.67, 0.68), metal=1.0, rough=0.45, turned=1.0)
HUB = Material((0.54, 0.55, 0.57), metal=0.9, rough=0.6, turned=0.55)
CUT = Material((0.86, 0.86, 0.86), metal=1.0, rough=0.3)
MARK = Material((0.12, 0.115, 0.11), rough=0.8)
GASH = Material((0.97, 0.97, 0.95), metal=0.8, rough=0.7)
DEEP = Material((0.03, 0.03, 0.03), rough=1.0)
DEBRIS = Material((0.52, 0.49, 0.43), metal=0.2, rough=0.85)
CAST = Material((0.33, 0.32, 0.31), metal=0.25, rough=0.9)


def build() -> Surface:
    """Return the matter of a good disc on the conveyor."""
    rng = np.random.default_rng(20)
    surface = Surface.blank(HALF + MARGIN, HALF + MARGIN, BELT)
    u, v = surface.turned_to(0, 0, 0)
    radius = np.hypot(u, v)

    body = inside(disc(u, v, OUTER))
    surface.paint(body, FACE)
    surface.level(body, FACE_HEIGHT - np.clip(radius - (OUTER - 3.5), 0, 3.5))
    surface.paint(_ring(radius, OUTER - 3.5, OUTER), CUT)

    hat = inside(disc(u, v, HAT))
    surface.paint(hat, HUB)
    surface.level(hat, HAT_HEIGHT - np.clip(radius - (HAT - 3), 0, 3) * 1.2)
    surface.paint(_ring(radius, HAT - 3, HAT), CUT)
    groove = _ring(radius, HAT, HAT + 3.0)
    surface.level(groove, FACE_HEIGHT - 1.5)
    surface.tint(groove, (0.45, 0.45, 0.45))
    surface.level(_ring(radius, 41.0, 43.0), HAT_HEIGHT - 0.8)

    for text, degrees in (("NB-280", -54.0), ("LOT 4117", 90.0)):
        at = 63 * float(np.cos(np.radians(degrees))), 63 * float(np.sin(np.radians(degrees)))
        local = surface.around(*at, 32)
        local.paint(lettering(local, text, *at, 6.5, degrees + (90 if degrees < 0 else -90)), MARK)

    _hole(surface, (0.0, 0.0), BORE, chamfer=4.0)
    for bolt in BOLTS:
        _hole(surface, bolt, BOLT_RADIUS, chamfer=2.6)
    for drilled in DRILLED:
        _hole(surface, drilled, DRILLED_RADIUS, chamfer=1.2)
    surface.colour *= 1 + 0.012 * clouds(rng, surface.height.shape, 1.5, 12.0, 40.0)[..., None]
    return surface


def _ring(radius: Field, inner: float, outer: float) -> Field:
    return inside(np.maximum(inner - radius, radius - outer))


def _hole(surface: Surface, where: Point, radius: float, chamfer: float) -> None:
    local = surface.around(*where, radius + chamfer + 4)
    u, v = local.turned_to(*where, 0)
    distance = disc(u, v, radius)
    cone = inside(distance - chamfer)
    local.paint(cone, CUT)
    local.level(cone, local.height - np.clip(chamfer - distance, 0, chamfer) * 0.8)
    through = inside(distance)
    local.paint(through, BELT)
    local.tint(through * np.clip(1 + distance / 6, 0, 1), (0.55, 0.55, 0.55))
    local.level(through, 0.0)


def _on_ring(rng: np.random.Generator, inner: float, outer: float) -> Point:
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(inner, outer)
    return radius * float(np.cos(angle)), radius * float(np.sin(angle))


def _on_face(rng: np.random.Generator, room: float) -> Point:
    """Return a point on the friction face, or on the hat in one case of four."""
    if rng.random() < 0.25:
        return _on_ring(rng, 44, 72)
    return _on_ring(rng, HAT + 6 + room, OUTER - 6 - room)


def _scratch(clean: Surface, rng: np.random.Generator) -> Surface:
    x, y = _on_ring(rng, 92, 130)
    across = float(np.arctan2(y, x)) + rng.uniform(-1.0, 1.0)
    length = rng.uniform(35, 75)
    start = (x - 0.5 * length * float(np.cos(across)), y - 0.5 * length * float(np.sin(across)))
    start = _pulled_in(start)
    points = defects.wander(rng, start, across, length, rng.uniform(-0.5, 0.5), 0.04)
    return defects.scratch(clean, rng, [_pulled_in(p) for p in points], GASH)


def _pulled_in(point: Point) -> Point:
    far = float(np.hypot(*point))
    wanted = min(max(far, HAT + 5), OUTER - 6)
    return point[0] * wanted / far, point[1] * wanted / far


def _stain(clean: Surface, rng: np.random.Generator) -> Surface:
    where = _on_face(rng, 8)
    factor = ((0.66, 0.43, 0.25), (0.50, 0.40, 0.34), (0.55, 0.50, 0.62))[rng.integers(3)]
    return defects.stain(clean, rng, where, rng.uniform(9, 17), factor)


def _dent(clean: Surface, rng: np.random.Generator) -> Surface:
    return defects.dent(clean, rng, _on_ring(rng, HAT + 16, OUTER - 16), rng.uniform(8.0, 12.0))


def _crack(clean: Surface, rng: np.random.Generator) -> Surface:
    if rng.random() < 0.5:
        x, y = DRILLED[rng.integers(12, 36)]
    else:
        x, y = _on_ring(rng, OUTER - 1, OUTER)
    inwards = float(np.arctan2(-y, -x))
    return defects.crack(clean, rng, (x, y), inwards + rng.uniform(-0.5, 0.5), rng.uniform(34, 55), DEEP)


def _chip(clean: Surface, rng: np.random.Generator) -> Surface:
    return defects.bite(clean, rng, _on_ring(rng, OUTER - 1, OUTER + 4), rng.uniform(10, 18), CAST)


def _blocked(clean: Surface, rng: np.random.Generator) -> Surface:
    where = BOLTS[rng.integers(len(BOLTS))]
    return defects.plug(clean, rng, where, BOLT_RADIUS, HAT_HEIGHT, DEBRIS)


def _fibre(clean: Surface, rng: np.random.Generator) -> Surface:
    colour = ((0.03, 0.03, 0.035), (0.05, 0.16, 0.55), (0.70, 0.12, 0.08))[rng.integers(3)]
    return defects.hair(clean, rng, _on_ring(rng, 60, 118), colour)


def _swarf(clean: Surface, rng: np.random.Generator) -> Surface:
    blue = Material((0.45, 0.47, 0.62), metal=1.0, rough=0.15)
    gold = Material((0.85, 0.66, 0.40), metal=1.0, rough=0.15)
    where = _on_ring(rng, 45, 125)
    return defects.swarf(clean, rng, where, rng.uniform(15, 24), (blue, gold)[rng.integers(2)])


DISC = ProductDrawing(
    name="disc",
    title="Machined brake disc, turned and cross-drilled, on a conveyor",
    shift_px=2.5,
    turn_degrees=0.8,
    build=build,
    defects=(
        DefectType("scratch", "surface", "a scratch across the tool marks", _scratch),
        DefectType("stain", "surface", "rust or a coolant stain", _stain),
        DefectType("dent", "surface", "a dent", _dent),
        DefectType("crack", "structural", "a crack from the rim or a drilled hole", _crack),
        DefectType("chipped_edge", "structural", "a piece broken out of the rim", _chip),
        DefectType("blocked_hole", "structural", "a bolt hole filled with debris", _blocked),
        DefectType("fibre", "foreign-object", "a fibre lying on the part", _fibre),
        DefectType("swarf", "foreign-object", "a curl of metal left by the lathe", _swarf),
    ),
)
