"""The circuit board as it leaves the line, assembled and soldered, and what can be wrong with it."""

from dataclasses import replace

import numpy as np

from neverblink.simulation.parts import defects
from neverblink.simulation.parts.defects import Point
from neverblink.simulation.parts.drawing import DefectType, ProductDrawing
from neverblink.simulation.parts.light import REACH
from neverblink.simulation.parts.pcb_board import bare
from neverblink.simulation.parts.pcb_components import place, solder
from neverblink.simulation.parts.pcb_layout import (
    COPPER,
    FIBREGLASS,
    GAP,
    GLUE,
    HALF_SIZE,
    HEIGHT,
    HOLE_RADIUS,
    HOLES,
    PARTS,
    THICK,
    TIN,
    WIDTH,
    Component,
    pins_of,
)
from neverblink.simulation.parts.surface import Material, Surface, box, clouds, inside, path


def build() -> Surface:
    """Return the matter of a good, fully assembled board."""
    surface = bare().copy()
    for part in PARTS:
        place(surface, part)
    return surface


def _without(clean: Surface, part: Component, room: float) -> Surface:
    """Return the matter around a part as it was before the part was placed."""
    patch = clean.around(part.x, part.y, room + 2 * REACH).copy()
    half_u, half_v = HALF_SIZE[part.kind]
    u, v = patch.turned_to(part.x, part.y, part.degrees)
    before = bare().around(part.x, part.y, room + 2 * REACH)
    patch.take(inside(box(u, v, half_u, half_v)), before)
    return patch


def _pick(rng: np.random.Generator, *kinds: str) -> Component:
    fitting = [part for part in PARTS if part.kind in kinds]
    return fitting[rng.integers(len(fitting))]


def _missing_component(clean: Surface, rng: np.random.Generator) -> Surface:
    part = _pick(rng, "resistor", "capacitor", "led", "crystal", "soic8", "can")
    return _without(clean, part, max(HALF_SIZE[part.kind]))


def _misplaced_component(clean: Surface, rng: np.random.Generator) -> Surface:
    part = _pick(rng, "resistor", "capacitor", "led", "crystal")
    patch = _without(clean, part, max(HALF_SIZE[part.kind]) + 8)
    sign = rng.choice((-1.0, 1.0))
    turn, shift = (rng.uniform(25, 60), 3.0) if rng.random() < 0.6 else (rng.uniform(8, 15), 7.5)
    place(
        patch,
        replace(
            part,
            x=part.x + shift * rng.uniform(-1, 1),
            y=part.y + shift * rng.choice((-1.0, 1.0)) * rng.uniform(0.7, 1),
            degrees=part.degrees + sign * turn,
        ),
    )
    return patch


def _missing_solder(clean: Surface, rng: np.random.Generator) -> Surface:
    return _without(clean, _pick(rng, "joint"), 8)


def _solder_bridge(clean: Surface, rng: np.random.Generator) -> Surface:
    if rng.random() < 0.5:
        first = PARTS[rng.integers(20)]
        ends = [(first.x, first.y), (first.x, first.y + 17)]
        half = rng.uniform(5.4, 6.8)
    else:
        chip = _pick(rng, "soic8", "soic16")
        pins = pins_of(chip.kind)
        i = int(rng.integers(len(pins) - 1))
        i -= (i + 1) % (len(pins) // 2) == 0
        out = np.sign(pins[i][0]) * 3.0
        ends = [(chip.x + x + out, chip.y + y) for x, y in pins[i : i + 2]]
        half = rng.uniform(5.6, 7.0)
    patch = defects.copy_around(clean, ends, 9)
    waist = path(patch, ends) + 0.5 * clouds(rng, patch.height.shape, 6.0)
    solder(patch, waist - np.float32(half), 4.2, half)
    return patch


BOARD_TOP = THICK + 1.8
"""What lies lower belongs to the board, what stands higher to its components."""


def _anywhere(rng: np.random.Generator, inset: float) -> Point:
    return float(rng.uniform(inset - WIDTH, WIDTH - inset)), float(rng.uniform(inset - HEIGHT, HEIGHT - inset))


def _scratch(clean: Surface, rng: np.random.Generator) -> Surface:
    """Scratch the board where it is most open, of some places: what stands on it is not touched."""
    tries = [_straight(rng) for _ in range(6)]
    points = min(tries, key=lambda line: sum(_height_at(clean, point) > BOARD_TOP for point in line))
    return defects.scratch(clean, rng, points, (COPPER, FIBREGLASS)[rng.integers(2)], BOARD_TOP)


def _straight(rng: np.random.Generator) -> list[Point]:
    x, y = _anywhere(rng, 45)
    heading, length = rng.uniform(0, 2 * np.pi), rng.uniform(50, 90)
    start = (x - 0.5 * length * float(np.cos(heading)), y - 0.5 * length * float(np.sin(heading)))
    return defects.wander(rng, start, heading, length, rng.uniform(-0.5, 0.5), 0.05)


def _height_at(surface: Surface, point: Point) -> float:
    return float(surface.around(*point, 0.5).height[0, 0])


def _stain(clean: Surface, rng: np.random.Generator) -> Surface:
    flux = Material((0.78, 0.74, 0.56), rough=0.7)
    burnt = Material((0.30, 0.16, 0.06), rough=0.6)
    film = (flux, burnt)[rng.integers(2)]
    return defects.stain(clean, rng, _anywhere(rng, 25), rng.uniform(13, 20), (0.9, 0.85, 0.7), film)


def _on_border(rng: np.random.Generator) -> tuple[Point, float]:
    """Return a point of the board's border, away from the holes, and the heading inwards."""
    along = rng.uniform(-0.72, 0.72)
    x, y, heading = (
        (along * WIDTH, -HEIGHT, np.pi / 2),
        (along * WIDTH, HEIGHT, -np.pi / 2),
        (-WIDTH, along * HEIGHT, 0.0),
        (WIDTH, along * HEIGHT, np.pi),
    )[rng.integers(4)]
    return (float(x), float(y)), heading


def _crack(clean: Surface, rng: np.random.Generator) -> Surface:
    start, heading = _on_border(rng)
    return defects.crack(clean, rng, start, heading + rng.uniform(-0.5, 0.5), rng.uniform(34, 55), GAP, BOARD_TOP)


def _chipped_edge(clean: Surface, rng: np.random.Generator) -> Surface:
    where, _ = _on_border(rng)
    if rng.random() < 0.35:
        corner = HOLES[rng.integers(4)]
        where = (float(np.sign(corner[0])) * (WIDTH - 2), float(np.sign(corner[1])) * (HEIGHT - 2))
    return defects.bite(clean, rng, where, rng.uniform(10, 16), FIBREGLASS)


def _blocked_hole(clean: Surface, rng: np.random.Generator) -> Surface:
    return defects.plug(clean, rng, HOLES[rng.integers(4)], HOLE_RADIUS, THICK + 2.5, GLUE)


def _hair(clean: Surface, rng: np.random.Generator) -> Surface:
    colour = ((0.90, 0.72, 0.38), (0.85, 0.85, 0.82), (0.90, 0.14, 0.10))[rng.integers(3)]
    return defects.hair(clean, rng, _anywhere(rng, 40), colour)


def _metal_chip(clean: Surface, rng: np.random.Generator) -> Surface:
    return defects.swarf(clean, rng, _anywhere(rng, 30), rng.uniform(18, 26), (TIN, COPPER)[rng.integers(2)])


PCB = ProductDrawing(
    name="pcb",
    title="Small controller board, assembled and soldered, in a fixture",
    shift_px=1.2,
    turn_degrees=0.3,
    build=build,
    defects=(
        DefectType("missing_component", "assembly", "a component is not there", _missing_component),
        DefectType("misplaced_component", "assembly", "a component is turned or shifted", _misplaced_component),
        DefectType("solder_bridge", "assembly", "solder joins two neighbours", _solder_bridge),
        DefectType("missing_solder", "assembly", "a pin is not soldered", _missing_solder),
        DefectType("scratch", "surface", "a scratch through the solder mask", _scratch),
        DefectType("stain", "surface", "flux residue or a burn", _stain),
        DefectType("crack", "structural", "the board is cracked from its border", _crack),
        DefectType("chipped_edge", "structural", "a piece of the board is broken off", _chipped_edge),
        DefectType("blocked_hole", "structural", "a mounting hole is filled", _blocked_hole),
        DefectType("hair", "foreign-object", "a hair lies on the board", _hair),
        DefectType("metal_chip", "foreign-object", "a metal chip lies on the board", _metal_chip),
    ),
)
