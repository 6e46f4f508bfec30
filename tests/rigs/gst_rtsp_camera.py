"""A real RTSP server, GStreamer's, as a process: an H.264 camera whose pictures carry their numbers.

As a program, `gst_rtsp_camera.py PORT RATE GOP DROP`, it runs on the system's Python, which has GStreamer's binding.
"""

import shutil
import signal
import socket
import subprocess
import sys
from types import TracebackType

BITS, CELL, HEIGHT = 12, 16, 64
WIDTH = BITS * CELL
_SYSTEM_PYTHON = "/usr/bin/python3"
_WANTED = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "missing = [n for n in ('appsrc', 'x264enc', 'rtph264pay') if not Gst.ElementFactory.find(n)];"
    "raise SystemExit(f'GStreamer has no {missing}' if missing else 0)"
)


def have_gstreamer() -> None:
    """Skip with what is missing."""
    from rigs.real_parts import without

    if shutil.which(_SYSTEM_PYTHON) is None:
        without("the RTSP server", f"there is no {_SYSTEM_PYTHON}")
    tried = subprocess.run([_SYSTEM_PYTHON, "-c", _WANTED], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode:
        without("the RTSP server", (tried.stderr.strip().splitlines() or ["?"])[-1])


class GstRtspCamera:
    """The server's process; `drop` is the share of packets that it loses on purpose."""

    def __init__(self, *, rate: int = 25, gop: int = 10, drop: float = 0.0) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{port}/cam"
        self._command = [_SYSTEM_PYTHON, __file__, str(port), str(rate), str(gop), str(drop)]

    def __enter__(self) -> "GstRtspCamera":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={})
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def silence(self) -> None:
        """Keep the connections and send nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def speak(self) -> None:
        """Go on, with what lay about meanwhile."""
        self._process.send_signal(signal.SIGCONT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _serve(port: str, rate: int, gop: int, drop: float) -> None:
    import gi  # the system's

    for name in ("Gst", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)

    class Camera(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
        def do_configure(self, media: object) -> None:
            self.number = 0
            source = media.get_element().get_by_name_recurse_up("source")  # type: ignore[attr-defined]
            source.connect("need-data", self.draw)

        def draw(self, source: object, _: int) -> None:
            luma = bytearray(b"\x70" * (WIDTH * HEIGHT))
            for bit in range(BITS):
                for row in range(CELL):
                    begin = row * WIDTH + bit * CELL
                    luma[begin : begin + CELL] = (b"\xe6" if self.number >> bit & 1 else b"\x14") * CELL
            # Something that moves, so that pictures differ: a bar.
            at = self.number * 3 % (WIDTH - 8)
            for row in range(24, HEIGHT):
                luma[row * WIDTH + at : row * WIDTH + at + 8] = b"\xc0" * 8
            buffer = Gst.Buffer.new_wrapped(bytes(luma) + b"\x80" * (WIDTH * HEIGHT // 2))
            buffer.pts = buffer.dts = self.number * Gst.SECOND // rate
            buffer.duration = Gst.SECOND // rate
            self.number += 1
            source.emit("push-buffer", buffer)  # type: ignore[attr-defined]

    camera = Camera()
    camera.set_launch(
        "( appsrc name=source is-live=true block=true max-buffers=2 format=time"
        f" caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={rate}/1 ! clocksync"
        f" ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={gop} quantizer=20 pass=quant"
        " ! video/x-h264,profile=baseline ! rtph264pay name=payer pt=96 config-interval=1 mtu=400"
        f" ! identity drop-probability={drop} name=pay0 )"
    )
    camera.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/cam", camera)
    server.attach(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
