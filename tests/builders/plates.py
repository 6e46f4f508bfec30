"""Small pictures of brushed plates in MVTec layout, good and scratched, and a model of them in a second."""

from pathlib import Path

import cv2
import numpy as np

from neverblink.trainer.datasets.images import good_images
from neverblink.trainer.fitting.fit import Fitted, fit
from neverblink.trainer.fitting.settings import FitSettings

SIDE = 64


def plate(seed: int, *, scratched: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return a (64, 64) uint8 plate and the mask of its scratch."""
    random = np.random.default_rng(seed)
    brushed = np.repeat(random.normal(140, 12, (SIDE, 1)), SIDE, axis=1) + random.normal(0, 5, (SIDE, SIDE))
    image = np.clip(brushed, 0, 255).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if scratched:
        start = random.integers(6, 20, 2)
        cv2.line(mask, start.tolist(), (start + random.integers(12, 22, 2)).tolist(), 255, 3)
        image[mask > 0] = 235
    return image, mask


def write_plates(folder: Path, *, train: int = 10, test: int = 6, defect: str = "scratch") -> Path:
    """Write `train` good plates, `test` good ones and as many scratched ones with masks."""
    for name, count, start, scratched in (
        ("train/good", train, 0, False),
        ("test/good", test, 1000, False),
        (f"test/{defect}", test, 2000, True),
    ):
        (folder / name).mkdir(parents=True)
        (folder / "ground_truth" / defect).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image, mask = plate(start + number, scratched=scratched)
            cv2.imwrite(str(folder / name / f"{number:03}.png"), image)
            if scratched:
                cv2.imwrite(str(folder / "ground_truth" / defect / f"{number:03}_mask.png"), mask)
    return folder


def fit_plates(images: Path, folder: Path) -> Fitted:
    """Fit a small model to the good ones."""
    settings = FitSettings(product="plate", name="plate", size=SIDE, ratio=0.01, brightness=(1.0,))
    return fit(good_images(images), folder, settings)
