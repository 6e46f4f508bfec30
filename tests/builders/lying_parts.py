"""Parts that lie anyhow on a ground, drawn, and where they lie by truth."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 84, 120
"""Of an upright part, in pixels."""


class Lying(NamedTuple):
    """A picture, and where its part lies: middle (x, y) from the picture's corner, and degrees from x to y."""

    picture: Image
    x: float
    y: float
    angle: float


def outline() -> npt.NDArray[np.bool_]:
    """Return a plate with a corner cut off, by which its ends are told apart."""
    mask = np.ones((HEIGHT, WIDTH), dtype=np.bool_)
    mask[: HEIGHT // 3, : WIDTH // 4] = False
    return mask


def looks(seed: int) -> Image:
    """Return a grey plate of its own grain."""
    random = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(random.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.5)
    grey = 165 + 40 * grain + np.linspace(-12, 12, WIDTH)[None, :]
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def ground(height: int, width: int, random: np.random.Generator, *, structured: bool = False) -> Image:
    """Return a green belt, woven where it is `structured`, under a light that falls off to one side."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    belt = np.array([60.0, 95.0, 70.0]) * np.ones((height, width, 1))
    if structured:
        weave = 0.12 * np.sin((x + random.uniform(0, 9)) / 2.5) * np.sin(y / 2.5) + 0.08 * np.sin((x + y / 3) / 17)
        belt = belt * (1 + weave[..., None])
    return np.clip(belt + random.normal(0, 2.5, belt.shape), 0, 255).astype(np.uint8)


def lying(
    seed: int,
    *,
    size: tuple[int, int] = (240, 320),
    structured: bool = False,
    angle: float | None = None,
    middle: tuple[float, float] | None = None,
    part: Image | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
) -> Lying:
    """Return a part in a picture of `size` (height, width), turned and moved at random, under uneven light."""
    random = np.random.default_rng(seed)
    height, width = size
    turned = random.uniform(0, 360) if angle is None else angle
    x, y = middle or (random.uniform(0.4, 0.6) * width, random.uniform(0.4, 0.6) * height)
    picture = laid(
        ground(height, width, random, structured=structured), x, y, turned, looks(seed) if part is None else part, mask
    )
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    direction = random.uniform(0, 2 * np.pi)
    light = 1 + 0.35 * (np.cos(direction) * (columns / width - 0.5) + np.sin(direction) * (rows / height - 0.5))
    return Lying(np.clip(picture * light[..., None], 0, 255).astype(np.uint8), x, y, turned)


def laid(
    picture: Image, x: float, y: float, angle: float, part: Image, mask: npt.NDArray[np.bool_] | None = None
) -> Image:
    """Lay a part onto a picture, its middle at (x, y)."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([x, y]) - 0.5 - turn @ np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    matrix, size = np.column_stack([turn, shift]), (picture.shape[1], picture.shape[0])
    covered = cv2.warpAffine((outline() if mask is None else mask).astype(np.float32), matrix, size)[..., None]
    drawn = cv2.warpAffine(part.astype(np.float32), matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(picture * (1 - covered) + drawn * covered), 0, 255).astype(np.uint8)
