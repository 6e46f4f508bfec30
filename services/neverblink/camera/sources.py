"""Where a station's images come from. A source blocks, so it is grabbed in the acquisition thread only."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.camera.simulation import PRODUCTS, Simulation
from neverblink.events import Reason
from neverblink.plant import FolderSource, Payload, PlantError, SimulatedSource, Station
from neverblink.vision.decode import SUFFIXES, ImageError, decode

_TRAVELS_AS_IT_IS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


class SourceError(RuntimeError):
    """A picture could not be had; `reason` is the verdict's, the message says what to look at."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Picture:
    """One grabbed image: (H, W, 3) uint8 RGB, and its bytes as they will travel."""

    pixels: NDArray[np.uint8]
    body: bytes
    content_type: str

    @property
    def sha256(self) -> str:
        """Return the digest of the bytes."""
        return hashlib.sha256(self.body).hexdigest()


class Source(Protocol):
    """Something that yields the picture of a part."""

    def grab(self, number: int) -> Picture:
        """Return the picture of the station's `number`-th part, counted from 1. Raises SourceError."""
        ...


class FolderReplay:
    """Image files of a folder, one a part: part n shows file (n − 1) modulo the number of files."""

    def __init__(self, settings: FolderSource, payload: Payload) -> None:
        if not settings.path.is_dir():
            raise PlantError(f"the folder {settings.path} does not exist; set source.path to a folder of images")
        self._files = ordered_images(settings.path, shuffle=settings.shuffle, seed=settings.seed)
        if not self._files:
            raise PlantError(f"the folder {settings.path} has no image files ({', '.join(sorted(SUFFIXES))})")
        self._loop = settings.loop
        self._payload = payload

    def grab(self, number: int) -> Picture:
        """Read the part's file. PNG and JPEG travel as they are, other formats are encoded."""
        if number > len(self._files) and not self._loop:
            raise SourceError(Reason.NO_IMAGE, f"the folder has {len(self._files)} images and does not loop")
        path = self._files[(number - 1) % len(self._files)]
        try:
            body = path.read_bytes()
        except OSError as error:
            raise SourceError(Reason.NO_IMAGE, f"the file {path.name} cannot be read: {error}") from error
        pixels = _decoded(body, path.name)
        content_type = _TRAVELS_AS_IT_IS.get(path.suffix.lower())
        if content_type is None:
            return encoded(pixels, self._payload)
        return Picture(pixels, body, content_type)


class SimulatedCamera:
    """Drawn parts: the same part number shows the same part, in every process."""

    def __init__(self, settings: SimulatedSource, payload: Payload) -> None:
        if settings.drawing not in PRODUCTS:
            raise PlantError(f"there is no drawing {settings.drawing!r}; there are {', '.join(sorted(PRODUCTS))}")
        self._simulation = Simulation(
            product=settings.drawing,
            seed=settings.seed,
            defect_rate=settings.defect_rate,
            brightness=settings.brightness,
        )
        self._payload = payload

    def grab(self, number: int) -> Picture:
        """Draw the part and encode it."""
        return encoded(self._simulation.part(number).image, self._payload)


def open_source(station: Station) -> Source:
    """Return the station's source. Raises PlantError when it cannot work."""
    if isinstance(station.source, FolderSource):
        return FolderReplay(station.source, station.payload)
    return SimulatedCamera(station.source, station.payload)


def ordered_images(folder: Path, *, shuffle: bool, seed: int) -> list[Path]:
    """Return the image files below a folder, by name or in the order that `seed` draws."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if shuffle:
        random.Random(seed).shuffle(files)
    return files


def encoded(pixels: NDArray[np.uint8], payload: Payload) -> Picture:
    """Encode (H, W, 3) uint8 RGB pixels as the station's payload asks."""
    # PNG level 1: three times as fast as the default for a few per cent more bytes.
    flags = {
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, payload.jpeg_quality],
    }
    done, body = cv2.imencode(f".{payload.format}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags[payload.format])
    if not done:
        raise SourceError(Reason.CORRUPT_IMAGE, f"a {pixels.shape} image cannot be encoded as {payload.format}")
    return Picture(pixels, body.tobytes(), f"image/{payload.format}")


def _decoded(body: bytes, name: str) -> NDArray[np.uint8]:
    try:
        return decode(body)
    except ImageError as error:
        raise SourceError(Reason(error.reason), f"{name}: {error}") from error
