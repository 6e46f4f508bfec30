"""Where a station's images come from. A source blocks, so it is used in the acquisition thread only."""

import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neverblink.camera.instruments import Instruments
from neverblink.camera.live import LiveSource, Stream
from neverblink.camera.picture import Picture, SourceError, encoded
from neverblink.camera.streams.network import network_camera
from neverblink.camera.streams.recording import FilePictures, FilePlayback
from neverblink.camera.streams.v4l2 import V4l2Camera
from neverblink.events import Reason
from neverblink.plant import (
    FolderSource,
    GenicamSource,
    GigeSource,
    HardwareTrigger,
    LiveSettings,
    Payload,
    PlantError,
    RtspSource,
    SimulatedSource,
    Station,
    V4l2Source,
    VideoSource,
)
from neverblink.simulation.parts import PRODUCTS, Simulation
from neverblink.storage.listing import files_in
from neverblink.vision.decode import SUFFIXES, ImageError, decode, has_16_bits

_TRAVELS_AS_IT_IS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


class Source(Protocol):
    """Something that yields the picture of a part."""

    def grab(self, number: int, at: datetime) -> Picture:
        """Return the picture of the station's `number`-th part (from 1), triggered at `at`. Raises SourceError."""
        ...

    def close(self) -> None:
        """Let go of whatever the source holds."""
        ...


class FolderReplay:
    """Image files of a folder, one a part: part n shows file (n − 1) modulo the number of files."""

    def __init__(self, settings: FolderSource, payload: Payload, depth: int | None = None) -> None:
        """`depth` are the bits that values of 16-bit pictures use."""
        if not settings.path.is_dir():
            raise PlantError(f"the folder {settings.path} does not exist; set source.path to a folder of images")
        self._files = ordered_images(settings.path, shuffle=settings.shuffle, seed=settings.seed)
        if not self._files:
            raise PlantError(f"the folder {settings.path} has no image files ({', '.join(sorted(SUFFIXES))})")
        self._loop = settings.loop
        self._payload = payload
        self._depth = depth

    def grab(self, number: int, at: datetime) -> Picture:
        """Read the part's file. PNG and JPEG of 8 bits travel as they are, unless the payload is raw; others are
        encoded: a 16-bit picture is scaled here, where its depth is known.
        """
        if number > len(self._files) and not self._loop:
            raise SourceError(Reason.NO_IMAGE, f"the folder has {len(self._files)} images and does not loop")
        path = self._files[(number - 1) % len(self._files)]
        try:
            body = path.read_bytes()
        except OSError as error:
            raise SourceError(Reason.NO_IMAGE, f"the file {path.name} cannot be read: {error}") from error
        pixels = _decoded(body, path.name, self._depth)
        content_type = _TRAVELS_AS_IT_IS.get(path.suffix.lower())
        if content_type is None or self._payload.format == "raw" or has_16_bits(body):
            return encoded(pixels, self._payload)
        return Picture(pixels, body, content_type)

    def close(self) -> None:
        """Nothing is held between two parts."""


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
            hidden_rate=settings.hidden_rate,
        )
        self._payload = payload

    def grab(self, number: int, at: datetime) -> Picture:
        """Draw the part and encode it."""
        return encoded(self._simulation.part(number).image, self._payload)

    def close(self) -> None:
        """Nothing is held between two parts."""


def open_source(
    station: Station, name: str = "", measured: Instruments | None = None, *, depth: int | None = None
) -> Source:
    """Return the station's source; `name` is LINE/STATION, for logs. Raises PlantError when it cannot work.

    `depth` are the bits that values of 16-bit pictures use; the station's own word comes before it.
    A camera that is away is no error here: it is asked for until it answers.
    """
    settings = station.source
    depth = depth if station.depth is None else station.depth
    if isinstance(settings, FolderSource):
        return FolderReplay(settings, station.payload, depth)
    if isinstance(settings, SimulatedSource):
        return SimulatedCamera(settings, station.payload)
    if isinstance(settings, VideoSource) and settings.pace == "per-part":
        return FilePictures(settings, station.payload)
    line, _, own = name.partition("/")
    every = isinstance(station.trigger, HardwareTrigger)
    return LiveSource(
        name or station.name,
        _connection(settings, every=every, depth=depth),
        settings,
        station.payload,
        every_bound=station.buffer_frames if every else None,
        labels={"line": line, "station": own or station.name},
        measured=measured,
    )


def _connection(settings: LiveSettings, *, every: bool, depth: int | None) -> Callable[[], Stream]:
    """Return what connects to a camera that runs by itself; `every` picture is a part. Raises PlantError."""
    if isinstance(settings, VideoSource):
        video = settings
        if not video.path.is_file():
            raise PlantError(f"the video file {video.path} does not exist; set source.path to one")
        return lambda: FilePlayback(video)
    if isinstance(settings, RtspSource):
        network = settings
        return lambda: network_camera(network, newest=not every)
    if isinstance(settings, V4l2Source):
        device = settings
        return lambda: V4l2Camera(device)
    if isinstance(settings, GigeSource):
        gigabit = settings
        from neverblink.camera.streams.gige import GigeCamera, aravis

        aravis()
        return lambda: GigeCamera(gigabit, newest=not every, depth=depth)
    assert isinstance(settings, GenicamSource)
    industrial = settings
    try:
        # Only a station with such a camera needs harvesters.
        from neverblink.camera.streams.genicam import GenicamCamera
    except ModuleNotFoundError as error:
        raise PlantError(f"a genicam source needs the package {error.name}: install neverblink[genicam]") from error
    return lambda: GenicamCamera(industrial, newest=not every, depth=depth)


def ordered_images(folder: Path, *, shuffle: bool, seed: int) -> list[Path]:
    """Return the image files below a folder, without hidden ones, by name or in the order that `seed` draws."""
    files = files_in(folder, SUFFIXES, deep=True)
    if shuffle:
        random.Random(seed).shuffle(files)
    return files


def _decoded(body: bytes, name: str, depth: int | None) -> NDArray[np.uint8]:
    try:
        return decode(body, depth=depth)
    except ImageError as error:
        raise SourceError(Reason(error.reason), f"{name}: {error}") from error
