"""The circuit board's measures and materials, and which part stands where."""

from dataclasses import dataclass

from neverblink.simulation.parts.defects import Point
from neverblink.simulation.parts.surface import Material

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


def place_of(ref: str) -> Point:
    """Return where a part stands."""
    part = next(p for p in PARTS if p.ref == ref)
    return part.x, part.y


def pins_of(kind: str) -> list[Point]:
    """Return where the pins of an integrated circuit meet the board, in its own frame."""
    rows, reach = (8, 39.0) if kind == "soic16" else (4, 25.0)
    return [(side * reach, (i - (rows - 1) / 2) * PIN_PITCH) for side in (-1.0, 1.0) for i in range(rows)]
