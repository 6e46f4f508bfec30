"""A network camera by RTSP as a stream of pictures, each with its time by the camera's clock."""

import time
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta

import av
from av.video.codeccontext import VideoCodecContext

from neverblink import telemetry
from neverblink.camera.live import Shot, now
from neverblink.camera.picture import SourceError
from neverblink.camera.stream_clock import NOMINAL_RATE, StreamClock
from neverblink.camera.streams.authorization import Credentials
from neverblink.camera.streams.decoder import Decoded, PictureDecoder, packet_of
from neverblink.camera.streams.rtsp.packets import CodedPicture, Packet, PacketError, PictureAssembler
from neverblink.camera.streams.rtsp.payloads import PAYLOADS, codec_head
from neverblink.camera.streams.rtsp.session import RtspSession
from neverblink.events import Reason
from neverblink.plant import RtspSource
from neverblink.shown import without_secrets

# A backlog comes faster than it was taken. So many pictures in a row that came no faster are no backlog.
_IN_TIME = 3
# What this node itself was slow to read looks like a backlog too, and is kept: by then its age is known.
_HELD = 8
_REORDERED_S = 1.0
# A node that is slower than the camera must show something too.
_CATCH_UP_S = 0.5
# A decoder holds at most sixteen pictures back.
_REMEMBERED = 64


class RtspCamera:
    """A session that plays. Raises SourceError when the camera cannot be opened.

    Every picture is as old as its way was longer than the shortest one (`StreamClock`). What a camera sends first may
    have lain in its memory, and how old it is shows only by what follows: so the first pictures are held until some
    came in time, and all of the backlog but those are thrown away. With `newest` a read gives the newest picture that
    is here; those before it are decoded, as it may be coded on top of them, and go unseen.
    """

    def __init__(self, settings: RtspSource, credentials: Credentials | None, *, newest: bool = False) -> None:
        self._name = without_secrets(settings.url)
        self._newest = newest
        self._silent_s = settings.silent_after_s
        self._session = RtspSession(settings, credentials)
        track = self._session.track
        assert track is not None
        if track.codec not in PAYLOADS:
            self._session.close()
            raise SourceError(
                Reason.NO_IMAGE,
                f"{self._name} sends {track.codec or f'format {track.payload_type}'}; set the camera to one of"
                f" {', '.join(PAYLOADS)}",
            )
        codec, payload = PAYLOADS[track.codec]
        context = av.CodecContext.create(codec, "r")
        assert isinstance(context, VideoCodecContext)
        self._track = track
        self._decoder = PictureDecoder(context)
        self._head = codec_head(track.codec, track.parameters)
        self._assembler = PictureAssembler(payload(), time.monotonic)
        self._clock = StreamClock(NOMINAL_RATE, _REORDERED_S)
        self._coded: dict[int, tuple[CodedPicture, datetime]] = {}
        self._ready: deque[Decoded] = deque()
        self._last: CodedPicture | None = None
        self._in_time = 0
        self._thrown_away = 0
        self._heard_s = time.monotonic()

    def read(self, timeout_s: float) -> Shot | None:
        """Return the next picture, or its fault. Raises SourceError when the camera is gone or silent."""
        deadline = time.monotonic() + timeout_s
        while self._in_time < _IN_TIME or not self._ready:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            found = self._session.packet(left)
            if found is not None:
                self._take(*found)
            elif time.monotonic() - self._heard_s > self._silent_s:
                raise SourceError(
                    Reason.NO_IMAGE, f"{self._name} sends no more pictures: none came for {self._silent_s:g} s"
                )
        skipped = 0
        if self._newest:
            give_up = time.monotonic() + _CATCH_UP_S
            while time.monotonic() < give_up and (found := self._session.packet(0.0)) is not None:
                self._take(*found)
            skipped = len(self._ready) - 1
            for _ in range(skipped):
                self._ready.popleft()
        return replace(self._shot(self._ready.popleft()), skipped=skipped)

    def close(self) -> None:
        """Let go of the camera."""
        self._session.close()

    def _take(self, data: bytes, waited_for: bool) -> None:
        try:
            packet = Packet.parsed(data, self._track.payload_type, waited_for=waited_for)
        except PacketError as error:
            raise SourceError(Reason.NO_IMAGE, f"{self._name} sends no more pictures: {error}") from error
        if packet is None:
            return
        for coded in self._assembler.push(packet):
            self._heard_s = coded.arrived_s
            taken_s = coded.ticks / self._track.clock_hz
            self._clock.age_s(taken_s, coded.arrived_s, waited_for=coded.waited_for)
            self._coded[coded.ticks] = coded, now()
            while len(self._coded) > _REMEMBERED:
                del self._coded[next(iter(self._coded))]
            self._ready += self._decoder.push(packet_of(self._head + coded.data, coded.ticks), damage=coded.damage)
            if coded.data:
                self._head = b""
            self._look_whether_in_time(coded)

    def _look_whether_in_time(self, coded: CodedPicture) -> None:
        if self._in_time >= _IN_TIME:
            return
        before, self._last = self._last, coded
        if before is not None:
            passed_s = (coded.ticks - before.ticks) / self._track.clock_hz
            is_in_time = coded.arrived_s - before.arrived_s >= passed_s / 2
            self._in_time = self._in_time + 1 if is_in_time else 0
        while len(self._ready) > _HELD:
            self._ready.popleft()
            self._thrown_away += 1
        if self._in_time == _IN_TIME and self._thrown_away:
            telemetry.logger("camera").info(
                f"{self._name}: {self._thrown_away} pictures lay in the camera's memory and are thrown away"
            )

    def _shot(self, picture: Decoded) -> Shot:
        coded, at = self._coded.pop(picture.pts)
        taken_s = coded.ticks / self._track.clock_hz
        at -= timedelta(seconds=self._clock.age_now_s(taken_s, coded.arrived_s))
        if picture.pixels is None:
            return Shot.damaged(at, picture.fault, taken_s=taken_s)
        return Shot(picture.pixels, at, taken_s=taken_s)
