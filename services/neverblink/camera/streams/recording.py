"""Video files: as a camera that plays by itself, or as one picture a part."""

import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import av
from av.video.stream import VideoStream

from neverblink.camera.live import Shot, StreamEndedError, now
from neverblink.camera.picture import Picture, SourceError, encoded
from neverblink.camera.streams.decoder import Decoded, PictureDecoder
from neverblink.events import Reason
from neverblink.plant import Payload, PlantError, VideoSource

# Files of some writers state no rate.
_USUAL_RATE = 25.0
# A file that is read more slowly than it plays goes on from now instead of catching up in a burst.
_BEHIND_S = 1.0


class Recording:
    """An open video file. Raises SourceError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.name = f"the video file {path}"
        if not path.is_file():
            raise SourceError(Reason.NO_IMAGE, f"{self.name} does not exist")
        try:
            # A playlist must not make us read other files or the network.
            self._container = av.open(str(path), options={"protocol_whitelist": "file"})
        except (av.FFmpegError, ValueError) as error:
            raise SourceError(Reason.NO_IMAGE, f"{self.name} cannot be opened") from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(Reason.NO_IMAGE, f"{self.name} cannot be opened: it has no pictures")
        self._stream: VideoStream = self._container.streams.video[0]
        self._decoder = PictureDecoder(self._stream.codec_context)
        self._ready: deque[Decoded] = deque()
        self._packets: Iterator[av.Packet[VideoStream]] | None = self._container.demux(self._stream)
        self._read = 0

    @property
    def rate(self) -> float:
        """Pictures per second as the file states it, a usual one where it states none."""
        stated = self._stream.average_rate
        return float(stated) if stated is not None and 0 < stated <= 1000 else _USUAL_RATE

    def next(self) -> Decoded | None:
        """Return the next picture or its fault, None at the end."""
        while not self._ready and self._packets is not None:
            try:
                packet = next(self._packets, None)
            except (av.FFmpegError, ValueError):  # cut off: what is whole was shown
                packet = None
            if packet is None or not packet.size:
                self._packets = None
                self._ready += self._decoder.flush()
            elif not packet.is_discard:
                self._read += 1
                if packet.pts is None:  # AVI and bare streams tell no times
                    self._decoder.ordered = False
                    packet.pts = packet.dts = self._read
                self._ready += self._decoder.push(packet)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Let go of it."""
        self._container.close()


class FilePlayback:
    """A video file that plays like a camera, at its own rate."""

    def __init__(self, settings: VideoSource) -> None:
        self._settings = settings
        self._recording = Recording(settings.path)
        self._period_s = 1 / self._recording.rate
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
        picture = self._recording.next()
        if picture is None and self._settings.loop and self._in_this_round:
            self._recording.close()
            self._recording = Recording(self._settings.path)
            self._in_this_round = 0
            picture = self._recording.next()
        if picture is None:
            raise StreamEndedError
        self._in_this_round += 1
        self._count += 1
        self._due = max(self._due + self._period_s, time.monotonic() - _BEHIND_S)
        if picture.pixels is None:
            return Shot.damaged(now(), picture.fault, count=self._count)
        return Shot(picture.pixels, now(), self._count)

    def close(self) -> None:
        """Close the file."""
        self._recording.close()


class FilePictures:
    """A video file that shows one picture a part: every trigger takes the next one."""

    def __init__(self, settings: VideoSource, payload: Payload) -> None:
        self._settings = settings
        self._payload = payload
        try:
            self._recording = Recording(settings.path)
        except SourceError as error:
            raise PlantError(f"{error}; set source.path to a video file") from error

    def grab(self, number: int, at: datetime) -> Picture:
        """Return the next picture of the file. Raises SourceError when it is damaged, or the last and does not loop."""
        picture = self._recording.next()
        if picture is None and self._settings.loop:
            self._recording.close()
            self._recording = Recording(self._settings.path)
            picture = self._recording.next()
        if picture is None:
            raise SourceError(Reason.NO_IMAGE, f"{self._recording.name} is through and does not loop")
        if picture.pixels is None:
            raise SourceError(Reason.CORRUPT_IMAGE, f"{self._recording.name}: {picture.fault}")
        return encoded(picture.pixels, self._payload)

    def close(self) -> None:
        """Close the file."""
        self._recording.close()
