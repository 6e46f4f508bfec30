"""Plates and a model of them, for the modules that change what a fitted model says or knows."""

from pathlib import Path

import pytest
from plates import fit_plates, write_plates


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plates(tmp_path_factory.mktemp("plates") / "plates", train=30, test=6)


@pytest.fixture(scope="module")
def model(images: Path) -> Path:
    fit_plates(images, images.parent / "model")
    return images.parent / "model"
