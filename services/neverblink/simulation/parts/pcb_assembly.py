"""Circuit boards that were put together wrongly: parts that are absent, another one, or turned round."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from neverblink.simulation.parts.drawing import HALF, DefectType
from neverblink.simulation.parts.light import REACH
from neverblink.simulation.parts.pcb_board import bare
from neverblink.simulation.parts.pcb_components import place
from neverblink.simulation.parts.pcb_layout import GLUE, HALF_SIZE, PARTS, THICK, Component
from neverblink.simulation.parts.surface import Surface, box, disc, inside

Fault = Literal["absent", "wrong", "turned"]

_INSTEAD = {
    "resistor": "capacitor",
    "capacitor": "resistor",
    "led": "capacitor",
    "crystal": "resistor",
    "can": "crystal",
    "soic8": "can",
    "soic16": "soic8",
}
_TURNED = {
    "resistor": 90.0,
    "capacitor": 90.0,
    "led": 90.0,
    "crystal": 180.0,
    "can": 180.0,
    "soic8": 180.0,
    "soic16": 180.0,
}
"""Degrees by which a part is turned wrongly: half a turn where that shows, else across its pads."""

_EDGE = 2.0


def faults_of(ref: str) -> tuple[Fault, ...]:
    """Return what can be wrong with a part: a pin's joint is round, and cannot be turned."""
    return ("absent", "wrong") if _part(ref).kind == "joint" else ("absent", "wrong", "turned")


def polygon_of(ref: str) -> tuple[tuple[float, float], ...]:
    """Return the corners (x, y) of the room that a part takes, in pixels of the picture of a board in its fixture."""
    part = _part(ref)
    half = HALF_SIZE[part.kind]
    half_x, half_y = half if part.degrees % 180 == 0 else half[::-1]
    x, y = part.x + HALF, part.y + HALF
    across, down = half_x + _EDGE, half_y + _EDGE
    return ((x - across, y - down), (x + across, y - down), (x + across, y + down), (x - across, y + down))


def put_together(faults: Mapping[str, Fault]) -> DefectType:
    """Return a board whose parts have these faults, by their reference."""
    named = ", ".join(f"{ref} {fault}" for ref, fault in sorted(faults.items()))

    def draw(clean: Surface, rng: np.random.Generator) -> Surface:
        first = _part(next(iter(faults)))
        room = 1.5 * max(HALF_SIZE[first.kind]) + 2 * REACH
        patch = clean.copy() if len(faults) > 1 else clean.around(first.x, first.y, room).copy()
        for ref, fault in faults.items():
            _spoil(patch, _part(ref), fault, rng)
        return patch

    return DefectType(f"assembly: {named}", "assembly", named, draw)


def _spoil(surface: Surface, part: Component, fault: Fault, rng: np.random.Generator) -> None:
    room = 1.5 * max(HALF_SIZE[part.kind])
    local = surface.around(part.x, part.y, room)
    u, v = local.turned_to(part.x, part.y, part.degrees)
    local.take(inside(box(u, v, *HALF_SIZE[part.kind])), bare().around(part.x, part.y, room))
    if fault == "absent":
        return
    # What is put down by hand lies a little off.
    moved = replace(part, x=part.x + rng.uniform(-1, 1), y=part.y + rng.uniform(-1, 1))
    if fault == "turned":
        place(surface, replace(moved, degrees=part.degrees + _TURNED[part.kind]))
    elif part.kind == "joint":
        blob = disc(u, v, rng.uniform(4.5, 6.0))
        local.paint(inside(blob), GLUE)
        local.level(inside(blob), THICK + 2.0)
    else:
        place(surface, replace(moved, kind=_INSTEAD[part.kind], text="47"))


def _part(ref: str) -> Component:
    return next(part for part in PARTS if part.ref == ref)
