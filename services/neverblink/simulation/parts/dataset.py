"""Simulated parts as a folder in MVTec AD layout, for everything that learns from images."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.simulation.parts.drawing import SimulationError
from neverblink.simulation.parts.simulation import Simulation


def write_dataset(
    folder: Path, sim: Simulation, *, train: int = 300, test_good: int = 50, per_defect: int = 10
) -> None:
    """Write train/good, test/good, test/<defect> and ground_truth/<defect>/NNN_mask.png as PNG files.

    Training and test images are different exposures, and none of them is a `part` of the simulation.
    Raises OSError when a file cannot be written, SimulationError for a negative count.
    """
    counts = {"train": train, "test_good": test_good, "per_defect": per_defect}
    for name, count in counts.items():
        if count < 0:
            raise SimulationError(f"{name} must be 0 or more images, not {count}.")
    for number in range(train):
        _write(folder / "train" / "good" / f"{number:03d}.png", sim.good(number).image)
    for number in range(test_good):
        _write(folder / "test" / "good" / f"{number:03d}.png", sim.good(train + number).image)
    for kind in sim.drawing.defects:
        for number in range(per_defect):
            part = sim.defective(kind.name, number)
            _write(folder / "test" / kind.name / f"{number:03d}.png", part.image)
            mask = part.mask.astype(np.uint8) * np.uint8(255)
            _write(folder / "ground_truth" / kind.name / f"{number:03d}_mask.png", mask)


def _write(file: Path, image: NDArray[np.uint8]) -> None:
    """Write (h, w) grey or (h, w, 3) RGB, through memory so that a failing disk raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    _, png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    file.write_bytes(png.tobytes())
