"""Coded pictures to pixels, and which of them cannot be trusted.

A coder of moving pictures tells the difference to the picture before. Where a packet is lost, a decoder shows the
rest on top of that one, as if nothing had happened: the part before stands for this one. So a damaged picture, and
all that follow until the next key frame, are faults. FFmpeg's decoders tell what they patched up; what they cannot
know (`docs/guides/cameras.md`) must be told to them by who received the packets.
"""

from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from neverblink.vision.decode import ImageError, decode

_PATCHED = "the picture is damaged, and the decoder patched it up with the one before"
_ON_TOP = "the picture is coded on top of a damaged one; the next key frame is waited for"
_DROPPED = "the decoder could make nothing of the picture"
# A decoder that holds so many pictures holds them for ever.
_MOST_PENDING = 64


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture in its place: (H, W, 3) uint8 RGB, or why there is none. `pts` is its coded packet's."""

    pts: int
    pixels: NDArray[np.uint8] | None
    fault: str = ""


class PictureDecoder:
    """Decodes the packets of one stream; each gives one picture or one fault, in the order in which they are shown.

    Motion JPEG's pictures stand alone and are decoded by the rules of still images (`vision.decode`). `ordered` is
    whether the packets' pts are the times at which they are shown; without it, a picture that the decoder drops
    without a word shows only where none is reordered.
    """

    def __init__(self, context: VideoCodecContext, *, ordered: bool = True) -> None:
        self._context = context
        # Threads for frames would hold as many pictures back as there are threads.
        context.thread_type = "SLICE"
        context.thread_count = 1
        self._is_jpeg = context.name == "mjpeg"
        self.ordered = ordered
        self._doubtful = False
        self._pending: dict[int, str] = {}

    def push(self, packet: "av.Packet[VideoStream]", *, damage: str = "") -> list[Decoded]:
        """Take the next packet, which must have a pts, and return what is decided by it.

        `damage` says why the packet is not to be decoded.
        """
        assert packet.pts is not None
        if packet.is_corrupt and not damage:
            damage = "the stream marks the packet as damaged"
        if self._is_jpeg:
            return [_still(packet, damage)]
        self._pending[packet.pts] = damage
        frames: list[VideoFrame] = []
        if damage:
            self._doubtful = True
        else:
            frames = self._decoded(packet)
        found = [picture for frame in frames for picture in self._shown(frame)]
        if not self._context.has_b_frames:
            found += self._lost(list(self._pending))
        elif not self.ordered:
            found += self._lost([pts for pts, fault in self._pending.items() if fault])
        elif len(self._pending) > _MOST_PENDING:
            found += self._lost([min(self._pending)])
        return found

    def flush(self) -> list[Decoded]:
        """Return what the decoder still holds, at the end of the stream."""
        frames = [] if self._is_jpeg else self._decoded(None)
        found = [picture for frame in frames for picture in self._shown(frame)]
        return found + self._lost([pts for pts, fault in self._pending.items() if fault or self.ordered])

    def _decoded(self, packet: "av.Packet[VideoStream] | None") -> list[VideoFrame]:
        try:
            return self._context.decode(packet)
        except (av.FFmpegError, ValueError) as error:
            if packet is not None and packet.pts is not None:
                self._pending[packet.pts] = f"the picture cannot be decoded: {error}"
            self._doubtful = True
            return []

    def _shown(self, frame: VideoFrame) -> list[Decoded]:
        pts = frame.pts
        if pts is None or pts not in self._pending:
            return []  # shown already, as a fault
        found = self._lost([earlier for earlier in self._pending if earlier < pts]) if self.ordered else []
        del self._pending[pts]
        if frame.is_corrupt:
            self._doubtful = True
            return [*found, Decoded(pts, None, _PATCHED)]
        if frame.key_frame:
            self._doubtful = False
        if self._doubtful:
            return [*found, Decoded(pts, None, _ON_TOP)]
        return [*found, Decoded(pts, np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))]

    def _lost(self, pts: list[int]) -> list[Decoded]:
        """Return the faults of packets that gave no picture; what follows them cannot be trusted either."""
        if pts:
            self._doubtful = True
        return [Decoded(one, None, self._pending.pop(one) or _DROPPED) for one in sorted(pts)]


def packet_of(data: bytes, pts: int) -> "av.Packet[VideoStream]":
    """Return a packet of FFmpeg's with a copy of `data`.

    `av.Packet(data)` lends FFmpeg the bytes as they lie; its decoders read beyond their end and see damage there.
    """
    packet = av.Packet(len(data))
    packet.update(data)
    packet.pts = packet.dts = pts
    return cast("av.Packet[VideoStream]", packet)


def _still(packet: "av.Packet[VideoStream]", damage: str) -> Decoded:
    assert packet.pts is not None
    if damage:
        return Decoded(packet.pts, None, damage)
    try:
        return Decoded(packet.pts, decode(bytes(packet)))
    except ImageError as error:
        return Decoded(packet.pts, None, str(error))
