"""Pictures that are not as many witnesses as they are: made of real tiles, each kind with what it is grouped by."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Kind = Literal["near copies", "items", "drift"]
KINDS: tuple[Kind, ...] = ("near copies", "items", "drift")

SIDE = 144
"""Tiles are made so large; the network sees 128 px."""

_SHOTS = {"near copies": 3, "items": 5, "drift": 1}
_MOST = {"near copies": 450, "items": 600, "drift": 360}

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Grouped(NamedTuple):
    """Pictures (H, W, 3) uint8 RGB with the `group` (n,) int64 of each; drift is in order, each its own group."""

    pictures: list[Image]
    group: npt.NDArray[np.int64]


def grouped(tiles: Sequence[Image], kind: Kind, *, seed: int = 0) -> Grouped:
    """Return pictures of one kind, each group from another tile.

    - near copies: a part three times, between the shots the exposure wavers by 1 % and the sensor makes noise;
    - items: a part five times, laid down anew each time: a few pixels elsewhere, half a degree turned. Parts have their
      own shade, light and marks: such as a stain or a line of the press that is not on others;
    - drift: light falls to 70 %, and the press leaves more and more marks, from the first picture to the last.
    """
    random = np.random.default_rng(seed)
    shots = _SHOTS[kind]
    pictures: list[Image] = []
    group: list[int] = []
    parts = _MOST[kind] // shots
    for part in range(parts):
        tile = cv2.resize(cv2.cvtColor(tiles[part], cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        own = tile.astype(np.float32)
        if kind == "items":
            own = _marked(own * random.normal(1, 0.08), random, int(random.integers(0, 4)))
        elif kind == "drift":
            age = part / parts
            own = _marked(own * (1 - 0.3 * age), random, int(random.poisson(6 * age)))
        for _ in range(shots):
            shot = own if kind == "drift" else own * random.normal(1, 0.01)
            if kind == "items":
                shot = _laid_down(shot, random)
            shot = shot + random.normal(0, 2, shot.shape)
            grey = np.clip(shot, 0, 255).astype(np.uint8)
            pictures.append(np.stack([grey, grey, grey], axis=2))
            group.append(part)
    return Grouped(pictures, np.array(group, dtype=np.int64))


def _laid_down(picture: Floats, random: np.random.Generator) -> Floats:
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), random.normal(0, 0.5), 1)
    turn[0, 2] += random.normal(0, 1.5)
    turn[1, 2] += random.normal(0, 1.5)
    return cv2.warpAffine(picture, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT).astype(np.float32)


def _marked(picture: Floats, random: np.random.Generator, marks: int) -> Floats:
    """Return a picture with faint lines and stains of its own."""
    layer = np.zeros_like(picture)
    for _ in range(marks):
        ends = random.integers(0, SIDE, 4).tolist()
        strength = float(random.uniform(10, 30) * random.choice([-1, 1]))
        if random.random() < 0.5:
            cv2.line(layer, (ends[0], ends[1]), (ends[2], ends[3]), strength, int(random.integers(1, 4)))
        else:
            cv2.circle(layer, (ends[0], ends[1]), int(random.integers(3, 12)), strength, -1)
    return np.asarray(picture + cv2.GaussianBlur(layer, (0, 0), 1.0), dtype=np.float32)
