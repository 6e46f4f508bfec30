"""The bare circuit board: traces under solder mask, vias, holes, gilded pads, the printed legend."""

from functools import cache

import numpy as np

from neverblink.simulation.parts.defects import BELT, Point
from neverblink.simulation.parts.drawing import HALF, MARGIN
from neverblink.simulation.parts.pcb_layout import (
    COPPER,
    COVERED,
    FIBREGLASS,
    GAP,
    GOLD,
    HALF_SIZE,
    HEIGHT,
    HOLE_RADIUS,
    HOLES,
    MASK,
    PARTS,
    PIN_PITCH,
    PLATED,
    SILK,
    THICK,
    U1,
    WIDTH,
    Component,
    pins_of,
    place_of,
)
from neverblink.simulation.parts.surface import (
    Field,
    Surface,
    box,
    clouds,
    disc,
    inside,
    lettering,
    path,
)


@cache
def bare() -> Surface:
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
    outline(*place_of("U1"), 53, 51)
    outline(*place_of("U2"), 36, 28)
    outline(*place_of("C9"), 28, 26)
    outline(*place_of("Y1"), 34, 17)
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
            pads = [box(u - x, v - y, 7.5, 3.2, 1) for x, y in pins_of(part.kind)]
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
