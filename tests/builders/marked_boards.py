"""Boards whose outline cannot be told from the ground they lie on, drawn, and where they lie by truth."""

import cv2
import numpy as np
import numpy.typing as npt
from lying_parts import Lying

Image = npt.NDArray[np.uint8]

BOARD_HEIGHT, BOARD_WIDTH = 120, 160
SIZE = 240, 320


def rectangles(picture: Image, count: int, random: np.random.Generator, sides: tuple[int, int]) -> None:
    """Draw so many rectangles of any colour over a picture."""
    height, width = picture.shape[:2]
    for _ in range(count):
        left, top = int(random.integers(-8, width)), int(random.integers(-8, height))
        across, down = (int(side) for side in random.integers(*sides, 2))
        colour = tuple(int(value) for value in random.integers(20, 230, 3))
        cv2.rectangle(picture, (left, top), (left + across, top + down), colour, -1)


def board(seed: int, *, product: int = 3, width: int = BOARD_WIDTH, height: int = BOARD_HEIGHT) -> Image:
    """Return a board that bears the marks of its product, with a grain of its own."""
    drawn = np.full((height, width, 3), (40, 90, 60), np.uint8)
    rectangles(drawn, height * width // 450, np.random.default_rng(product), (6, 26))
    random = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(random.standard_normal((height, width)).astype(np.float32), (0, 0), 3)[..., None]
    return np.clip(drawn + random.normal(0, 5, drawn.shape) + 20 * grain, 0, 255).astype(np.uint8)


def clutter(random: np.random.Generator) -> Image:
    """Return a ground as full of shapes as a board is, others every time."""
    drawn = np.full((*SIZE, 3), (60, 80, 70), np.uint8)
    rectangles(drawn, 110, random, (6, 40))
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 1), dtype=np.uint8)


def on_clutter(
    seed: int, *, product: int = 3, part: Image | None = None, ground: Image | None = None, fixed: bool = False
) -> Lying:
    """Return a board on a ground that is as full, turned and moved at random unless it is fixed, under uneven light."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, 360)
    x, y = random.uniform(120, 200), random.uniform(105, 135)
    if fixed:
        angle, x, y = 0.0, 160.0, 120.0
    drawn = clutter(random) if ground is None else ground
    return _lit(_laid(drawn, board(seed, product=product) if part is None else part, x, y, angle), x, y, angle, random)


def filling(seed: int, *, turn: float = 8.0, shift: float = 12.0) -> Lying:
    """Return a picture that a larger board fills, turned and shifted a little under the camera."""
    random = np.random.default_rng(seed)
    height, width = SIZE
    angle = random.uniform(-turn, turn)
    x, y = width / 2 + random.uniform(-shift, shift), height / 2 + random.uniform(-shift, shift)
    whole = board(seed, width=2 * width, height=2 * height)
    return _lit(_laid(np.zeros((*SIZE, 3), np.uint8), whole, x, y, angle), x, y, angle, random)


def _laid(picture: Image, part: Image, x: float, y: float, angle: float) -> Image:
    height, width = part.shape[:2]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.column_stack([turn, np.array([x, y]) - 0.5 - turn @ np.array([(width - 1) / 2, (height - 1) / 2])])
    size = picture.shape[1], picture.shape[0]
    covered = cv2.warpAffine(np.ones((height, width), np.float32), matrix, size)[..., None]
    drawn = cv2.warpAffine(part.astype(np.float32), matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(picture * (1 - covered) + drawn * covered), 0, 255).astype(np.uint8)


def _lit(picture: Image, x: float, y: float, angle: float, random: np.random.Generator) -> Lying:
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    direction = random.uniform(0, 2 * np.pi)
    across, down = columns / picture.shape[1] - 0.5, rows / picture.shape[0] - 0.5
    light = 1 + 0.35 * (np.cos(direction) * across + np.sin(direction) * down)
    return Lying(np.clip(picture * light[..., None], 0, 255).astype(np.uint8), x, y, angle)
