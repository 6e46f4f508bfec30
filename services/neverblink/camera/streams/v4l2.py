"""USB cameras and frame grabbers of this Linux machine, through OpenCV's V4L2."""

import time
from datetime import timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from neverblink.camera.live import Shot, now
from neverblink.camera.picture import SourceError
from neverblink.events import Reason
from neverblink.plant import V4l2Source
from neverblink.vision.decode import ImageError, decode

_JPEGS = {cv2.VideoWriter.fourcc(*code) for code in ("MJPG", "JPEG")}
# The kernel stamps buffers by the monotonic clock; a driver that stamps them otherwise is not believed.
_LONGEST_S = 60.0


class V4l2Camera:
    """A V4L2 device in the mode that the station asks for. Raises SourceError when it cannot be opened.

    A device that sends motion JPEG hands it over as it came: OpenCV would decode a picture whose half was lost on the
    bus into half a picture.
    """

    def __init__(self, settings: V4l2Source) -> None:
        code = settings.pixel_format
        wishes = {
            cv2.CAP_PROP_FOURCC: None if code is None else cv2.VideoWriter.fourcc(*code),  # first: it bounds the sizes
            cv2.CAP_PROP_FRAME_WIDTH: settings.width,
            cv2.CAP_PROP_FRAME_HEIGHT: settings.height,
            cv2.CAP_PROP_FPS: None if settings.rate is None else round(settings.rate),
        }
        asked = [item for name, value in wishes.items() if value is not None for item in (name, value)]
        self._name = f"{settings.device} in the mode asked for" if asked else str(settings.device)
        self._capture = cv2.VideoCapture(str(settings.device), cv2.CAP_V4L2, asked)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(Reason.NO_IMAGE, f"{self._name} cannot be opened")
        self._is_jpeg = int(self._capture.get(cv2.CAP_PROP_FOURCC)) in _JPEGS and self._capture.set(
            cv2.CAP_PROP_CONVERT_RGB, 0
        )

    def read(self, timeout_s: float) -> Shot | None:
        """Wait for the next picture; OpenCV's own time-out, not `timeout_s`, ends the wait. Raises SourceError."""
        done, picture = self._capture.read()
        if not done or picture is None:
            raise SourceError(Reason.NO_IMAGE, f"{self._name} sends no more pictures")
        at = now() - timedelta(seconds=self._age_s())
        try:
            return Shot(self._pixels(np.asarray(picture, dtype=np.uint8)), at)
        except ImageError as error:
            return Shot.damaged(at, f"{self._name}: {error}")

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()

    def _pixels(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._is_jpeg:
            return decode(picture.tobytes())
        kind = cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB
        return np.asarray(cv2.cvtColor(picture, kind), dtype=np.uint8)

    def _age_s(self) -> float:
        """Return how long the picture waited in the driver's queue, 0 where the driver does not tell."""
        age = time.monotonic() - self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return age if 0 < age < _LONGEST_S else 0.0
