"""Video files, network cameras and V4L2 devices, through OpenCV."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.camera.live import Shot, StreamEndedError, now
from neverblink.camera.picture import Picture, SourceError, encoded
from neverblink.events import Reason
from neverblink.plant import Payload, PlantError, RtspSource, V4l2Source, VideoSource

# Files of some writers state no rate.
_USUAL_RATE = 25.0
# A file that is read more slowly than it plays goes on from now instead of catching up in a burst.
_BEHIND_S = 1.0


class Capture:
    """OpenCV's capture of one camera or file. Raises SourceError when it cannot be opened."""

    def __init__(self, name: str, what: str, backend: int, settings: Sequence[int] = ()) -> None:
        """`name` is what messages call it, without secrets; `what` is OpenCV's name of it."""
        self.name = name
        self._capture = cv2.VideoCapture(what, backend, list(settings))
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(Reason.NO_IMAGE, f"{name} cannot be opened")

    @property
    def rate(self) -> float:
        """Pictures per second as the file states it, a usual one where it states none."""
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        return float(stated) if np.isfinite(stated) and 0 < stated <= 1000 else _USUAL_RATE

    def next(self) -> NDArray[np.uint8] | None:
        """Return the next picture, (H, W, 3) uint8 RGB, None at the end or when the camera sends nothing."""
        done, picture = self._capture.read()
        if not done or picture is None:
            return None
        kind = cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB
        return np.asarray(cv2.cvtColor(picture, kind), dtype=np.uint8)

    def close(self) -> None:
        """Let go of it."""
        self._capture.release()


class CameraStream:
    """A network camera or a V4L2 device: OpenCV waits for the picture, and gives up by itself."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def read(self, timeout_s: float) -> Shot | None:
        """Wait for the next picture; OpenCV's own time-out, not `timeout_s`, ends the wait. Raises SourceError."""
        pixels = self._capture.next()
        if pixels is None:
            raise SourceError(Reason.NO_IMAGE, f"{self._capture.name} sends no more pictures")
        return Shot(pixels, now())

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.close()


class FilePlayback:
    """A video file that plays like a camera, at its own rate."""

    def __init__(self, settings: VideoSource) -> None:
        self._settings = settings
        self._capture = _opened_file(settings.path)
        self._period_s = 1 / self._capture.rate
        self._due = time.monotonic()
        self._count = 0
        self._in_this_round = 0

    def read(self, timeout_s: float) -> Shot | None:
        """Return the next picture when its time has come. Raises StreamEndedError, SourceError."""
        left = self._due - time.monotonic()
        if left > timeout_s:
            time.sleep(timeout_s)
            return None
        time.sleep(max(0.0, left))
        pixels = self._capture.next()
        if pixels is None and self._settings.loop and self._in_this_round:
            self._capture.close()
            self._capture = _opened_file(self._settings.path)
            self._in_this_round = 0
            pixels = self._capture.next()
        if pixels is None:
            raise StreamEndedError
        self._in_this_round += 1
        self._count += 1
        self._due = max(self._due + self._period_s, time.monotonic() - _BEHIND_S)
        return Shot(pixels, now(), self._count)

    def close(self) -> None:
        """Close the file."""
        self._capture.close()


class FilePictures:
    """A video file that shows one picture a part: every trigger takes the next one."""

    def __init__(self, settings: VideoSource, payload: Payload) -> None:
        self._settings = settings
        self._payload = payload
        try:
            self._capture = _opened_file(settings.path)
        except SourceError as error:
            raise PlantError(f"{error}; set source.path to a video file") from error

    def grab(self, number: int, at: datetime) -> Picture:
        """Return the next picture of the file. Raises SourceError when it is through and does not loop."""
        pixels = self._capture.next()
        if pixels is None and self._settings.loop:
            self._capture.close()
            self._capture = _opened_file(self._settings.path)
            pixels = self._capture.next()
        if pixels is None:
            raise SourceError(Reason.NO_IMAGE, f"{self._capture.name} is through and does not loop")
        return encoded(pixels, self._payload)

    def close(self) -> None:
        """Close the file."""
        self._capture.close()


def network_camera(settings: RtspSource) -> CameraStream:
    """Connect to a network camera. Raises SourceError."""
    silent_ms = int(settings.silent_after_s * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, silent_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, silent_ms]
    return CameraStream(Capture(settings.url, _with_password(settings), cv2.CAP_FFMPEG, limits))


def v4l2_camera(settings: V4l2Source) -> CameraStream:
    """Open a V4L2 device and ask it for the station's mode. Raises SourceError."""
    code = settings.pixel_format
    wishes = {
        cv2.CAP_PROP_FOURCC: None if code is None else cv2.VideoWriter.fourcc(*code),  # first: it bounds the sizes
        cv2.CAP_PROP_FRAME_WIDTH: settings.width,
        cv2.CAP_PROP_FRAME_HEIGHT: settings.height,
        cv2.CAP_PROP_FPS: None if settings.rate is None else round(settings.rate),
    }
    asked = [item for name, value in wishes.items() if value is not None for item in (name, value)]
    device = str(settings.device)
    return CameraStream(Capture(f"{device} in the mode asked for" if asked else device, device, cv2.CAP_V4L2, asked))


def _opened_file(path: Path) -> Capture:
    if not path.is_file():
        raise SourceError(Reason.NO_IMAGE, f"the video file {path} does not exist")
    return Capture(f"the video file {path}", str(path), cv2.CAP_FFMPEG)


def _with_password(settings: RtspSource) -> str:
    """Return the URL with the user's name and password in it, as FFmpeg wants it. Raises SourceError."""
    if settings.username is None or settings.password_file is None:
        return settings.url
    try:
        password = settings.password_file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError) as error:
        raise SourceError(
            Reason.NO_IMAGE, f"the camera's password file {settings.password_file} cannot be read or is empty"
        ) from error
    parts = urlsplit(settings.url)
    user = f"{quote(settings.username, safe='')}:{quote(password, safe='')}"
    return parts._replace(netloc=f"{user}@{parts.netloc}").geturl()
