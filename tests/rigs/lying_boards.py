"""Boards that lie anyhow on a belt: pictures of good ones, some without a capacitor, and of what is no board."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.simulation.parts import Simulation

_LEFT, _TOP, _RIGHT, _BOTTOM = 24, 44, 326, 306
"""Where the board is in the drawn picture."""

_LACKING = (0, 2, 13, 17, 34, 44)
"""Seeds of a missing component that is one of the three capacitors beside one another."""

_SIDE = 520
Picture = npt.NDArray[np.uint8]


def write_boards(folder: Path, good: int = 44) -> Path:
    """Write a data set in MVTec layout, the bare belt among its good pictures, and return its folder."""
    drawing, random = Simulation(product="pcb"), np.random.default_rng(5)
    for number in range(good):
        _write(folder / "train" / "good" / f"{number:03}.png", lying(drawing.good(number).image, random))
    _write(folder / "train" / "good" / "bare.png", _belt(random))
    for number, seed in enumerate(_LACKING):
        bad = drawing.defective("missing_component", seed)
        _write(folder / "test" / "missing" / f"{number:03}.png", lying(bad.image, random))
        _write(folder / "test" / "good" / f"{number:03}.png", lying(drawing.good(900 + number).image, random))
    return folder


def lying(picture: Any, random: np.random.Generator) -> Picture:
    """Return the board of a (352, 352, 3) uint8 picture, turned and moved at random on a belt."""
    mask = np.zeros(picture.shape[:2], np.float32)
    mask[_TOP:_BOTTOM, _LEFT:_RIGHT] = 1
    middle = ((_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2)
    matrix = cv2.getRotationMatrix2D(middle, random.uniform(0, 360), 1.0)
    matrix[:, 2] += _SIDE / 2 + random.uniform(-35, 35, 2) - np.array(middle)
    covered = cv2.warpAffine(mask, matrix, (_SIDE, _SIDE))[..., None]
    laid = cv2.warpAffine(picture.astype(np.float32), matrix, (_SIDE, _SIDE))
    return np.asarray(np.clip(_belt(random) * (1 - covered) + laid * covered, 0, 255), dtype=np.uint8)


def _belt(random: np.random.Generator) -> Picture:
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE]
    weave = 5 * np.sin(columns / 2.4) * np.sin(rows / 2.4)
    light = 1 + 0.1 * (columns / _SIDE - 0.5)
    grey = (172 + weave + random.normal(0, 2, weave.shape)) * light
    return np.asarray(np.clip(np.dstack([grey, grey, grey * 1.03]), 0, 255), dtype=np.uint8)


def _write(file: Path, image: Picture) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
