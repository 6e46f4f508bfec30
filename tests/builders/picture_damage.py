"""A corpus of pictures in every format, drawn and real, and damage of many kinds, the same for the same seed."""

import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from plates import plate

FORMATS = ("JPEG baseline", "JPEG progressive", "PNG", "BMP", "TIFF", "WebP")
SUFFIXES = dict(zip(FORMATS, (".jpg", ".jpg", ".png", ".bmp", ".tif", ".webp"), strict=True))
HARMLESS = ("trailing bytes", "another picture behind", "metadata")
DAMAGE = (
    "cut",
    "cut, filled with zeros",
    "cut, end marker",
    "cut, next picture",
    "block lost",
    "block repeated",
    "blocks swapped",
    "hole of 64 bytes",
    "larger hole",
    "noise in a hole",
    "wrong size stated",
    "scans removed",
    "bit flipped in the header",
    "bit flipped in the data",
)
REAL = ("magnetic-tile", "cookie", "deeppcb", "mvtec-hazelnut-256", "mvtec-transistor-256")


@dataclass(frozen=True)
class Whole:
    """An undamaged file: `data` begins at byte `body` with what a header does not say."""

    format: str
    name: str
    data: bytes
    body: int

    @property
    def sixteen(self) -> bool:
        return "16 bits" in self.name


def pictures(seed: int = 0) -> list[np.ndarray]:
    """Drawn pictures, and one of each real data set that is here: (H, W, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    found = [plate(rng, 150, 200), plate(rng, 131, 97), np.clip(rng.normal(120, 40, (96, 128, 3)), 0, 255)]
    flat = np.full((160, 240, 3), 255)
    flat[40:90, 60:150] = rng.integers(0, 256, (50, 90, 3))
    found.append(flat)
    data = Path(os.environ.get("NEVERBLINK_DATA", "nowhere"))
    for name in REAL:
        path = next(iter(sorted((data / name / "train" / "good").glob("*.*"))), None)
        if path is not None:
            image = cv2.imread(str(path))
            found.append(cv2.resize(image, None, fx=200 / image.shape[1], fy=200 / image.shape[1]))
    return [np.asarray(image, dtype=np.uint8) for image in found]
