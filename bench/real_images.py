"""Where the benchmarks find real images and weights: folders that are named, never part of the project."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import read_image

RESNET18 = "weights/resnet18-conv1-to-layer3.safetensors"
"""ImageNet ResNet-18 up to layer 3, below the data folder."""

Image = npt.NDArray[np.uint8]


def data_folder(parser: argparse.ArgumentParser, given: Path | None) -> Path:
    """Return the folder of all data sets: what was given, else NEVERBLINK_DATA; ends the program without one."""
    folder = given or (Path(os.environ["NEVERBLINK_DATA"]) if "NEVERBLINK_DATA" in os.environ else None)
    if folder is None or not folder.is_dir():
        parser.error(f"no data folder {folder or ''}: name one by --data or by NEVERBLINK_DATA")
    return folder


def weights_of(model: str, data: Path) -> Path | None:
    """Return the weights file of a network that has no packaged weights."""
    return data / RESNET18 if model == "resnet18" else None


def read_all(paths: Sequence[Path]) -> list[Image]:
    """Decode images into (H, W, 3) uint8 RGB, each of its own size."""
    return [read_image(path) for path in paths]
