"""The circuit board: traces under green solder mask, soldered parts, printed marks, mounting holes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from neverblink.simulation.parts import defects
from neverblink.simulation.parts.defects import BELT, Point
from neverblink.simulation.parts.drawing import HALF, MARGIN, DefectType, ProductDrawing
from neverblink.simulation.parts.light import REACH
from neverblink.simulation.parts.surface import (
    Field,
    Material,
    Surface,
    box,
    clouds,
    disc,
    inside,
    lettering,
    path,
)

WIDTH, HEIGHT, THICK = 152.0, 132.0, 4.0
"""Half the board's width and height, and its thickness, image pixels."""

MASK = Material((0.035, 0.235, 0.105), rough=0.55)
COVERED = Material((0.075, 0.37, 0.155), rough=0.55)
SILK = Material((0.80, 0.81, 0.78), rough=0.9)
TIN = Material((0.90, 0.90, 0.88), metal=1.0, rough=0.12)
PLATED = Material((0.90, 0.89, 0.84), metal=1.0, rough=0.5)
GOLD = Material((0.96, 0.70, 0.30), metal=0.9, rough=0.5)
COPPER = Material((0.93, 0.56, 0.33), metal=0.85, rough=0.5)
EPOXY = Material((0.050, 0.050, 0.054), rough=0.62)
CERAMIC = Material((0.60, 0.45, 0.29), rough=0.6)
PRINT = Material((0.52, 0.52, 0.50), rough=0.9)
CAN = Material((0.80, 0.81, 0.83), metal=1.0, rough=0.35)
LENS = Material((0.85, 0.80, 0.42), rough=0.2)
HOUSING = Material((0.86, 0.85, 0.80), rough=0.7)
FIBREGLASS = Material((0.74, 0.70, 0.48), rough=0.95)
GLUE = Material((0.86, 0.50, 0.14), rough=0.35)
GAP = Material((0.015, 0.02, 0.015), rough=1.0)
HOLE_RADIUS = 9.0
HOLES: tuple[Point, ...] = tuple((x, y) for x in (-135.5, 135.5) for y in (-115.5, 115.5))


@dataclass(frozen=True)
class Component:
    """One placed part. `degrees` turns it clockwise; its length lies along x at 0."""

    ref: str
    kind: str
    x: float
    y: float
    degrees: float = 0.0
    text: str = ""


U1: Point = (-28.0, -34.0)
PIN_PITCH = 11.0

PARTS: tuple[Component, ...] = (
    *(Component(f"J{1 + i}", "joint", -128.0 + 19 * (i % 2), -85.0 + 17 * (i // 2)) for i in range(22)),
    Component("U1", "soic16", *U1, 0, "NB7042|ARM-M4|2431 TW"),
    Component("U2", "soic8", 92.0, -82.0, 0, "CAN 33|K5W"),
    Component("Y1", "crystal", -30.0, 39.0, 0, "16.000"),
    Component("C9", "can", 106.0, 74.0, 0, "47|25V"),
    Component("D1", "led", 60.0, 109.0, 0),
    Component("D2", "led", 22.0, 109.0, 0),
    *(
        Component(f"R{1 + i}", "resistor", -70.0 + 29 * i, 77.0, 90, text)
        for i, text in enumerate(("103", "472", "103", "331"))
    ),
    *(
        Component(f"R{5 + i}", "resistor", 72.0, -28.0 + 21 * i, 0, text)
        for i, text in enumerate(("220", "220", "102"))
    ),
    *(Component(f"C{1 + i}", "capacitor", 118.0, -28.0 + 21 * i, 0) for i in range(3)),
    Component("C4", "capacitor", -62.0, -106.0, 0),
    Component("C5", "capacitor", -24.0, -106.0, 0),
    Component("C6", "capacitor", 14.0, -106.0, 0),
    Component("C7", "capacitor", 44.0, 58.0, 90),
    Component("C8", "capacitor", -76.0, 39.5, 90),
)

HALF_SIZE = {
    "joint": (8.0, 8.0),
    "resistor": (17.0, 8.0),
    "capacitor": (16.0, 8.0),
    "led": (16.0, 9.0),
    "crystal": (31.0, 14.0),
    "can": (26.0, 24.0),
    "soic8": (33.0, 26.0),
    "soic16": (50.0, 52.0),
}
"""Half the room each kind takes with its solder, image pixels."""


def build() -> Surface:
    """Return the matter of a good, fully assembled board."""
    surface = _bare().copy()
    for part in PARTS:
        place(surface, part)
    return surface


@cache
def _bare() -> Surface:
    """Return the board before assembly: printed, with gold pads. Drawn once; never drawn on."""
    rng = np.random.default_rng(10)
    surface = Surface.blank(HALF + MARGIN, HALF + MARGIN, BELT)
    u, v = surface.turned_to(0, 0, 0)
    outline = box(u, v, WIDTH, HEIGHT, 7)
    board = inside(outline)
    surface.paint(board, FIBREGLASS)
    surface.level(board, THICK)
    coated = inside(outline + 1.4)
    surface.paint(coated, MASK)

    copper = np.zeros_like(surface.height)
    for points, width in _traces():
        np.maximum(copper, inside(path(surface, points) - width), out=copper)
    for pour in (box(u - 95, v - 16, 50, 96, 4), box(u + 40, v - 96, 78, 24, 4)):
        np.maximum(copper, inside(pour) * np.float32(0.35), out=copper)
    copper = copper * coated
    surface.paint(copper * 0.85, COVERED)
    surface.height += 0.7 * copper
    surface.colour *= 1 + 0.02 * clouds(rng, surface.height.shape, 1.2, 7.0)[..., None] * board[..., None]

    for x, y in _vias():
        local = surface.around(x, y, 6)
        at = local.turned_to(x, y, 0)
        ring = inside(disc(*at, 3.2))
        local.paint(ring, PLATED)
        local.level(ring, THICK + 0.6)
        local.paint(inside(disc(*at, 1.4)), GAP)
    for x, y in HOLES:
        local = surface.around(x, y, 20)
        at = local.turned_to(x, y, 0)
        local.paint(inside(disc(*at, 13.5)), PLATED)
        local.level(inside(disc(*at, 13.5)), THICK + 0.6)
        local.paint(inside(disc(*at, HOLE_RADIUS)), BELT)
        local.level(inside(disc(*at, HOLE_RADIUS)), 0.0)
    for x, y in ((-106.0, 118.0), (108.0, -118.0)):
        local = surface.around(x, y, 10)
        local.paint(inside(disc(*local.turned_to(x, y, 0), 7)), MASK)
        local.paint(inside(disc(*local.turned_to(x, y, 0), 3)), PLATED)

    _print(surface)
    for part in PARTS:
        _pads(surface, part)
    return surface


def _traces() -> list[tuple[list[Point], float]]:
    traces: list[tuple[list[Point], float]] = []
    for i in range(8):
        y, pin = -85.0 + 17 * i, U1[1] + PIN_PITCH * (i - 3.5)
        bend = -92.0 + 3.0 * i
        traces.append(([(-109, y), (bend, y), (bend + abs(pin - y), pin), (-66, pin)], 1.3))
    for i in range(8):
        pin = U1[1] + PIN_PITCH * (i - 3.5)
        end = -84.0 + 13.5 * i
        bend = 22.0 + 3.2 * (7 - i if i < 5 else i)
        traces.append(([(10, pin), (bend, pin), (bend + abs(end - pin), end), (58, end)], 1.3))
    for i in range(3):
        y = -28.0 + 21 * i
        traces.append(([(82, y), (108, y)], 1.6))
        traces.append(([(128, y), (142, y - 8 + 4 * i)], 1.6))
    for i in range(4):
        x = -70.0 + 29 * i
        traces.append(([(x, 67), (x, 58 - 2 * i), (x + 14, 44 - 2 * i)], 1.5))
        traces.append(([(x, 87), (x, 112), (x + 20, 124)], 1.5))
    for x in (-62.0, -24.0, 14.0):
        traces.append(([(x - 9, -104), (x - 9, -90), (x - 2, -83)], 1.6))
        traces.append(([(x + 9, -104), (x + 16, -116), (x + 40, -116)], 1.6))
    traces += [
        ([(-109, 51), (-96, 51), (-60, 51)], 1.4),
        ([(-109, 68), (-98, 68), (-84, 82), (-84, 110), (-70, 124)], 1.4),
        ([(-109, 85), (-98, 85), (-98, 122)], 1.4),
        ([(-52, 39), (-52, 18), (-62, 8)], 1.5),
        ([(-8, 39), (-8, 22), (6, 8)], 1.5),
        ([(44, 48), (44, 34), (62, 16)], 1.6),
        ([(44, 68), (44, 93), (28, 109)], 1.6),
        ([(68, 109), (80, 109), (91, 98), (91, 76)], 2.2),
        ([(122, 84), (134, 96), (134, 104)], 2.2),
        ([(112, -66), (128, -50), (128, -28)], 2.0),
        ([(112, -99), (128, -99), (138, -89), (138, -60)], 1.5),
    ]
    return traces


def _vias() -> list[Point]:
    return [
        (-62.0, 8.0), (6.0, 8.0), (58.0, 34.0), (90.0, 34.0), (134.0, 40.0), (142.0, -36.0),
        (-96.0, 124.0), (-40.0, 124.0), (-10.0, 124.0), (84.0, 124.0),
        (-92.0, -118.0), (56.0, -116.0), (30.0, -116.0), (138.0, -58.0), (60.0, -112.0), (24.0, 32.0),
    ]  # fmt: skip


def _print(surface: Surface) -> None:
    """Print the white legend: outlines, references, the board's name."""
    marks = np.zeros_like(surface.height)

    def outline(x: float, y: float, half_width: float, half_height: float) -> None:
        local = surface.around(x, y, half_width + 4, half_height + 4)
        rows, columns = surface.rows_columns(x, y, half_width + 4, half_height + 4)
        distance = box(local.x - np.float32(x), local.y - np.float32(y), half_width, half_height, 1)
        np.maximum(marks[rows, columns], inside(np.abs(distance) - 0.6), out=marks[rows, columns])

    def text(words: str, x: float, y: float, size: float, degrees: float = 0.0) -> None:
        np.maximum(marks, lettering(surface, words, x, y, size, degrees), out=marks)

    outline(-118.5, 0, 21, 98)
    outline(*_place_of("U1"), 53, 51)
    outline(*_place_of("U2"), 36, 28)
    outline(*_place_of("C9"), 28, 26)
    outline(*_place_of("Y1"), 34, 17)
    for part in PARTS:
        if part.kind in ("resistor", "capacitor", "led"):
            half_u, half_v = HALF_SIZE[part.kind]
            sideways = part.degrees % 180 == 90
            outline(part.x, part.y, *((half_v + 1.5, half_u + 2) if sideways else (half_u + 2, half_v + 1.5)))
            if sideways:
                text(part.ref, part.x + 14, part.y, 5.0, 90)
            elif part.kind == "led" or part.y < -60:
                text(part.ref, part.x, part.y + 14.5, 5.0)
    text("NB-CTL4 REV C", -44, -122, 6.5)
    text("J1", -104, -106, 6.0)
    text("U2", 92, -118, 6.0)
    text("Y1", 14, 39, 5.5)
    surface.paint(marks * np.float32(0.95), SILK)


def _place_of(ref: str) -> Point:
    part = next(p for p in PARTS if p.ref == ref)
    return part.x, part.y


def _pins(kind: str) -> list[Point]:
    """Return where the pins of an integrated circuit meet the board, in its own frame."""
    rows, reach = (8, 39.0) if kind == "soic16" else (4, 25.0)
    return [(side * reach, (i - (rows - 1) / 2) * PIN_PITCH) for side in (-1.0, 1.0) for i in range(rows)]


def _pads(surface: Surface, part: Component) -> None:
    """Gild the pads of a part that is not placed yet."""
    local = surface.around(part.x, part.y, 60)
    u, v = local.turned_to(part.x, part.y, part.degrees)
    pads: list[Field]
    match part.kind:
        case "joint":
            ring = disc(u, v, 6.6)
            local.paint(inside(ring), COPPER)
            local.level(inside(ring), THICK + 0.5)
            local.paint(inside(disc(u, v, 3.0)), GAP)
            local.level(inside(disc(u, v, 3.0)), THICK - 2)
            return
        case "soic8" | "soic16":
            pads = [box(u - x, v - y, 7.5, 3.2, 1) for x, y in _pins(part.kind)]
        case "can":
            pads = [box(u - x, v, 8, 5, 1) for x in (-17.0, 17.0)]
        case "crystal":
            pads = [box(u - x, v, 7, 6, 1) for x in (-22.0, 22.0)]
        case _:
            pads = [box(u - x, v, 5.2, 6.2, 1) for x in (-10.0, 10.0)]
    for pad in pads:
        cover = inside(pad)
        local.paint(cover, GOLD)
        local.level(cover, THICK + 0.5 + 0.9 * np.clip(-pad / 3, 0, 1))


def place(surface: Surface, part: Component) -> None:
    """Put a part with its solder onto the board."""
    local = surface.around(part.x, part.y, max(HALF_SIZE[part.kind]) * 1.5)
    u, v = local.turned_to(part.x, part.y, part.degrees)
    _DRAW[part.kind](local, u, v, part)


def _solder(surface: Surface, distance: Field, height: float, width: float) -> None:
    """Heap solder inside a signed distance: a rounded mound `height` tall, rising over `width`."""
    cover = inside(distance)
    rise = np.clip(-distance / np.float32(width), 0, 1)
    surface.paint(cover, TIN)
    surface.level(cover, THICK + 0.4 + height * np.sqrt(1 - (1 - rise) ** 2))


def _joint(surface: Surface, u: Field, v: Field, _: Component) -> None:
    _solder(surface, disc(u, v, 6.4), 4.2, 6.4)
    pin = inside(disc(u, v, 1.7))
    surface.level(pin, THICK + 5.6)
    surface.paint(pin, PLATED)


def _chip(surface: Surface, u: Field, v: Field, body: Material, height: float) -> None:
    for side in (-1, 1):
        _solder(surface, box(u - side * 11.0, v, 4.6, 5.6, 2), height * 0.7, 4.0)
        cap = inside(box(u - side * 8.2, v, 2.8, 5.4, 0.8))
        surface.paint(cap, replace(TIN, rough=0.4))
        surface.level(cap, THICK + height + 0.3)
    middle = box(u, v, 6.4, 5.3, 0.6)
    surface.paint(inside(middle), body)
    surface.level(inside(middle), THICK + height - 0.6 * np.clip(1 + middle / 1.2, 0, 1))


def _resistor(surface: Surface, u: Field, v: Field, part: Component) -> None:
    _chip(surface, u, v, EPOXY, 2.8)
    surface.paint(lettering(surface, part.text, part.x, part.y, 4.4, part.degrees) * np.float32(0.9), SILK)


def _capacitor(surface: Surface, u: Field, v: Field, _: Component) -> None:
    _chip(surface, u, v, CERAMIC, 4.6)


def _led(surface: Surface, u: Field, v: Field, _: Component) -> None:
    _chip(surface, u, v, HOUSING, 3.6)
    dome = disc(u, v, 4.4)
    surface.paint(inside(dome), LENS)
    surface.height += 1.8 * np.sqrt(np.clip(-dome / 4.4, 0, 1))
    surface.paint(inside(box(u + 5.6, v, 0.7, 5.0)), Material((0.05, 0.45, 0.15), rough=0.6))


def _soic(surface: Surface, u: Field, v: Field, part: Component) -> None:
    half_width, half_height = (31.0, 46.0) if part.kind == "soic16" else (17.5, 23.5)
    for x, y in _pins(part.kind):
        _solder(surface, box(u - x - np.sign(x) * 1.0, v - y, 6.5, 2.9, 1.4), 1.3, 2.4)
        out = np.abs(u) - np.float32(half_width)
        leg = inside(box(u - x * 0.93, v - y, 7.0, 2.0, 0.4))
        surface.paint(leg, replace(TIN, rough=0.3))
        surface.level(leg, THICK + 1.2 + 3.2 / (1 + np.exp(np.clip((out - 4.2) * 1.4, -20, 20))))
    body = box(u, v, half_width, half_height, 1.2)
    surface.paint(inside(body), EPOXY)
    surface.level(inside(body), THICK + 6.5 - 1.6 * np.clip(1 + body / 2.4, 0, 1))
    dimple = disc(u + half_width - 7, v + half_height - 7, 3.4)
    surface.height -= 1.2 * inside(dimple)
    lines = part.text.split("|")
    size = 8.0 if part.kind == "soic16" else 6.0
    for i, line in enumerate(lines):
        along = (i - (len(lines) - 1) / 2) * size * 1.9
        marking = lettering(surface, line, part.x, part.y + along, size, part.degrees)
        surface.paint(marking * np.float32(0.85), PRINT)


def _crystal(surface: Surface, u: Field, v: Field, part: Component) -> None:
    for side in (-1, 1):
        _solder(surface, box(u - side * 24.0, v, 5.5, 5.0, 2), 1.6, 4.0)
    base = box(u, v, 26, 11.5, 11.5)
    surface.paint(inside(base), replace(CAN, rough=0.3))
    surface.level(inside(base), THICK + 2.0)
    lid = box(u, v, 23.5, 9, 9)
    surface.level(inside(lid), THICK + 6.5 - 1.6 * np.clip(1 + lid / 2.5, 0, 1))
    surface.paint(lettering(surface, part.text, part.x, part.y, 6.0, part.degrees) * np.float32(0.8), EPOXY)


def _can(surface: Surface, u: Field, v: Field, part: Component) -> None:
    for side in (-1, 1):
        _solder(surface, box(u - side * 21.0, v, 4.5, 4.0, 1.5), 1.2, 3.0)
    socket = box(u, v, 20, 20, 3)
    surface.paint(inside(socket), EPOXY)
    surface.level(inside(socket), THICK + 1.5)
    can = disc(u, v, 18.5)
    surface.paint(inside(can), CAN)
    surface.level(inside(can), THICK + 10.0 - 2.2 * np.clip(1 + can / 2.5, 0, 1))
    surface.paint(inside(np.maximum(can + 2.2, u + 8.5)), EPOXY)
    for i, line in enumerate(part.text.split("|")):
        marking = lettering(surface, line, part.x + 3, part.y - 5 + 11 * i, 6.5, part.degrees)
        surface.paint(marking * np.float32(0.9), EPOXY)


_DRAW: dict[str, Callable[[Surface, Field, Field, Component], None]] = {
    "joint": _joint,
    "resistor": _resistor,
    "capacitor": _capacitor,
    "led": _led,
    "soic8": _soic,
    "soic16": _soic,
    "crystal": _crystal,
    "can": _can,
}


def _without(clean: Surface, part: Component, room: float) -> Surface:
    """Return the matter around a part as it was before the part was placed."""
    patch = clean.around(part.x, part.y, room + 2 * REACH).copy()
    half_u, half_v = HALF_SIZE[part.kind]
    u, v = patch.turned_to(part.x, part.y, part.degrees)
    before = _bare().around(part.x, part.y, room + 2 * REACH)
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
        pins = _pins(chip.kind)
        i = int(rng.integers(len(pins) - 1))
        i -= (i + 1) % (len(pins) // 2) == 0
        out = np.sign(pins[i][0]) * 3.0
        ends = [(chip.x + x + out, chip.y + y) for x, y in pins[i : i + 2]]
        half = rng.uniform(5.6, 7.0)
    patch = defects.copy_around(clean, ends, 9)
    waist = path(patch, ends) + 0.5 * clouds(rng, patch.height.shape, 6.0)
    _solder(patch, waist - np.float32(half), 4.2, half)
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
