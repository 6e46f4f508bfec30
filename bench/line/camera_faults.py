"""What becomes of a station's parts when its camera, its driver or its network fails: sources × faults.

A camera node with a timer as its trigger takes a part every fifth of a second while the fault is there. Every picture
carries its number, and the rigs know when each was exposed: so the age of each part's picture at its trigger is what it
was, not what a stamp says. A picture that holds anything but the one that its number names would be a mixture.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# isort: split
from neverblink.camera.live import LiveSource, Shot, Stream
from neverblink.camera.service import CameraNode
from neverblink.camera.sources import open_source
from neverblink.events import Event, Frame, Verdict
from neverblink.plant import Line, Station, Storage
from neverblink.vision.decode import decode
from rigs.gentl_buffers import Buffer, Driver
from rigs.mjpeg_camera import MjpegCamera
from rigs.pictures import BITS, number_of, numbered
from rigs.rtsp_camera import RtspCamera

FAULTS = (
    "none",
    "lost packet",
    "stale buffer",
    "duplicate",
    "partial",
    "wrong size",
    "slow consumer",
    "stall",
    "reconnect",
)
MAX_AGE_MS = 100.0
_RATE = 25.0
_PART_S = 0.23  # no multiple of a picture's time: the fault strikes parts at every phase
_WAIT_MS = 80.0
# More than any codec changes a picture, and less than half of another one does.
_MIXTURE = 20.0
_BAD_EVERY = 4
# A codec of moving pictures spoils all up to the next key frame.
_KEY_EVERY = 5
_PREPARED = 240
_BAD_EVERY_CODED = 20


@dataclass
class Rig:
    """A camera that fails: how to connect, when its pictures were exposed, what to do half way."""

    connect: Callable[[], Stream]
    exposed: list[tuple[int, float]]
    begin: Callable[[], None] = lambda: None
    end: Callable[[], None] = lambda: None


@dataclass
class Wire:
    """A producer that keeps what it was given."""

    sent: list[Event] = field(default_factory=list)

    async def send(self, event: Event, *, trace: Mapping[str, str] | None = None) -> None:
        """Keep the event."""
        self.sent.append(event)


def is_bad(number: int) -> bool:
    """Say whether the fault strikes this picture."""
    return number % _BAD_EVERY == 2


def is_bad_coded(number: int) -> bool:
    """Say whether the fault strikes this picture of a codec of moving pictures."""
    return number % _BAD_EVERY_CODED == 2


def grey(number: int) -> np.ndarray:
    """Draw a numbered picture for a grey camera."""
    return np.ascontiguousarray(numbered(number)[..., 0])


def _nothing() -> None:
    """Leave the camera alone."""


@contextmanager
def genicam(fault: str, *, has_clock: bool) -> Iterator[Rig | None]:
    """A GenTL driver with eight buffers, whose buffers tell their time or do not."""
    kept: list[Buffer] = []

    def spoil(number: int, buffer: Buffer) -> Buffer | None:
        kept.append(buffer)
        if not is_bad(number):
            return buffer
        if fault == "lost packet":
            return None
        if fault in {"stale buffer", "duplicate"} and len(kept) > 5:
            return kept[-5 if fault == "stale buffer" else -2]
        if fault == "partial":
            buffer.delivered_image_height = 32  # type: ignore[attr-defined]
        if fault == "wrong size":
            buffer.raw_buffer = buffer.raw_buffer[: len(buffer.raw_buffer) // 2]
        return buffer

    driver = Driver(grey, _RATE, has_clock=has_clock, spoil=spoil)
    begin, end = {
        "stall": (driver.stopped.set, driver.stopped.clear),
        "reconnect": (driver.away.set, driver.away.clear),
    }.get(fault, (lambda: None, lambda: None))
    try:
        yield Rig(lambda: driver.connect(newest=True), driver.exposed, begin, end)
    finally:
        driver.close()


@contextmanager
def rtsp(fault: str, *, codec: str) -> Iterator[Rig | None]:
    """A network camera; `stale buffer` is a memory of 30 pictures that it sends first."""
    if fault == "wrong size" and codec != "JPEG":
        yield None
        return
    struck = is_bad if codec == "JPEG" else is_bad_coded
    loses: dict[str, Callable[[int, int, int], bool]] = {
        "lost packet": lambda number, packet, packets: struck(number) and packet == 1,
        "partial": lambda number, packet, packets: struck(number) and packet == packets - 1,
    }
    camera = RtspCamera(
        _drawn(fault), _RATE, codec=codec, gop=_KEY_EVERY, loses=loses.get(fault, lambda *_: False),
        backlog=30 if fault == "stale buffer" else 0,
        prepared=_PREPARED,
    )  # fmt: skip
    with camera:
        begin, end = _network_fault(fault, camera)
        yield Rig(_connecting(camera.url), camera.exposed, begin, end)


@contextmanager
def http(fault: str) -> Iterator[Rig | None]:
    """Motion JPEG over HTTP; a lost packet breaks the connection there, and is no fault of a picture."""
    if fault in {"lost packet", "stale buffer"}:
        yield None
        return

    def spoil(number: int, jpeg: bytes) -> bytes:
        return jpeg[: len(jpeg) // 2] if fault == "partial" and is_bad(number) else jpeg

    with MjpegCamera(_drawn(fault), _RATE, spoil=spoil) as camera:
        begin, end = _network_fault(fault, camera)
        yield Rig(_connecting(camera.url), camera.exposed, begin, end)


@contextmanager
def gige(fault: str) -> Iterator[Rig | None]:
    """Aravis' fake camera; its pictures are known by their digest. Its clock is this host's."""
    from rigs.gige_camera import FakeGigeCamera, have_aravis

    have_aravis()
    if fault in {"stale buffer", "duplicate", "partial", "wrong size"}:
        yield None  # this camera cannot be made to do so
        return
    from neverblink.camera.streams.gige import GigeCamera
    from neverblink.plant import GigeSource

    settings = GigeSource.model_validate(
        {"kind": "gige", "camera": "127.0.0.1", "packet_size": 1400, "packet_resend": False,
         "nodes": {"PixelFormat": "Mono8", "AcquisitionFrameRate": _RATE, "Width": 192, "Height": 128}}
    )  # fmt: skip
    exposed: list[tuple[int, float]] = []

    class Told(GigeCamera):
        def read(self, timeout_s: float) -> Shot | None:
            shot = super().read(timeout_s)
            if shot is not None and shot.fault is None and shot.taken_s is not None:
                exposed.append((digest_of(shot.pixels), shot.taken_s))
            return shot

    with ExitStack() as running:
        camera = running.enter_context(FakeGigeCamera(lost_per_mille=20 if fault == "lost packet" else 0))
        again = lambda: running.enter_context(FakeGigeCamera())  # noqa: E731
        faults: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "stall": (camera.stop, camera.go_on), "reconnect": (camera.die, again),
        }  # fmt: skip
        begin, end = faults.get(fault, (_nothing, _nothing))
        yield Rig(lambda: Told(settings), exposed, begin, end)


SOURCES: dict[str, Callable[[str], Any]] = {
    "genicam, with its clock": lambda fault: genicam(fault, has_clock=True),
    "genicam, without": lambda fault: genicam(fault, has_clock=False),
    "gige": gige,
    "rtsp, JPEG": lambda fault: rtsp(fault, codec="JPEG"),
    "rtsp, H.264": lambda fault: rtsp(fault, codec="H264"),
    "rtsp, H.265": lambda fault: rtsp(fault, codec="H265"),
    "http": http,
}


def digest_of(pixels: np.ndarray) -> int:
    """Return a number that stands for a picture of a camera that carries none."""
    return hash((pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 0])).tobytes())


def _drawn(fault: str) -> Callable[[int], np.ndarray]:
    if fault == "duplicate":
        return lambda number: numbered(number - is_bad(number))
    if fault == "wrong size":
        return lambda number: numbered(number, height=128 if is_bad(number) else 64)
    return numbered


def _network_fault(fault: str, camera: RtspCamera | MjpegCamera) -> tuple[Callable[[], None], Callable[[], None]]:
    faults = {"stall": (camera.silence, camera.speaking.set), "reconnect": (camera.cut, _nothing)}
    return faults.get(fault, (_nothing, _nothing))


def _connecting(url: str) -> Callable[[], Stream]:
    from neverblink.camera.streams.network import network_camera
    from neverblink.plant import RtspSource

    return lambda: network_camera(RtspSource(kind="rtsp", url=url, silent_after_s=3), newest=True)


class Slow:
    """A node that needs 70 ms for each picture, of a camera that takes one every 40."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.close = stream.close

    def read(self, timeout_s: float) -> Shot | None:
        """Read, and be slow."""
        shot = self._stream.read(timeout_s)
        time.sleep(0.07)
        return shot


@dataclass(frozen=True)
class Row:
    """What became of the parts of one run."""

    verdicts: Counter[str]
    ages_ms: list[float]
    mixtures: int

    def cell(self) -> str:
        """Return the run as a cell of the table."""
        told = ", ".join(f"{count} {word}" for word, count in sorted(self.verdicts.items(), key=lambda one: -one[1]))
        oldest = f"; {min(self.ages_ms):.0f} to {max(self.ages_ms):.0f} ms" if self.ages_ms else ""
        return told + oldest + (f"; **{self.mixtures} MIXTURES**" if self.mixtures else "")


async def run(rig: Rig, fault: str, parts: int) -> Row:
    """Take so many parts, the fault from the second quarter to the third."""
    line = Line.model_validate(
        {"name": "line-1", "timing": {"distance_to_gate_m": 5, "speed_m_s": 1}, "stations": [
            {"name": "top", "product": "pcb", "source": {"kind": "rtsp", "url": "rtsp://rig/", "max_age_ms": MAX_AGE_MS,
             "wait_ms": _WAIT_MS}, "trigger": {"kind": "timer", "rate_per_s": 1 / _PART_S, "parts": parts},
             "payload": {"format": "raw"}, "quality": {"max_saturation": None}}]}
    )  # fmt: skip
    station = line.stations[0]
    connect = (lambda: Slow(rig.connect())) if fault == "slow consumer" else rig.connect
    source = open_source(station, "line-1/top")
    assert isinstance(source, LiveSource)
    source._connect = connect
    source.start()
    await asyncio.sleep(1.0)
    wire = Wire()
    with tempfile.TemporaryDirectory() as spool:
        node = CameraNode(line, _sized(station, fault), wire, Storage(spool=Path(spool)), source=source)  # type: ignore[arg-type]
        working = asyncio.create_task(node.run(asyncio.Event()))
        await asyncio.sleep(parts * _PART_S / 4)
        await asyncio.to_thread(rig.begin)
        await asyncio.sleep(parts * _PART_S / 4)
        await asyncio.to_thread(rig.end)
        async with asyncio.timeout(60):
            await working
    return counted(wire.sent, rig.exposed)


def _sized(station: Station, fault: str) -> Station:
    if fault != "wrong size":
        return station
    return station.model_copy(update={"quality": station.quality.model_copy(update={"width": BITS * 16, "height": 64})})


def counted(sent: list[Event], exposed: list[tuple[int, float]]) -> Row:
    """Return what was told of each part, and how old the picture of each frame was at its trigger."""
    verdicts: Counter[str] = Counter()
    ages, mixtures = [], 0
    by_digest = (bool(exposed) and exposed[0][0] > 1 << BITS) or any(number < 0 for number, _ in exposed)
    for event in sent:
        if isinstance(event, Verdict):
            verdicts[str(event.reason)] += 1
        elif isinstance(event, Frame):
            verdicts["scored"] += 1
            pixels = decode(event.body, content_type=event.content_type)
            number = digest_of(pixels) if by_digest else number_of(pixels)
            published = event.published.timestamp()
            taken = max((at for shown, at in exposed if shown == number and at <= published), default=None)
            if taken is None:
                mixtures += 1
                continue
            ages.append((event.captured.timestamp() - taken) * 1000)
            if not by_digest and np.abs(pixels.astype(int) - _as_sent(pixels, number)).mean() > _MIXTURE:
                mixtures += 1
    return Row(verdicts, ages, mixtures)


def _as_sent(pixels: np.ndarray, number: int) -> np.ndarray:
    sent = numbered(number, height=pixels.shape[0]).astype(int)
    is_grey = bool((pixels[..., 0] == pixels[..., 1]).all())
    return np.repeat(sent[..., :1], 3, axis=2) if is_grey else sent


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=24, help="parts a run (default: 24, 5 s)")
    parser.add_argument("--source", choices=[*SOURCES], action="append", help="only these")
    parser.add_argument("--fault", choices=FAULTS, action="append", help="only these")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(f"| source | fault | parts; age of the picture at its trigger (max_age_ms {MAX_AGE_MS:.0f}) |\n|---|---|---|")
    oldest, mixtures = 0.0, 0
    for name in chosen.source or SOURCES:
        for fault in chosen.fault or FAULTS:
            with SOURCES[name](fault) as rig:
                if rig is None:
                    print(f"| {name} | {fault} | – |", flush=True)
                    continue
                row = asyncio.run(run(rig, fault, chosen.parts))
            print(f"| {name} | {fault} | {row.cell()} |", flush=True)
            oldest, mixtures = max([oldest, *row.ages_ms]), mixtures + row.mixtures
    print(f"\nThe oldest picture was {oldest:.0f} ms old at its trigger; {mixtures} pictures were none that was sent.")


if __name__ == "__main__":
    main()
