"""What is soldered onto the circuit board, each kind of part with its solder."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neverblink.simulation.parts.pcb_layout import (
    CAN,
    CERAMIC,
    EPOXY,
    HALF_SIZE,
    HOUSING,
    LENS,
    PLATED,
    PRINT,
    SILK,
    THICK,
    TIN,
    Component,
    pins_of,
)
from neverblink.simulation.parts.surface import (
    Field,
    Material,
    Surface,
    box,
    disc,
    inside,
    lettering,
)


def place(surface: Surface, part: Component) -> None:
    """Put a part with its solder onto the board."""
    local = surface.around(part.x, part.y, max(HALF_SIZE[part.kind]) * 1.5)
    u, v = local.turned_to(part.x, part.y, part.degrees)
    _DRAW[part.kind](local, u, v, part)


def solder(surface: Surface, distance: Field, height: float, width: float) -> None:
    """Heap solder inside a signed distance: a rounded mound `height` tall, rising over `width`."""
    cover = inside(distance)
    rise = np.clip(-distance / np.float32(width), 0, 1)
    surface.paint(cover, TIN)
    surface.level(cover, THICK + 0.4 + height * np.sqrt(1 - (1 - rise) ** 2))


def _joint(surface: Surface, u: Field, v: Field, _: Component) -> None:
    solder(surface, disc(u, v, 6.4), 4.2, 6.4)
    pin = inside(disc(u, v, 1.7))
    surface.level(pin, THICK + 5.6)
    surface.paint(pin, PLATED)


def _chip(surface: Surface, u: Field, v: Field, body: Material, height: float) -> None:
    for side in (-1, 1):
        solder(surface, box(u - side * 11.0, v, 4.6, 5.6, 2), height * 0.7, 4.0)
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
    for x, y in pins_of(part.kind):
        solder(surface, box(u - x - np.sign(x) * 1.0, v - y, 6.5, 2.9, 1.4), 1.3, 2.4)
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
        solder(surface, box(u - side * 24.0, v, 5.5, 5.0, 2), 1.6, 4.0)
    base = box(u, v, 26, 11.5, 11.5)
    surface.paint(inside(base), replace(CAN, rough=0.3))
    surface.level(inside(base), THICK + 2.0)
    lid = box(u, v, 23.5, 9, 9)
    surface.level(inside(lid), THICK + 6.5 - 1.6 * np.clip(1 + lid / 2.5, 0, 1))
    surface.paint(lettering(surface, part.text, part.x, part.y, 6.0, part.degrees) * np.float32(0.8), EPOXY)


def _can(surface: Surface, u: Field, v: Field, part: Component) -> None:
    for side in (-1, 1):
        solder(surface, box(u - side * 21.0, v, 4.5, 4.0, 1.5), 1.2, 3.0)
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
