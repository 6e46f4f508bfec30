"""Small plates with four parts on them, one of which may be absent, another one, or turned round."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

SIDE = 96
PARTS = {"screw": (16, 16), "label": (56, 16), "plug": (16, 56), "clip": (56, 56)}
"""Left and top of each part; a part is 24 pixels wide."""

_WIDE = 24
_COLOURS = {"screw": (60, 60, 190), "label": (200, 190, 60), "plug": (60, 170, 70), "clip": (180, 70, 170)}


def polygon_of(part: str) -> list[list[int]]:
    """Return the corners of a part's room."""
    x, y = PARTS[part]
    return [[x, y], [x + _WIDE, y], [x + _WIDE, y + _WIDE], [x, y + _WIDE]]


def plate(seed: int, **faults: str) -> Image:
    """Return a plate, (96, 96, 3) uint8 RGB; `faults` say of parts that they are absent, wrong or turned."""
    random = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), 120 + random.integers(-4, 5), dtype=np.uint8)
    for part, (x, y) in PARTS.items():
        fault = faults.get(part)
        if fault == "absent":
            continue
        colour = (230, 230, 230) if fault == "wrong" else _COLOURS[part]
        cv2.rectangle(image, (x + 3, y + 3), (x + _WIDE - 4, y + _WIDE - 4), colour, -1)
        # A dark bar says which way round a part lies.
        at = y + (_WIDE - 9 if fault == "turned" else 5)
        cv2.rectangle(image, (x + 5, at), (x + _WIDE - 6, at + 3), (20, 20, 20), -1)
    noise = random.normal(0, 3, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), dtype=np.uint8)


def write_plates(folder: Path, count: int, first: int = 0, **faults: str) -> list[Path]:
    """Write plates as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.png" for number in range(first, first + count)]
    for number, path in enumerate(paths, start=first):
        cv2.imwrite(str(path), cv2.cvtColor(plate(number, **faults), cv2.COLOR_RGB2BGR))
    return paths
