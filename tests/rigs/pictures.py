"""Pictures that say which one they are, and the video files and cameras that show them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from neverblink.vision.decode import ImageError, decode

BITS = 12
_CELL = 16


def numbered(number: int, height: int = 64) -> NDArray[np.uint8]:
    """Draw a noisy picture, (height, 192, 3) uint8 RGB, whose top row of cells is `number` in binary."""
    random = np.random.default_rng(number)
    image = random.integers(90, 150, (height, BITS * _CELL, 3), dtype=np.uint8)
    for bit in range(BITS):
        level = 230 if number >> bit & 1 else 20
        image[:_CELL, bit * _CELL : (bit + 1) * _CELL] = level
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """Read the number of a picture, also after a lossy codec."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    cells = [grey[4:12, bit * _CELL + 4 : bit * _CELL + 12].mean() for bit in range(BITS)]
    return sum(1 << bit for bit, level in enumerate(cells) if level > 125)


def video_file(path: Path, pictures: int, rate: float = 50.0) -> Path:
    """Write an AVI of numbered pictures, from 0."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (BITS * _CELL, 64))
    assert writer.isOpened()
    for number in range(pictures):
        writer.write(cv2.cvtColor(numbered(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def encoded(suffix: str, image: NDArray[Any], *flags: int) -> bytes:
    """Return a picture, (H, W) or (H, W, 3) RGB, as a file of that kind."""
    ordered = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(suffix, ordered, flags)[1].tobytes())


def refusal(data: bytes, **how: Any) -> ImageError:
    """Return how a file is refused; one that is not is a failure."""
    with pytest.raises(ImageError) as refused:
        decode(data, **how)
    return refused.value
