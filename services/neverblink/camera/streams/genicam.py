"""Industrial cameras through a maker's GenTL producer, by way of harvesters."""

import contextlib
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from genicam import genapi, gentl
from genicam.gentl import PAYLOADTYPE_INFO_IDS
from harvesters.core import Callback, Harvester
from harvesters.util.pfnc import dict_by_ints as _PFNC  # noqa: N812 - a table of constants
from numpy.typing import NDArray

from neverblink.camera.live import Shot, now
from neverblink.camera.picture import SourceError
from neverblink.camera.stream_clock import ArrivalWatch, StreamClock
from neverblink.camera.streams.pixel_formats import KNOWN, from_pfnc, image_bytes, row_bytes
from neverblink.events import Reason
from neverblink.plant import GenicamSource

# harvesters asks the producer again and again until its own time-out; once a millisecond by default.
_POLL_MS = 50
_BUFFERS = 8
# A fetch that took longer had to wait for its picture, where the producer does not say how many wait.
_BLOCKED_S = 0.002
_IN_ITS_SOURCE = re.compile(r" : \w+Exception thrown")
# What a camera, its producer and the camera's description raise; ValueError and AttributeError are harvesters' own.
_FAULTS = (gentl.GenericException, genapi.GenericException, ValueError, AttributeError, RuntimeError, OSError)

# harvesters writes to stderr by itself, past the logs of the process that it is in.
_their_log = logging.getLogger("harvesters.core")
_their_log.handlers.clear()
_their_log.propagate = True


T = TypeVar("T")


class _Producers:
    """The GenTL producers of this process: each library is loaded once and shared by the stations that need it.

    harvesters ends every open camera of a producer when it looks for cameras again. So a producer is searched only
    while none of its cameras is open; a camera that was seen then can come back at any time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[Path, tuple[Any, int]] = {}

    def open(self, path: Path, serial: str | None) -> Any:
        """Return harvesters' image acquirer of a camera. Raises SourceError."""
        with self._lock:
            harvester, users = self._loaded.get(path) or (self._load(path), 0)
            self._loaded[path] = harvester, users + 1
            try:
                if not users:
                    harvester.update()
                seen = [str(device.serial_number) for device in harvester.device_info_list]
                if serial is None and len(seen) != 1:
                    raise SourceError(
                        Reason.NO_IMAGE,
                        f"{path.name} sees {len(seen)} cameras ({', '.join(seen) or 'none'}); set source.serial to one",
                    )
                if serial is not None and serial not in seen:
                    raise SourceError(
                        Reason.NO_IMAGE, f"{path.name} sees no camera {serial}; it sees {', '.join(seen) or 'none'}"
                    )
                return harvester.create({"serial_number": serial or seen[0]})
            except _FAULTS as error:
                self._release(path)
                if isinstance(error, SourceError):
                    raise
                raise SourceError(Reason.NO_IMAGE, f"{path.name} cannot open the camera: {_short(error)}") from error

    def close(self, path: Path, acquirer: Any) -> None:
        """Give a camera back, and unload the producer after its last one."""
        with self._lock:
            with contextlib.suppress(*_FAULTS):  # a camera that is gone cannot be stopped
                acquirer.destroy()
            self._release(path)

    def _load(self, path: Path) -> Any:
        harvester = Harvester()
        try:
            harvester.add_file(str(path), check_existence=True, check_validity=True)
        except _FAULTS as error:
            harvester.reset()
            raise SourceError(
                Reason.NO_IMAGE, f"the GenTL producer {path} cannot be loaded; is it where its installer put it?"
            ) from error
        return harvester

    def _release(self, path: Path) -> None:
        harvester, users = self._loaded[path]
        if users > 1:
            self._loaded[path] = harvester, users - 1
        else:
            del self._loaded[path]
            with contextlib.suppress(*_FAULTS):
                harvester.reset()


_producers = _Producers()


class GenicamCamera:
    """One camera, set up by the station's nodes and started. Raises SourceError.

    With `newest` a read gives the newest of the buffers that wait, and puts the older ones back unread.
    """

    def __init__(self, settings: GenicamSource, *, newest: bool = True, depth: int | None = None) -> None:
        """`depth` are the bits that values of more than eight use, where the pixel format's name does not say it."""
        self._producer = settings.producer
        self._newest = newest
        self._depth = depth
        self._clock = StreamClock()
        self._acquirer = _producers.open(settings.producer, settings.serial)
        try:
            self._acquirer.timeout_period_on_update_event_data_call = _POLL_MS
            self._acquirer.num_buffers = _BUFFERS
            self._incomplete = 0
            on_incomplete = _OnIncomplete(self._count_incomplete)
            self._acquirer.add_callback(self._acquirer.Events.INCOMPLETE_BUFFER, on_incomplete)
            self._nodes = self._acquirer.remote_device.node_map
            for name, value in settings.nodes.items():
                _set_node(self._nodes, name, value)
            self._acquirer.start()
            self._arrivals = ArrivalWatch(time.monotonic())
        except _FAULTS as error:
            self.close()
            if isinstance(error, SourceError):
                raise
            raise SourceError(Reason.NO_IMAGE, f"the camera cannot be started: {_short(error)}") from error

    def read(self, timeout_s: float) -> Shot | None:
        """Return the next picture; one that came in part has a fault, and the camera stays open. Raises SourceError."""
        try:
            if self._incomplete:
                return self._missed()
            waiting, began = self._waiting(), time.monotonic()
            buffer = self._acquirer.try_fetch(timeout=timeout_s, is_raw=True)
            if buffer is None:
                return self._missed() if self._incomplete else None
            waited_for = waiting == 0 or (waiting is None and time.monotonic() - began > _BLOCKED_S)
            skipped = 0
            while self._newest and self._waiting() != 0 and (newer := self._fetch_waiting()) is not None:
                buffer.parent.queue_buffer(buffer)
                buffer, skipped = newer, skipped + 1
            try:
                return self._shot(buffer, waited_for, skipped)
            finally:
                # The conversion copied: the buffer goes back to the camera.
                buffer.parent.queue_buffer(buffer)
        except _FAULTS as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(Reason.NO_IMAGE, f"the camera sends no more pictures: {_short(error)}") from error

    def _missed(self) -> Shot:
        self._incomplete -= 1
        return Shot.damaged(now(), "packets of the picture are missing: the camera's buffer is incomplete")

    def _fetch_waiting(self) -> Any:
        """Return the next of the buffers that wait, None when there was none or it is incomplete."""
        self._acquirer.timeout_period_on_update_event_data_call = 1
        try:
            return self._acquirer.try_fetch(timeout=0.001, is_raw=True)
        finally:
            self._acquirer.timeout_period_on_update_event_data_call = _POLL_MS

    def _waiting(self) -> int | None:
        """Return how many filled buffers wait to be read, None where the producer does not know."""
        return _asked(lambda: sum(int(stream.num_awaiting_delivery) for stream in self._acquirer.data_streams))

    def _count_incomplete(self) -> None:
        self._incomplete += 1

    def _shot(self, buffer: Any, waited_for: bool, skipped: int) -> Shot:
        arrived = time.monotonic()
        at, count, taken_s = now(), _count_of(buffer), _taken_s(buffer)
        unsure_s = self._arrivals.unsure_s(arrived, waited_for=waited_for)
        if self._newest or not self._waiting():
            self._arrivals.empty_at(arrived)
        if taken_s is not None:
            at, unsure_s = at - timedelta(seconds=self._clock.age_s(taken_s, arrived, waited_for=waited_for)), 0.0
        try:
            pixels = pixels_of(buffer, self._nodes, self._depth)
        except SourceError as error:
            return Shot.damaged(at, error, count=count, taken_s=taken_s, skipped=skipped)
        return Shot(pixels, at, count, unsure_s, taken_s, skipped)

    def close(self) -> None:
        """Stop the camera and let go of it."""
        _producers.close(self._producer, self._acquirer)


class _OnIncomplete(Callback):  # type: ignore[misc]
    """harvesters puts an incomplete buffer back unseen, and calls this."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, context: object = None) -> None:
        self._tell()


def pixels_of(buffer: Any, nodes: Any, depth: int | None = None) -> NDArray[np.uint8]:
    """Return a copy of the picture in a GenTL buffer: (H, W) uint8 grey or (H, W, 3) uint8 RGB.

    `nodes` are the camera's features, for producers whose buffers do not say what is in them; `depth` as in
    `from_pfnc`. Raises SourceError for a picture that was delivered in part, or is in no known format.
    """
    parts = _parts(buffer)
    part = next((part for part in parts if _PFNC.get(int(part.data_format)) in KNOWN), parts[0] if parts else None)
    source = part or buffer
    number = _asked(lambda: part.data_format if part else buffer.pixel_format)
    name = str(nodes.PixelFormat.value) if number is None else _PFNC.get(int(number), f"format {number:#x}")
    width = _asked(lambda: source.width) or int(nodes.Width.value)
    height = _asked(lambda: source.height)
    delivered = _asked(lambda: source.delivered_image_height)
    height = height or delivered or int(nodes.Height.value)
    if delivered and delivered < height:
        raise SourceError(
            Reason.CORRUPT_IMAGE, f"the camera delivered {delivered} of the picture's {height} lines; the rest is old"
        )
    padding = _asked(lambda: part.x_padding if part else buffer.padding_x) or 0
    offset = _asked(lambda: part.data_offset if part else buffer.image_offset) or 0
    row = row_bytes(name, width)
    size = (math.ceil(row) + padding) * height if padding else image_bytes(name, width, height)
    filled = _asked(lambda: part.data_size if part else buffer.size_filled)
    whole = len(buffer.raw_buffer)
    there = whole if filled is None else min(whole, filled + (offset if part else 0))
    if offset + size > there:
        raise SourceError(
            Reason.CORRUPT_IMAGE,
            f"{width} × {height} pixels of {name} take {size} bytes, and the camera delivered {max(0, there - offset)}",
        )
    data = np.frombuffer(buffer.raw_buffer, np.uint8, size, offset)
    if padding:
        data = data.reshape(height, -1)[:, : math.ceil(row)].ravel()
    return from_pfnc(data, name, width, height, depth)


def _parts(buffer: Any) -> list[Any]:
    """Return the parts of a multi-part payload, none for a buffer that is one image."""
    is_multipart = _asked(lambda: buffer.payload_type) == PAYLOADTYPE_INFO_IDS.PAYLOAD_TYPE_MULTI_PART
    return list(_asked(lambda: buffer.parts) or ()) if is_multipart else []


def _taken_s(buffer: Any) -> float | None:
    """Return the camera's own time of a buffer in seconds, None where it tells none."""
    nanoseconds = _asked(lambda: buffer.timestamp_ns)
    if nanoseconds:
        return float(nanoseconds) / 1e9
    ticks, rate = _asked(lambda: buffer.timestamp), _asked(lambda: buffer.parent.parent.timestamp_frequency)
    return float(ticks) / float(rate) if ticks and rate else None


def _asked(question: Callable[[], T]) -> T | None:
    """Return what the producer answers, None where it does not know."""
    try:
        return question()
    except _FAULTS:
        return None


def _set_node(nodes: Any, name: str, value: bool | float | str) -> None:
    """Set one feature of the camera. Raises SourceError with the values that it takes."""
    try:
        node = nodes.get_node(name)
        if isinstance(node, genapi.ICommand):
            node.execute()
        elif isinstance(node, genapi.IEnumeration) and isinstance(value, bool):
            node.value = "On" if value else "Off"  # YAML reads On and Off as true and false
        elif isinstance(node, genapi.IFloat):
            node.value = float(value)
        else:
            node.value = value
    except _FAULTS as error:
        raise SourceError(Reason.NO_IMAGE, f"the camera does not take {name}: {value}: {_short(error)}") from error


def _count_of(buffer: Any) -> int | None:
    count = _asked(lambda: buffer.frame_id)
    return None if count is None else int(count)


def _short(error: Exception) -> str:
    """Return what a GenICam error says, without the place in its own source."""
    return _IN_ITS_SOURCE.split(str(error))[0].strip() or type(error).__name__
