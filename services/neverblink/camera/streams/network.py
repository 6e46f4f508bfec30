"""Network cameras: by RTSP, or motion JPEG over HTTP."""

import re
import time
from datetime import timedelta
from urllib.parse import urlsplit

from neverblink.camera.live import Shot, Stream, now
from neverblink.camera.picture import SourceError
from neverblink.camera.stream_clock import ArrivalWatch
from neverblink.camera.streams.authorization import Credentials
from neverblink.camera.streams.rtsp.camera import RtspCamera
from neverblink.camera.streams.wire import Wire, WireError
from neverblink.events import Reason
from neverblink.plant import RtspSource
from neverblink.plant.secret_line import first_line
from neverblink.shown import without_secrets
from neverblink.vision.decode import ImageError, decode

# A camera that sends faster than this node reads must not keep it from showing anything.
_MOST_SKIPPED = 64
_LARGEST_PICTURE = 64 * 1024 * 1024


def network_camera(settings: RtspSource, *, newest: bool = False) -> Stream:
    """Connect to a network camera; with `newest` a read gives the newest picture that is here. Raises SourceError."""
    credentials = _credentials(settings)
    if urlsplit(settings.url).scheme in ("http", "https"):
        return HttpCamera(settings, credentials, newest=newest)
    return RtspCamera(settings, credentials, newest=newest)


class HttpCamera:
    """A camera that answers one request with JPEGs without end (multipart/x-mixed-replace). Raises SourceError.

    It tells no times: a picture that lay in the network's buffers may be as old as these were unread.
    """

    def __init__(self, settings: RtspSource, credentials: Credentials | None, *, newest: bool = False) -> None:
        """With `newest` a read gives the newest picture that is here."""
        self._name = without_secrets(settings.url)
        self._newest = newest
        self._silent_s = settings.silent_after_s
        for attempt in range(2):
            try:
                status, headers = self._asked(settings, credentials)
            except WireError as error:
                raise self._refused(str(error)) from error
            if status == 401 and credentials is not None and attempt == 0:
                self._wire.close()
                if credentials.challenged(headers.get("www-authenticate", [])):
                    continue
            break
        kind = headers.get("content-type", [""])[0]
        boundary = re.search(r'boundary\s*=\s*"?([^";]+)', kind)
        if status != 200 or boundary is None or not kind.lower().startswith("multipart/"):
            self._wire.close()
            wants = "it wants another username and password" if status == 401 else f"it answers {status} with {kind!r}"
            raise self._refused(wants if status != 200 else f"{wants}, which is no motion JPEG")
        self._boundary = b"--" + boundary[1].strip().removeprefix("--").encode()
        self._arrivals = ArrivalWatch(time.monotonic())
        self._heard_s = time.monotonic()
        self._size: int | None = None
        self._is_inside = False

    def read(self, timeout_s: float) -> Shot | None:
        """Return the next picture, or its fault. Raises SourceError when the camera is gone or silent."""
        skipped, waited_for = 0, False
        try:
            jpeg, waited_for = self._next(time.monotonic() + timeout_s), self._waited()
            while self._newest and jpeg is not None and skipped < _MOST_SKIPPED:
                newer = self._next(0.0)
                if newer is None:
                    break
                jpeg, skipped, waited_for = newer, skipped + 1, False
        except WireError as error:
            raise SourceError(Reason.NO_IMAGE, f"{self._name} sends no more pictures: {error}") from error
        at, arrived = now(), time.monotonic()
        if jpeg is None:
            if arrived - self._heard_s > self._silent_s:
                raise SourceError(
                    Reason.NO_IMAGE, f"{self._name} sends no more pictures: none came for {self._silent_s:g} s"
                )
            self._arrivals.empty_at(arrived)
            return None
        self._heard_s = arrived
        unsure_s = self._arrivals.unsure_s(arrived, waited_for=waited_for)
        if self._newest and self._waited():
            self._arrivals.empty_at(arrived)
        try:
            return Shot(decode(jpeg), at, unsure_s=unsure_s, skipped=skipped)
        except ImageError as error:
            return Shot.damaged(at - timedelta(seconds=unsure_s), f"{self._name}: {error}")

    def close(self) -> None:
        """Let go of the camera."""
        self._wire.close()

    def _waited(self) -> bool:
        """Say whether nothing lay unread at some time since this was asked last."""
        waited, self._wire.waited = self._wire.waited, False
        return waited

    def _next(self, deadline_s: float) -> bytes | None:
        if not self._is_inside:
            head = self._wire.head(deadline_s)
            if head is None:
                return None
            size = head[1].get("content-length", [""])[0]
            self._size, self._is_inside = int(size) if size.isdecimal() else None, True
        if self._size is None:
            found = self._wire.until(b"\r\n" + self._boundary, _LARGEST_PICTURE, deadline_s)
            if found is None:
                return None
        else:
            if self._size > _LARGEST_PICTURE:
                raise WireError(f"it announces a picture of {self._size} bytes")
            if not self._wire.has(self._size, deadline_s):
                return None
            found = self._wire.take(self._size)
        self._is_inside = False
        return found

    def _asked(self, settings: RtspSource, credentials: Credentials | None) -> tuple[int, dict[str, list[str]]]:
        parts = urlsplit(settings.url)
        uri = parts._replace(scheme="", netloc="").geturl() or "/"
        self._wire = Wire.to(settings)
        # HTTP/1.0 knows no chunks.
        lines = [f"GET {uri} HTTP/1.0", f"Host: {parts.netloc}", "User-Agent: neverblink"]
        signed = None if credentials is None else credentials.header("GET", uri)
        if signed is not None:
            lines.append(f"Authorization: {signed}")
        try:
            self._wire.send(("\r\n".join(lines) + "\r\n\r\n").encode(), self._silent_s)
            found = self._wire.head(time.monotonic() + self._silent_s)
            status = None if found is None else re.match(r"HTTP/\d\.\d\s+(\d{3})", found[0])
            if found is None or status is None:
                raise WireError("it does not answer as a web server does")
        except WireError:
            self._wire.close()
            raise
        return int(status[1]), found[1]

    def _refused(self, why: str) -> SourceError:
        return SourceError(Reason.NO_IMAGE, f"{self._name} cannot be opened: {why}")


def _credentials(settings: RtspSource) -> Credentials | None:
    """Return the user's name and password, None where the camera wants none. Raises SourceError."""
    if settings.username is None or settings.password_file is None:
        return None
    try:
        password = first_line(settings.password_file)
    except (OSError, IndexError) as error:
        raise SourceError(
            Reason.NO_IMAGE, f"the camera's password file {settings.password_file} cannot be read or is empty"
        ) from error
    return Credentials(settings.username, password)
