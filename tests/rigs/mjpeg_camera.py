"""A network camera on loopback that sends motion JPEG over HTTP (multipart/x-mixed-replace)."""

import contextlib
import socketserver
import time
from collections.abc import Callable

import cv2
import numpy as np

from rigs.loopback_camera import LoopbackCamera


class MjpegCamera(LoopbackCamera):
    """Shows `picture(n)`, (H, W, 3) uint8 RGB, at `rate` to everyone who asks; a connection counts from 0.

    `spoil(n, jpeg)` may change the bytes of a picture. Without `tells_size` its parts have no Content-Length.
    `silence()` keeps the connections and sends nothing; `cut()` closes them.
    """

    def __init__(
        self,
        picture: Callable[[int], np.ndarray],
        rate: float = 25.0,
        *,
        spoil: Callable[[int, bytes], bytes] = lambda number, jpeg: jpeg,
        tells_size: bool = True,
    ) -> None:
        super().__init__()
        self.exposed: list[tuple[int, float]] = []
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while self.rfile.readline().strip():
                        pass
                    self.wfile.write(
                        b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n"
                    )
                    self._play(camera.generation)

            def _play(self, generation: int) -> None:
                number, began = 0, time.monotonic()
                while camera.generation == generation:
                    if camera.speaking.is_set():
                        bgr = cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR)
                        jpeg = spoil(number, cv2.imencode(".jpg", bgr)[1].tobytes())
                        camera.exposed.append((number, time.time()))
                        size = f"Content-Length: {len(jpeg)}\r\n" if tells_size else ""
                        head = f"--next\r\nContent-Type: image/jpeg\r\n{size}\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                        number += 1
                    else:
                        began = time.monotonic() - number / rate
                    time.sleep(max(0.002, began + number / rate - time.monotonic()))

        self.url = f"http://127.0.0.1:{self.serve(Handler)}/stream"
