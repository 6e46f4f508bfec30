"""A network camera on loopback: motion JPEG over RTSP, interleaved in TCP (RFC 2326, RFC 2435)."""

import base64
import contextlib
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import cv2
import numpy as np

_FRAGMENT = 1400
_CLOCK = 90_000


class RtspCamera:
    """Shows `picture(n)`, (H, W, 3) uint8 RGB with sides of multiples of 16, at `rate` to everyone who asks.

    `silence()` keeps the connections and sends nothing; `cut()` closes them. With `password`, user `viewer` needs it.
    """

    def __init__(self, picture: Callable[[int], np.ndarray], rate: float = 25.0, password: str | None = None) -> None:
        self.picture = picture
        self.rate = rate
        self.password = password
        self.speaking = threading.Event()
        self.speaking.set()
        self.connections = 0
        self.generation = 0
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    _Session(camera, self).serve()

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"rtsp://127.0.0.1:{self._server.server_address[1]}/line"

    def silence(self) -> None:
        self.speaking.clear()

    def cut(self) -> None:
        self.generation += 1

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()


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
                self._answer(headers, "401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"'])
            elif method == "DESCRIBE":
                sdp = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=line\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track\r\n"
                )
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
        wanted = base64.b64encode(f"viewer:{self._camera.password}".encode()).decode()
        return headers.get("authorization", "") == f"Basic {wanted}"

    def _request(self) -> tuple[str, dict[str, str]]:
        first = self._in.readline().decode().split()
        headers = {}
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
        number, sequence, began = 0, 0, time.monotonic()
        while self._camera.generation == generation:
            if self._camera.speaking.is_set():
                for packet in _packets(
                    self._camera.picture(number), sequence, int(number * _CLOCK / self._camera.rate)
                ):
                    self._out.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                    sequence += 1
                number += 1
            time.sleep(max(0.0, began + number / self._camera.rate - time.monotonic(), 0.002))


def _packets(rgb: np.ndarray, sequence: int, timestamp: int) -> list[bytes]:
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    kind, tables, scan = _parts(jpeg.tobytes())
    height, width = rgb.shape[:2]
    packets = []
    for start in range(0, len(scan), _FRAGMENT):
        piece = scan[start : start + _FRAGMENT]
        last = start + len(piece) == len(scan)
        rtp = struct.pack(">BBHII", 0x80, 26 | last << 7, (sequence + len(packets)) & 0xFFFF, timestamp, 1)
        head = struct.pack(">IBBBB", start, kind, 255, width // 8, height // 8)
        if start == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        packets.append(rtp + head + piece)
    return packets


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
