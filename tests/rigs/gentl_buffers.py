"""GenTL buffers as a producer hands them out, acquirers that play them, and a driver that fills them in real time."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from harvesters.util.pfnc import dict_by_names

from neverblink.camera.picture import SourceError
from neverblink.camera.stream_clock import ArrivalWatch, StreamClock
from neverblink.camera.streams.genicam import GenicamCamera
from neverblink.events import Reason


class Buffer:
    """A filled buffer. What is not given is not known to the producer; `put_back` counts."""

    def __init__(
        self, data: np.ndarray, name: str = "Mono8", *, width: int = 64, height: int = 64, **known: object
    ) -> None:
        self.raw_buffer = np.ascontiguousarray(data).tobytes()
        self.width, self.height, self.pixel_format = width, height, dict_by_names[name]
        self.put_back = 0
        self.parent = SimpleNamespace(queue_buffer=self._back)
        for name_, value in known.items():
            setattr(self, name_, value)

    def _back(self, buffer: "Buffer") -> None:
        assert buffer is self
        self.put_back += 1


def camera_of(
    buffers: Sequence[Buffer], *, waiting: Callable[[], int] = lambda: 0, newest: bool = False
) -> GenicamCamera:
    """Build a camera whose producer hands out `buffers`, of which so many say that they wait."""
    left = list(buffers)

    def fetch(**_: object) -> Buffer | None:
        return left.pop(0) if left else None

    return _camera(fetch, waiting, newest=newest)


def _camera(fetch: Callable[..., Buffer | None], waiting: Callable[[], int], *, newest: bool) -> GenicamCamera:
    class Stream:
        @property
        def num_awaiting_delivery(self) -> int:
            return waiting()

    camera: Any = GenicamCamera.__new__(GenicamCamera)
    camera._newest = newest
    camera._depth = None
    camera._incomplete = 0
    camera._clock = StreamClock()
    camera._arrivals = ArrivalWatch(time.monotonic())
    camera._acquirer = SimpleNamespace(try_fetch=fetch, data_streams=[Stream()])
    camera._nodes = SimpleNamespace()
    camera._producer = None
    camera.close = lambda: None
    found: GenicamCamera = camera
    return found


class Driver:
    """A camera of `rate` pictures a second and its driver: eight buffers, filled while one is free, read in order.

    `picture(n)` is (H, W) uint8. `spoil` may change a filled buffer, or return None for one whose packets are
    missing; `stopped` halts the camera, `away` makes every read fail. `has_clock` is whether buffers tell their time.
    """

    def __init__(
        self,
        picture: Callable[[int], np.ndarray],
        rate: float,
        *,
        has_clock: bool = True,
        spoil: Callable[[int, Buffer], Buffer | None] = lambda number, buffer: buffer,
    ) -> None:
        self.exposed: list[tuple[int, float]] = []
        self.stopped = threading.Event()
        self.away = threading.Event()
        self._picture, self._rate, self._has_clock, self._spoil = picture, rate, has_clock, spoil
        self._filled: deque[Buffer | None] = deque()
        self._there = threading.Condition()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)
        self._thread.start()

    def connect(self, *, newest: bool) -> GenicamCamera:
        """Open the camera; its queue is empty. Raises SourceError while it is away."""
        if self.away.is_set():
            raise SourceError(Reason.NO_IMAGE, "the camera does not answer")
        with self._there:
            self._filled.clear()
        camera = _camera(self._fetch, lambda: len(self._filled), newest=newest)
        self._camera: Any = camera
        return camera

    def close(self) -> None:
        """End the camera's thread."""
        self._end.set()
        self._thread.join(5)

    def _run(self) -> None:
        began, number = time.monotonic(), 0
        while not self._end.wait(max(0.0, began + number / self._rate - time.monotonic())):
            number += 1
            if self.stopped.is_set() or self.away.is_set() or len(self._filled) >= _BUFFERS:
                continue
            image = self._picture(number)
            self.exposed.append((number, time.time()))
            known: dict[str, Any] = {"timestamp_ns": time.monotonic_ns()} if self._has_clock else {}
            height, width = image.shape
            buffer = Buffer(image, width=width, height=height, frame_id=number, **known)
            with self._there:
                self._filled.append(self._spoil(number, buffer))
                self._there.notify()

    def _fetch(self, timeout: float, **_: object) -> Buffer | None:
        if self.away.is_set():
            raise OSError("the camera does not answer")
        with self._there:
            self._there.wait_for(lambda: self._filled, timeout)
            if not self._filled:
                return None
            found = self._filled.popleft()
        if found is None:
            self._camera._incomplete += 1
        return found


_BUFFERS = 8
