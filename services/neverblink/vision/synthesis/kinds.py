"""How each kind of defect looks: a canvas of the part in, the same canvas with the defect in its middle out."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.synthesis.policy import (
    Finishes,
    ForeignObjects,
    Kind,
    Misplacements,
    Ranges,
    Scratches,
)
from neverblink.vision.synthesis.shapes import (
    Field,
    Points,
    Stroke,
    blob,
    blurred,
    drawn,
    filled,
    jagged,
    noise,
    noise_along,
    shading,
    straight,
    turned,
)

Pixels = npt.NDArray[np.float32]
"""(n, n, 3) float32 RGB, 0 to 255."""

Colour = npt.NDArray[np.float32]
"""(3,) float32 RGB."""

_STAINS = ((70, 50, 30), (40, 40, 45), (150, 120, 70), (215, 210, 200), (60, 75, 110))
_RUST = ((135, 88, 55), (80, 56, 42), (105, 135, 112), (215, 215, 205))
_THINGS = ((30, 30, 35), (235, 235, 230), (40, 70, 170), (170, 40, 40), (190, 160, 60))
_SOLDER = ((225, 225, 220),)

_TONE_APART = 40
"""Grey levels that a colour must differ by from the part to set the direction of a change."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a kind draws on: the part around the defect, and what was drawn for it from the ranges.

    `size` and `width` are in pixels, `light` in radians, `background` is what lies behind the part where that is known.
    """

    pixels: Pixels
    ranges: Ranges
    size: float
    width: float
    contrast: float
    light: float
    random: np.random.Generator
    background: Colour | None = None
    foreign: tuple[npt.NDArray[np.uint8], ...] = ()

    @property
    def side(self) -> int:
        """Return the canvas's side in pixels."""
        return int(self.pixels.shape[0])

    @property
    def levels(self) -> float:
        """Return the contrast in grey levels."""
        return 255 * self.contrast

    def local(self) -> Colour:
        """Return the part's mean colour where the defect goes."""
        reach = max(1, round(self.size / 2))
        middle = self.side // 2
        inner = self.pixels[max(0, middle - reach) : middle + reach + 1, max(0, middle - reach) : middle + reach + 1]
        return np.asarray(inner.mean(axis=(0, 1)), dtype=np.float32)

    def sign(self, dark: float) -> float:
        """Return −1 or +1, −1 with the probability `dark`; the other where there is no room for the contrast.

        What is nearly always dark (a crack, a hole) stays so on a dark part as long as it can be seen at all.
        """
        wanted = -1.0 if self.random.random() < dark else 1.0
        level = float(self.local().mean())
        room = level if wanted < 0 else 255 - level
        return wanted if room >= min(self.levels, _TONE_APART if dark >= 0.85 else 127) else -wanted

    def towards(self, colours: tuple[tuple[int, int, int], ...], dark: float) -> Colour:
        """Return a change of `levels` from the part's colour towards one of the colours; grey on a grey part."""
        chosen = np.array(colours[int(self.random.integers(len(colours)))], dtype=np.float32)
        return self.change_to(chosen, dark)

    def change_to(self, colour: Colour, dark: float) -> Colour:
        """Return a change of `levels` from the part's colour towards another, or up or down where they are alike."""
        sign = self.sign(dark)
        if np.array_equal(self.pixels[..., 0], self.pixels[..., 2]):
            colour = np.full(3, colour.mean(), np.float32)
        change = colour - self.local()
        reach = float(np.abs(change).max())
        if reach < _TONE_APART:
            return np.full(3, sign * self.levels, np.float32)
        return np.asarray(change / reach * self.levels, dtype=np.float32)

    def place(self, points: Points) -> Points:
        """Move points around the origin to the canvas's middle."""
        return points + (self.side - 1) / 2


def toned(pixels: Pixels, change: npt.NDArray[np.floating]) -> Pixels:
    """Brighten and darken by (n, n, 3) or (n, n, 1) grey levels with the texture kept on top."""
    texture = np.clip(pixels / np.maximum(blurred(pixels, 3), 1), 0.6, 1.4)
    return np.asarray(pixels + change * texture, dtype=np.float32)


def covered(pixels: Pixels, alpha: Field, over: npt.NDArray[np.floating]) -> Pixels:
    """Lay something opaque over the pixels where `alpha` is 1."""
    return np.asarray(pixels + alpha[..., None] * (over - pixels), dtype=np.float32)


def _scratch(canvas: Canvas) -> Pixels:
    random = canvas.random
    assert isinstance(canvas.ranges, Scratches)
    shape = canvas.ranges.shapes[int(random.integers(len(canvas.ranges.shapes)))]
    angle = random.uniform(0, np.pi)
    bend = {"straight": 0.0, "curved": random.choice([-1, 1]) * random.uniform(0.1, 0.3), "branching": 0.05}[shape]
    path = straight(random, canvas.size, angle, bend=bend, jitter=0.01)
    strokes = [_groove(canvas, path, canvas.width)]
    for _ in range(int(random.integers(1, 4)) if shape == "branching" else 0):
        start = path[int(random.integers(len(path) // 5, 4 * len(path) // 5))]
        aside = angle + random.choice([-1, 1]) * random.uniform(0.25, 0.9)
        branch = straight(random, canvas.size * random.uniform(0.2, 0.45), aside, bend=0.05, jitter=0.01)
        strokes.append(_groove(canvas, branch - branch[0] + start, canvas.width * 0.7))
    groove = blurred(drawn(strokes[::-1], canvas.side), 0.45)
    relief = shading(-groove, canvas.light) * np.minimum(1, 2 * blurred(groove, 0.8))
    return toned(canvas.pixels, (canvas.levels * (canvas.sign(0.45) * groove + 0.45 * relief))[..., None])


def _groove(canvas: Canvas, path: Points, width: float) -> Stroke:
    """Give a path the pressure of a tool: it thins at its ends, skips and comes back."""
    count = len(path)
    taper = np.clip(1 - np.linspace(-1, 1, count) ** 2, 0.03, 1) ** 0.3
    knots = max(4, count // 10)
    pressure = np.clip(1.25 * noise_along(canvas.random, count, knots) + 0.3, 0.2, 1)
    widths = np.maximum(0.9, width * taper * (0.5 + 0.5 * noise_along(canvas.random, count, knots)))
    return Stroke(canvas.place(path), widths, pressure * np.clip(1.5 * taper, 0, 1))


def _crack(canvas: Canvas) -> Pixels:
    random = canvas.random
    angle = random.uniform(0, np.pi)
    path = jagged(random, canvas.size, angle)
    strokes = [_fissure(canvas, path, canvas.width)]
    for _ in range(int(random.integers(1, 5))):
        start = path[int(random.integers(len(path) // 6, 5 * len(path) // 6))]
        branch = jagged(random, canvas.size * random.uniform(0.12, 0.35), angle + random.uniform(-1.2, 1.2))
        strokes.append(_fissure(canvas, branch - branch[0] + start, canvas.width * 0.6))
    gap = blurred(drawn(strokes[::-1], canvas.side), 0.4)
    lips = shading(-gap, canvas.light) * np.minimum(1, 2 * blurred(gap, 1.0)) * (1 - gap)
    return toned(canvas.pixels, (canvas.levels * (canvas.sign(0.95) * gap + 0.3 * lips))[..., None])


def _fissure(canvas: Canvas, path: Points, width: float) -> Stroke:
    count = len(path)
    taper = np.clip(np.linspace(1.2, 0.2, count), 0, 1) if width < canvas.width else np.ones(count)
    opened = 0.4 + 0.6 * noise_along(canvas.random, count, max(4, count // 12))
    strengths = (0.65 + 0.35 * noise_along(canvas.random, count, max(4, count // 8))) * (0.4 + 0.6 * taper)
    return Stroke(canvas.place(path), np.maximum(0.9, width * opened * taper), strengths)


def _dent(canvas: Canvas) -> Pixels:
    bowl = blob(canvas.random, canvas.side, canvas.size * 0.85, roughness=0.12, soft=1)
    bowl = blurred(bowl, canvas.size * 0.09)
    lit = shading(-bowl, canvas.light)
    return toned(canvas.pixels, (canvas.levels * (lit - 0.15 * bowl))[..., None])


def _pit(canvas: Canvas) -> Pixels:
    floor = blob(canvas.random, canvas.side, canvas.size, roughness=0.35, soft=max(1.0, canvas.size * 0.15))
    lit = shading(-blurred(floor, max(0.6, canvas.size * 0.08)), canvas.light)
    lit = lit * np.minimum(1, 2 * blurred(floor, 0.5))
    return toned(canvas.pixels, (canvas.levels * (canvas.sign(0.9) * 0.8 * floor + 0.5 * lit))[..., None])


def _stain(canvas: Canvas) -> Pixels:
    random, size = canvas.random, canvas.size
    body = blob(random, canvas.side, size * 0.97, roughness=0.4, soft=max(1.0, size * 0.03))
    # A drop that dries leaves most of what it carried at its edge.
    rim = np.clip(body - blurred(body, size * 0.05), 0, 1) * random.uniform(0.3, 1.4)
    patchy = 1 - random.uniform(0.2, 0.6) * noise(random, canvas.side, size * 0.4)
    alpha = np.clip(body * patchy * 0.8 + rim, 0, 1)
    return toned(canvas.pixels, alpha[..., None] * canvas.towards(_STAINS, dark=0.7))


def _oxidation(canvas: Canvas) -> Pixels:
    random, size = canvas.random, canvas.size
    reach = blurred(blob(random, canvas.side, size * 0.95, roughness=0.5), size * 0.05)
    mottled = noise(random, canvas.side, size * 0.3, octaves=5) + 0.5 * reach - 0.25
    alpha = reach * np.clip((mottled - 0.4) / 0.22, 0, 1)
    grain = 0.6 + 0.6 * noise(random, canvas.side, max(3.0, size * 0.06), octaves=3)
    return toned(canvas.pixels, (alpha * grain)[..., None] * canvas.towards(_RUST, dark=0.75))


def _hole(canvas: Canvas) -> Pixels:
    outline = blob(canvas.random, canvas.side, canvas.size, roughness=0.18, soft=1.2)
    return _gone(canvas, outline, wall=canvas.size * 0.1)


def _edge_break(canvas: Canvas) -> Pixels:
    random, count = canvas.random, int(canvas.random.integers(7, 12))
    # Material breaks along few, nearly straight facets.
    angles = np.sort(random.uniform(0, 2 * np.pi, count))
    radius = canvas.size / 2 * random.uniform(0.65, 1, count)
    corners = np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)
    outline = filled(canvas.place(corners), canvas.side)
    rough = noise(random, canvas.side, max(3.0, canvas.size * 0.2))
    outline = blurred(outline, max(0.8, canvas.size * 0.05))
    outline = np.clip((outline - 0.3 - 0.4 * rough) * max(3.0, canvas.size * 0.12) + 0.5, 0, 1).astype(np.float32)
    return _gone(canvas, blurred(outline, 0.6), wall=canvas.size * 0.08)


def _gone(canvas: Canvas, outline: Field, *, wall: float) -> Pixels:
    """Show what is behind the part, and the broken wall around it as the light falls on it."""
    behind = canvas.background if canvas.background is not None else np.full(3, 20, np.float32)
    change = canvas.change_to(behind, dark=0.9)
    if canvas.background is not None:
        # More contrast than there is would show something else than what is known to be behind.
        reach = float(np.abs(behind - canvas.local()).max())
        change = change * min(1.0, max(reach, _TONE_APART) / canvas.levels)
    lit = shading(-blurred(outline, max(0.8, wall)), canvas.light)
    floor = (
        np.clip(canvas.local() + change, 12, 243)
        + 6 * (noise(canvas.random, canvas.side, 3, octaves=2) - 0.5)[..., None]
    )
    floor = floor + (0.35 * canvas.levels * lit * np.clip(2.2 - 2 * blurred(outline, wall), 0, 1))[..., None]
    rim = (0.3 * canvas.levels * lit * (1 - outline) * np.minimum(1, 2 * blurred(outline, 0.8)))[..., None]
    return covered(toned(canvas.pixels, rim), outline, floor)


def _foreign_object(canvas: Canvas) -> Pixels:
    if canvas.foreign:
        return _cut_from_another(canvas)
    random, size = canvas.random, canvas.size
    assert isinstance(canvas.ranges, ForeignObjects)
    shape = canvas.ranges.shapes[int(random.integers(len(canvas.ranges.shapes)))]
    if shape == "fibre":
        path = straight(random, size * 0.95, random.uniform(0, np.pi), bend=random.uniform(-0.4, 0.4), jitter=0.12)
        thick = np.full(len(path), max(1.2, size * 0.03))
        alpha = blurred(drawn([Stroke(canvas.place(path), thick, np.ones(len(path)))], canvas.side), 0.4)
        height, lift = blurred(alpha, max(0.6, size * 0.01)), max(1.0, size * 0.03)
    elif shape == "chip":
        angles = np.linspace(0, 2 * np.pi, int(random.integers(5, 9)), endpoint=False)
        angles += random.uniform(-0.3, 0.3, len(angles))
        corners = np.stack([np.cos(angles), random.uniform(0.5, 0.9) * np.sin(angles)], axis=1) * size / 2
        corners = turned(corners * random.uniform(0.75, 1, (len(angles), 1)), random.uniform(0, np.pi))
        alpha = blurred(filled(canvas.place(corners), canvas.side), 0.4)
        height, lift = blurred(alpha, max(0.8, size * 0.03)), max(1.0, size * 0.05)
    else:
        turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        alpha = filled(canvas.place(np.stack([np.cos(turn), np.sin(turn)], axis=1) * size / 2), canvas.side)
        alpha = blurred(alpha, 0.5)
        height, lift = blurred(_dome(alpha), size * 0.12), max(1.0, size * 0.08)
    lit = shading(height, canvas.light)
    colour = canvas.local() + canvas.towards(_THINGS, dark=0.6)
    grain = 14 * (noise(random, canvas.side, max(4.0, size * 0.4)) - 0.5)
    body = colour + (canvas.levels * (0.5 * lit + 0.5 * np.clip(lit - 0.75, 0, 1)) + grain)[..., None]
    return covered(_shadowed(canvas, alpha, lift), alpha, body)


def _cut_from_another(canvas: Canvas) -> Pixels:
    """Blend a piece of another image in: its edge takes the part's colours, as a Poisson blend's does."""
    random, side = canvas.random, canvas.side
    donor = canvas.foreign[int(random.integers(len(canvas.foreign)))]
    top = int(random.integers(max(1, donor.shape[0] - side + 1)))
    left = int(random.integers(max(1, donor.shape[1] - side + 1)))
    piece = donor[top : top + side, left : left + side].astype(np.float32)
    piece = np.pad(piece, ((0, side - piece.shape[0]), (0, side - piece.shape[1]), (0, 0)), mode="symmetric")
    alpha = blob(random, side, canvas.size, roughness=0.3, soft=2)
    # Spread the difference along the edge over the inside, by a normalised blur: OpenCV's solver fails at borders.
    edge = alpha * (1 - alpha)
    reach = canvas.size / 4
    membrane = blurred((canvas.pixels - piece) * edge[..., None], reach) / (blurred(edge, reach) + 1e-6)[..., None]
    sign = canvas.sign(0.5)
    body = piece + membrane + np.float32(sign * canvas.levels)
    return covered(_shadowed(canvas, alpha, max(1.0, canvas.size * 0.04)), alpha, body)


def _shadowed(canvas: Canvas, alpha: Field, lift: float) -> Pixels:
    """Darken what lies in the shadow of something."""
    shadow = _shadow(canvas, alpha, lift, lift * 0.6)
    return np.asarray(canvas.pixels * (1 - 0.8 * canvas.contrast * shadow[..., None]), dtype=np.float32)


def _shadow(canvas: Canvas, alpha: Field, lift: float, soft: float) -> Field:
    """Return a shape moved away from the light and blurred."""
    move = np.array([[1, 0, -lift * math.cos(canvas.light)], [0, 1, lift * math.sin(canvas.light)]], dtype=np.float32)
    return blurred(np.asarray(cv2.warpAffine(alpha, move, alpha.shape[::-1]), dtype=np.float32), soft)


def _dome(alpha: Field) -> Field:
    """Return a round relief over a shape: as high as a circle would be over its distance from the edge."""
    inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    share = inside / max(float(inside.max()), 1e-6)
    return blurred(np.sqrt(np.clip(2 * share - share**2, 0, 1)).astype(np.float32), 0.7)


def _speck(canvas: Canvas) -> Pixels:
    grain = blob(canvas.random, canvas.side, canvas.size, roughness=0.3, soft=max(0.8, canvas.size * 0.2))
    strength = canvas.levels * canvas.sign(0.85) * canvas.random.uniform(0.6, 1)
    lit = shading(grain, canvas.light) * 0.2 * canvas.levels
    return toned(canvas.pixels, (strength * grain + lit)[..., None])


def _bridge(canvas: Canvas) -> Pixels:
    random, width = canvas.random, min(canvas.width, canvas.size / 2)
    path = straight(random, max(1.0, canvas.size - width), random.uniform(0, np.pi), bend=0.04, jitter=0.02)
    # Solder gathers at both pads and is drawn thin between them.
    waist = random.uniform(0.45, 0.8)
    widths = width * (waist + (1 - waist) * np.abs(np.linspace(-1, 1, len(path))) ** 1.5)
    alpha = drawn([Stroke(canvas.place(path), widths, np.ones(len(path)))], canvas.side)
    alpha = blurred(alpha, 0.6)
    lit = shading(blurred(_dome(alpha), width * 0.12), canvas.light)
    colour = canvas.local() + canvas.towards(_SOLDER, dark=0.1)
    shine = 0.5 * lit + 1.2 * np.clip(lit - 0.55, 0, 1)
    return covered(_shadowed(canvas, alpha, max(0.8, width * 0.15)), alpha, colour + (canvas.levels * shine)[..., None])


def _misplacement(canvas: Canvas) -> Pixels:
    random, size, side = canvas.random, canvas.size, canvas.side
    assert isinstance(canvas.ranges, Misplacements)
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (0.5, random.uniform(0.3, 0.5)) * size
    piece = blurred(filled(canvas.place(half), side), 0.6)
    heading = random.uniform(0, 2 * np.pi)
    step = np.array([math.cos(heading), math.sin(heading)]) * size * random.uniform(*canvas.ranges.shift)
    angle = random.choice([-1, 1]) * random.uniform(*canvas.ranges.angle)
    middle = (side - 1) / 2
    move = cv2.getRotationMatrix2D((middle, middle), angle, 1.0)
    move[:, 2] = move[:, 2] + step
    moved, alpha = (
        np.asarray(
            cv2.warpAffine(one, move, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
            dtype=np.float32,
        )
        for one in (canvas.pixels, piece)
    )
    # What the piece uncovers is drawn as what lies next to it on that side.
    aside = np.array([[1, 0, size * math.cos(heading)], [0, 1, size * math.sin(heading)]], dtype=np.float32)
    beside = cv2.warpAffine(canvas.pixels, aside, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    uncovered = covered(canvas.pixels, piece, np.asarray(beside, dtype=np.float32))
    lift = max(1.0, size * 0.03)
    shadow = _shadow(canvas, alpha, lift, lift * 0.7) * np.clip(3 * blurred(1 - alpha, 0.5), 0, 1)
    return covered(toned(uncovered, (-canvas.levels * shadow)[..., None]), alpha, moved)


def _finish(canvas: Canvas) -> Pixels:
    random, size = canvas.random, canvas.size
    assert isinstance(canvas.ranges, Finishes)
    shape = canvas.ranges.shapes[int(random.integers(len(canvas.ranges.shapes)))]
    smooth = blurred(canvas.pixels, 3)
    if shape == "patch":
        # What the tool did not reach has the raw surface's fine grain and none of the tool's marks.
        zone = _slender(
            blob(random, canvas.side, size * 0.95, roughness=0.2, soft=2), random.uniform(0.35, 0.9), random
        )
        grain = 2 * canvas.levels * random.uniform(0.1, 0.3) * (noise(random, canvas.side, 4, octaves=2) - 0.5)
        surface = blurred(canvas.pixels, size * 0.1) + grain[..., None]
    else:
        # A band crosses the picture, as a tool that was set down late or lifted early leaves it.
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (canvas.side, random.uniform(0.05, 0.25) * size)
        corners = turned(half, random.integers(2) * np.pi / 2 + random.normal(0, 0.03))
        zone = blurred(filled(canvas.place(corners), canvas.side), random.uniform(0.5, 3))
        streaks = np.roll(canvas.pixels - smooth, int(random.integers(canvas.side)), axis=int(random.integers(2)))
        surface = smooth + 2 ** random.uniform(-1, 1) * streaks
    tone = canvas.levels * canvas.sign(0.5) * (0.8 + 0.4 * noise(random, canvas.side, size * 0.5))
    return covered(canvas.pixels, zone, surface + tone[..., None])


def _slender(zone: Field, share: float, random: np.random.Generator) -> Field:
    """Press a shape together across a random direction, to `share` of its width."""
    middle = (len(zone) - 1) / 2
    angle = random.uniform(0, np.pi)
    along = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    back = along @ np.diag([1, 1 / share]) @ along.T
    move = np.hstack([back, np.full((2, 1), middle) - back @ np.full((2, 1), middle)])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(zone, move, zone.shape[::-1], flags=flags), dtype=np.float32)


DRAW: dict[Kind, Callable[[Canvas], Pixels]] = {
    "scratch": _scratch,
    "crack": _crack,
    "dent": _dent,
    "pit": _pit,
    "stain": _stain,
    "oxidation": _oxidation,
    "hole": _hole,
    "edge-break": _edge_break,
    "foreign-object": _foreign_object,
    "specks": _speck,
    "bridge": _bridge,
    "misplacement": _misplacement,
    "finish": _finish,
}
