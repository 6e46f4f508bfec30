"""Galleries of a report: cards with pictures that are small and inside the page."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.artifact import Artifact
from neverblink.vision.decode import Image
from neverblink.vision.overlay import at_most, overlay

LABEL_COLOUR = (255, 196, 0)
"""RGB of what is labelled."""

_SIDE = 320
_JPEG_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Card:
    """One image of a gallery and lines about it; its pictures are None when it could not be read again."""

    name: str
    lines: tuple[str, ...]
    image: str | None
    heat: str | None = None


class Gallery(NamedTuple):
    """Cards, and what they have in common."""

    title: str
    says: str
    cards: list[Card]


def name_of(path: Path) -> str:
    """Return what an image is called on a page: its folder, which says its kind, and its file."""
    return f"{path.parent.name}/{path.name}"


def small(image: Image) -> Image:
    """Return an (H, W, 3) uint8 RGB image as a page shows it, of at most 320 pixels a side."""
    return at_most(image, _SIDE)


def data_url(image: Image) -> str:
    """Return an (H, W, 3) uint8 RGB image as a JPEG that is part of the page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()


def jpeg(image: Image) -> bytes:
    """Return an (H, W, 3) uint8 RGB image as a JPEG of a gallery's quality."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes())


class HeatScale(NamedTuple):
    """Map values by which heat is drawn: `normal`, that of half of all good parts, and the map's threshold."""

    normal: float
    threshold: float

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Return an artifact's."""
        return cls(artifact.map_normal, artifact.map_threshold)


HEAT_SAYS = (
    "a bluish tint begins at what the maps of half of all good parts reach, and warm colours mark what is above the"
    " map's threshold on parts whose score is above theirs; without colour, the map sees nothing there"
)
"""What a page says about its heat maps."""


def heat(image: Image, anomaly_map: npt.NDArray[np.float32], scale: HeatScale, *, anomalous: bool) -> Image:
    """Return an (H, W, 3) uint8 RGB image with its map over it, warm in an `anomalous` one alone."""
    return overlay(image, anomaly_map, scale.threshold, normal=scale.normal, anomalous=anomalous)
