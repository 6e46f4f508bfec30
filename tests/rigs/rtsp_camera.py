"""A network camera on loopback: RTSP, interleaved in TCP (RFC 2326), with JPEG (RFC 2435), H.264 or H.265."""

import base64
import contextlib
import hashlib
import re
import socketserver
import struct
import time
from collections.abc import Callable
from fractions import Fraction

import av
import cv2
import numpy as np

from rigs.loopback_camera import LoopbackCamera

_FRAGMENT = 1400
_CLOCK = 90_000


class RtspCamera(LoopbackCamera):
    """Shows `picture(n)`, (H, W, 3) uint8 RGB with sides of multiples of 16, at `rate` to everyone who asks.

    `silence()` keeps the connections and sends nothing; `cut()` closes them. With `password`, user `viewer` needs it,
    by Digest when `digest` is set. `codec` is JPEG, H264 or H265, which have a key frame every `gop` pictures.
    `loses(n, packet, packets)` says which packets of picture n do not arrive. The first `backlog` pictures are sent at
    once, as a camera does that keeps the last ones in its memory. The first `prepared` pictures are coded beforehand,
    once: a camera has silicon for it.
    """

    def __init__(
        self,
        picture: Callable[[int], np.ndarray],
        rate: float = 25.0,
        password: str | None = None,
        *,
        digest: bool = False,
        codec: str = "JPEG",
        gop: int = 10,
        loses: Callable[[int, int, int], bool] = lambda number, packet, packets: False,
        backlog: int = 0,
        prepared: int = 0,
    ) -> None:
        super().__init__()
        self.picture = picture
        self.rate = rate
        self.password = password
        self.digest = digest
        self.codec = codec
        self.gop = gop
        self.loses = loses
        self.backlog = backlog
        coder = self.coder()
        self.prepared = [coder.payloads(picture(number)) for number in range(prepared)]
        self.sent_at: list[float] = []
        # When each picture that was sent was exposed, by its number; a connection counts anew.
        self.exposed: list[tuple[int, float]] = []
        self.connections = 0
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    _Session(camera, self).serve()

        self.url = f"rtsp://127.0.0.1:{self.serve(Handler)}/line"

    def coder(self) -> "Coder | JpegCoder":
        return JpegCoder() if self.codec == "JPEG" else Coder(self.codec, self.rate, self.gop)


class _Session:
    def __init__(self, camera: RtspCamera, handler: socketserver.StreamRequestHandler) -> None:
        self._camera = camera
        self._in = handler.rfile
        self._out = handler.wfile
        self._socket = handler.connection

    def serve(self) -> None:
        while True:
            method, headers = self._request()
            if method in {"", "TEARDOWN"}:
                return
            if method != "OPTIONS" and not self._may(headers):
                kind = (
                    'Digest realm="camera", nonce="5f3a", qop="auth"' if self._camera.digest else 'Basic realm="camera"'
                )
                self._answer(headers, "401 Unauthorized", [f"WWW-Authenticate: {kind}"])
            elif method == "DESCRIBE":
                number = {"JPEG": 26}.get(self._camera.codec, 96)
                sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=line\r\nt=0 0\r\n"
                sdp += f"m=video 0 RTP/AVP {number}\r\na=control:track\r\n"
                if number == 96:
                    sdp += f"a=rtpmap:96 {self._camera.codec}/90000\r\n"
                self._answer(headers, "200 OK", ["Content-Type: application/sdp"], sdp)
            elif method == "SETUP":
                self._answer(headers, "200 OK", ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"])
            elif method == "PLAY":
                self._answer(headers, "200 OK", [])
                self._camera.connections += 1
                self._play(self._camera.generation)
                return
            else:
                self._answer(headers, "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"])

    def _may(self, headers: dict[str, str]) -> bool:
        if self._camera.password is None:
            return True
        said = headers.get("authorization", "")
        if self._camera.digest:
            found = dict(re.findall(r'(\w+)="?([^",]+)"?', said))
            secret = _md5(f"viewer:camera:{self._camera.password}")
            asked = _md5(f"{headers[':method']}:{found.get('uri', '')}")
            told = ":".join([secret, "5f3a", found.get("nc", ""), found.get("cnonce", ""), "auth", asked])
            return found.get("response") == _md5(told)
        wanted = base64.b64encode(f"viewer:{self._camera.password}".encode()).decode()
        return said == f"Basic {wanted}"

    def _request(self) -> tuple[str, dict[str, str]]:
        first = self._in.readline().decode().split()
        headers = {":method": first[0] if first else ""}
        while line := self._in.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return (first[0] if first else ""), headers

    def _answer(self, asked: dict[str, str], status: str, headers: list[str], body: str = "") -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {asked.get('cseq', '0')}", "Session: 1", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._out.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _play(self, generation: int) -> None:
        camera = self._camera
        number, sequence, began = 0, 0, time.monotonic() - camera.backlog / camera.rate
        kind, prepared = 26 if camera.codec == "JPEG" else 96, camera.prepared
        coder = camera.coder()
        while camera.generation == generation:
            if camera.speaking.is_set():
                stamp = int(number * _CLOCK / camera.rate)
                payloads = prepared[number] if number < len(prepared) else coder.payloads(camera.picture(number))
                packets = [
                    struct.pack(">BBHII", 0x80, kind | (place == len(payloads) - 1) << 7, (sequence + place) & 0xFFFF,
                                stamp, 1) + payload
                    for place, payload in enumerate(payloads)
                ]  # fmt: skip
                camera.sent_at.append(time.time())
                camera.exposed.append((number, time.time() - time.monotonic() + began + number / camera.rate))
                for place, packet in enumerate(packets):
                    if not camera.loses(number, place, len(packets)):
                        self._out.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                sequence += len(packets)
                number += 1
            if number > camera.backlog:
                time.sleep(max(0.0, began + number / camera.rate - time.monotonic(), 0.002))


class Coder:
    """Codes pictures as a camera does, without delay, in packets of RFC 6184 or RFC 7798."""

    def __init__(self, codec: str, rate: float, gop: int) -> None:
        self._codec = codec
        self._gop = gop
        self._rate = rate
        self._context: av.VideoCodecContext | None = None
        self._number = 0

    def payloads(self, rgb: np.ndarray) -> list[bytes]:
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        if self._context is None:
            self._context = self._opened(frame)
        frame.pts, self._number = self._number, self._number + 1
        (coded,) = self._context.encode(frame)
        units = [unit for unit in re.split(b"\x00\x00\x00?\x01", bytes(coded)) if unit]
        return [piece for unit in units for piece in self._pieces(unit)]

    def _opened(self, frame: av.VideoFrame) -> av.VideoCodecContext:
        is_264 = self._codec == "H264"
        context = av.CodecContext.create("libx264" if is_264 else "libx265", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuv420p"
        context.time_base, context.framerate = Fraction(1, round(self._rate)), Fraction(round(self._rate))
        context.gop_size = self._gop
        context.thread_count = 1
        own = f"keyint={self._gop}:min-keyint={self._gop}:scenecut=0:repeat-headers=1"
        context.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "16"} | (
            {"x264-params": own} if is_264 else {"x265-params": f"{own}:log-level=none:pools=1:frame-threads=1"}
        )
        return context

    def _pieces(self, unit: bytes) -> list[bytes]:
        if len(unit) <= _FRAGMENT:
            return [unit]
        size = 1 if self._codec == "H264" else 2
        body = [unit[at : at + _FRAGMENT] for at in range(size, len(unit), _FRAGMENT)]
        pieces = []
        for place, piece in enumerate(body):
            ends = (place == 0) << 7 | (place == len(body) - 1) << 6
            if size == 1:
                head = bytes([unit[0] & 0xE0 | 28, ends | unit[0] & 0x1F])
            else:
                head = bytes([unit[0] & 0x81 | 49 << 1, unit[1], ends | unit[0] >> 1 & 0x3F])
            pieces.append(head + piece)
        return pieces


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class JpegCoder:
    """Codes pictures as RFC 2435 has them."""

    def payloads(self, rgb: np.ndarray) -> list[bytes]:
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        kind, tables, scan = _parts(jpeg.tobytes())
        height, width = rgb.shape[:2]
        found = []
        for start in range(0, len(scan), _FRAGMENT):
            head = struct.pack(">IBBBB", start, kind, 255, width // 8, height // 8)
            if start == 0:
                head += struct.pack(">BBH", 0, 0, len(tables)) + tables
            found.append(head + scan[start : start + _FRAGMENT])
        return found


def _parts(jpeg: bytes) -> tuple[int, bytes, bytes]:
    """Return the RFC's type (1 for 4:2:0), the quantisation tables and the scan of a baseline JPEG."""
    offset, tables, kind = 2, {}, 1
    while True:
        marker, length = struct.unpack_from(">xBH", jpeg, offset)
        segment = jpeg[offset + 4 : offset + 2 + length]
        offset += 2 + length
        if marker == 0xDB:
            while segment:
                tables[segment[0] & 15], segment = segment[1:65], segment[65:]
        elif marker == 0xC0:
            kind = 1 if segment[7] == 0x22 else 0
        elif marker == 0xDA:
            return kind, b"".join(tables[number] for number in sorted(tables)), jpeg[offset:-2]
